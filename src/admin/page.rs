//! The layout of the admin's pages: user, menu, breadcrumbs and messages.

use std::sync::Arc;

use minijinja::{Value, context, value::Serde};
use poem::{FromRequest, Request, RequestBody, Response, Result};
use serde::Serialize;

use super::{Staff, model::Model, state::AdminState, urls::INDEX};
use crate::{
    auth::{hashers::is_usable, login::User},
    error,
    sessions::Session,
    web::{
        errors,
        headers::never_cache,
        messages::Messages,
        page::Page,
        session::{messages_of, session_of},
    },
};

/// Renders the admin's templates with user, menu and messages.
#[derive(Debug)]
pub struct AdminPage {
    page: Page,
    state: Arc<AdminState>,
    /// The user of the request.
    pub staff: Staff,
    /// The user's messages.
    pub messages: Arc<Messages>,
    /// The user's session.
    pub session: Arc<Session>,
    /// Path and query of the request.
    target: String,
}

/// A breadcrumb (Django's `breadcrumbs` block).
#[derive(Debug, Serialize)]
pub struct Crumb {
    /// The title.
    pub text: String,
    /// The URL; empty for the page itself.
    pub url: String,
}

impl Crumb {
    /// A breadcrumb with a link.
    pub fn link(text: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            url: url.into(),
        }
    }

    /// The breadcrumb of the page itself.
    pub fn current(text: impl Into<String>) -> Self {
        Self::link(text, "")
    }

    /// The breadcrumbs to a model's changelist.
    pub fn to_changelist(model: &Model) -> Vec<Self> {
        vec![
            Self::link(
                crate::contenttypes::app_verbose_name(model.options.app_label),
                format!("{INDEX}{}/", model.options.app_label),
            ),
            Self::link(
                crate::contenttypes::capfirst(model.options.verbose_name_plural),
                model.url(),
            ),
        ]
    }
}

impl<'a> FromRequest<'a> for AdminPage {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        Ok(Self {
            page: Page::new(request),
            state: request
                .data::<Arc<AdminState>>()
                .expect("admin::routes sets it")
                .clone(),
            staff: Staff::from_request(request, body).await?,
            messages: messages_of(request).clone(),
            session: session_of(request).clone(),
            target: path_and_query(request).to_owned(),
        })
    }
}

impl AdminPage {
    /// Renders a template with `context`, a title and breadcrumbs.
    ///
    /// # Errors
    /// When the template is missing or invalid, or uses an undefined variable.
    pub fn render(
        &self,
        template: &str,
        title: &str,
        breadcrumbs: Vec<Crumb>,
        context: Value,
    ) -> error::Result<Response> {
        let layout = layout_context(&self.state, Some(self.staff.user()), &self.target);
        let common = context! {
            title,
            breadcrumbs => Serde(breadcrumbs),
            messages => self.messages.take(&self.state.core, &self.session),
        };
        self.page
            .render(template, context! { ..context, ..common, ..layout })
    }
}

/// The template context of the layout; `user` is `None` for a client that is not logged in.
fn layout_context(state: &AdminState, user: Option<&User>, target: &str) -> Value {
    context! {
        user => user.map(User::short_name),
        has_usable_password => user.is_some_and(|user| is_usable(&user.row.password)),
        menu => Serde(user.map(|user| state.site.apps(user)).unwrap_or_default()),
        address => target,
    }
}

/// Sets the admin's layout for error responses to `request`; `user` is `None` for a client that is not logged in.
pub fn set_error_layout(request: &Request, state: &Arc<AdminState>, user: Option<Arc<User>>) {
    let (page, state, target) = (
        Page::new(request),
        state.clone(),
        path_and_query(request).to_owned(),
    );
    errors::set_layout(request, move |error| {
        let layout = layout_context(&state, user.as_deref(), &target);
        let common = context! { breadcrumbs => (), messages => () };
        let mut response =
            page.render("admin/error.html", context! { ..error, ..common, ..layout })?;
        never_cache(&mut response, state.core.now());
        Ok(response)
    });
}

/// Path and query of a request, before routing changes them.
pub fn path_and_query(request: &Request) -> &str {
    let target = request.original_uri().path_and_query();
    target.map_or(INDEX, |target| target.as_str())
}
