//! A form that was posted after its user's session had ended: it is carried through the login, signed in a field of the
//! login form and then in the new session, and shown again to the same user.

use poem::{
    Request,
    http::{Method, Uri},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    AdminSite, field::Kind, options::VirtualKind, page::address_of, state::AdminState, urls::INDEX,
};
use crate::{
    auth::login::User,
    sessions::Session,
    signing::Purpose,
    web::{csrf, form::Form},
};

/// The field of an object's form with the signed id of the user to whom it was shown.
pub const EDITOR: &str = "_editor";
/// The field of the login form with an unsaved form.
pub const FIELD: &str = "unsaved";
/// Where a session holds one.
const SESSION_KEY: &str = "_unsaved_form";
/// The most that is kept of names and values, in bytes.
const MAX_SIZE: usize = 256 * 1024;

/// A form that was posted and not saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnsavedForm {
    /// The id of its user.
    pub user: i32,
    /// Path and query to which it was posted.
    pub target: String,
    fields: Vec<(String, String)>,
    /// Whether passwords were in it, which are not kept.
    pub had_passwords: bool,
}

/// The value of [`EDITOR`] in a form for `user`.
pub fn editor(state: &AdminState, user: &User) -> String {
    let keys = &state.core.settings.security.keys;
    keys.dumps(&json!(user.row.id), Purpose::Editor, state.core.now())
}

/// Whether forms that are posted to an address can be kept: those that add or change an object.
pub fn can_keep(site: &AdminSite, path: &str) -> bool {
    let mut parts = path.strip_prefix(INDEX).unwrap_or_default().split('/');
    let (Some(app), Some(model)) = (parts.next(), parts.next()) else {
        return false;
    };
    let page: Vec<&str> = parts.collect();
    site.find(app, model).is_some() && matches!(page[..], ["add", ""] | [_, "change", ""])
}

impl UnsavedForm {
    /// What is to be kept of a form; `None` when it does not say whose it is, or is too long.
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

    /// Signed, for the login form.
    pub fn signed(&self, state: &AdminState) -> String {
        let keys = &state.core.settings.security.keys;
        keys.dumps(&self.value(), Purpose::UnsavedForm, state.core.now())
    }

    /// What [`Self::signed`] gave, if it is that.
    pub fn read(state: &AdminState, text: &str) -> Option<Self> {
        let keys = &state.core.settings.security.keys;
        serde_json::from_value(keys.loads(text, Purpose::UnsavedForm)?).ok()
    }

    /// Puts it into the session of its user.
    pub fn store(&self, session: &Session) {
        session.set(SESSION_KEY, self.value());
    }

    /// Takes what was posted to the address of a GET request out of the session; other requests take nothing.
    pub fn take(session: &Session, request: &Request) -> Option<Self> {
        let unsaved = session.get(SESSION_KEY)?;
        let unsaved: Self = serde_json::from_value(unsaved).ok()?;
        if *request.method() != Method::GET || unsaved.target != address_of(request) {
            return None;
        }
        session.remove(SESSION_KEY);
        Some(unsaved)
    }

    /// Its fields.
    pub fn form(&self) -> Form {
        Form::from(self.fields.clone())
    }

    fn value(&self) -> Value {
        serde_json::to_value(self).expect("texts and numbers are JSON")
    }
}

impl AdminSite {
    /// Whether a field of that name is a password's in some form.
    fn is_password(&self, name: &str) -> bool {
        let fields = self.models().iter().flat_map(|model| &model.fields);
        fields
            .filter(|field| field.kind == Kind::Virtual(VirtualKind::Password))
            .any(|field| field.name == name)
    }
}
