//! A form that was submitted after its session had expired. It is preserved during the login, first signed in a hidden field of
//! the login form and then in the new session, and rendered again for the same user.

use poem::{
    Request,
    http::{Method, Uri},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    AdminSite, field::Kind, options::VirtualKind, page::path_and_query, state::AdminState,
    urls::INDEX,
};
use crate::{
    auth::login::User,
    sessions::Session,
    signing::Purpose,
    web::{csrf, form::Form},
};

/// The field of a change form with the signed id of the user for whom it was rendered.
pub const EDITOR: &str = "_editor";
/// The field of the login form with an unsaved form.
pub const FIELD: &str = "unsaved";
/// The key of the form in the session.
const SESSION_KEY: &str = "_unsaved_form";
/// The maximum total length of the form's names and values, in bytes.
const MAX_SIZE: usize = 256 * 1024;

/// A submitted form that was not saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnsavedForm {
    /// The id of the user.
    pub user: i32,
    /// The path and query of the request.
    pub target: String,
    /// Names and values, without passwords and CSRF token.
    fields: Vec<(String, String)>,
    /// Whether the form had passwords, which are not stored.
    pub had_passwords: bool,
}

/// The value of [`EDITOR`] in a form for `user`.
pub fn editor(state: &AdminState, user: &User) -> String {
    let keys = &state.core.settings.security.keys;
    keys.dumps(&json!(user.row.id), Purpose::Editor, state.core.now())
}

/// Whether forms for a path can be preserved: those that add or change an object.
pub fn is_form_url(site: &AdminSite, path: &str) -> bool {
    let mut parts = path.strip_prefix(INDEX).unwrap_or_default().split('/');
    let (Some(app), Some(model)) = (parts.next(), parts.next()) else {
        return false;
    };
    let page: Vec<&str> = parts.collect();
    site.find(app, model).is_some() && matches!(page[..], ["add", ""] | [_, "change", ""])
}

impl UnsavedForm {
    /// The form to preserve; `None` when it has no signed user, or is larger than [`MAX_SIZE`].
    pub fn new(state: &AdminState, target: &Uri, form: &Form) -> Option<Self> {
        let keys = &state.core.settings.security.keys;
        let user = keys.loads(form.get(EDITOR)?, Purpose::Editor)?;
        let is_password = |name: &str| state.site.is_password(name);
        let mut unsaved = Self {
            user: user.as_i64().and_then(|id| i32::try_from(id).ok())?,
            target: target.path_and_query()?.as_str().to_owned(),
            fields: Vec::new(),
            had_passwords: false,
        };
        let mut size = 0;
        for (name, value) in form.iter() {
            if is_password(name) {
                unsaved.had_passwords |= !value.is_empty();
            } else if name != csrf::FIELD && name != EDITOR {
                size += name.len() + value.len();
                unsaved.fields.push((name.to_owned(), value.to_owned()));
            }
        }
        (size <= MAX_SIZE).then_some(unsaved)
    }

    /// The signed form, for a field of the login form.
    pub fn signed(&self, state: &AdminState) -> String {
        let keys = &state.core.settings.security.keys;
        keys.dumps(&self.value(), Purpose::UnsavedForm, state.core.now())
    }

    /// The form in a field of the login form; `None` without a valid signature of [`Self::signed`].
    pub fn read(state: &AdminState, text: &str) -> Option<Self> {
        let keys = &state.core.settings.security.keys;
        serde_json::from_value(keys.loads(text, Purpose::UnsavedForm)?).ok()
    }

    /// Stores the form in the session of its user.
    pub fn store(&self, session: &Session) {
        session.set(SESSION_KEY, self.value());
    }

    /// Removes the form for the URL of a GET request from the session, and returns it.
    pub fn take(session: &Session, request: &Request) -> Option<Self> {
        let unsaved = session.get(SESSION_KEY)?;
        let unsaved: Self = serde_json::from_value(unsaved).ok()?;
        if *request.method() != Method::GET || unsaved.target != path_and_query(request) {
            return None;
        }
        session.remove(SESSION_KEY);
        Some(unsaved)
    }

    /// The fields as a submitted form.
    pub fn form(&self) -> Form {
        Form::from(self.fields.clone())
    }

    fn value(&self) -> Value {
        serde_json::to_value(self).expect("strings and numbers serialise to JSON")
    }
}

impl AdminSite {
    /// Whether a form has a password field with that name.
    fn is_password(&self, name: &str) -> bool {
        let fields = self.models().iter().flat_map(|model| &model.fields);
        fields
            .filter(|field| field.kind == Kind::Virtual(VirtualKind::Password))
            .any(|field| field.name == name)
    }
}
