//! The session and the messages of a request.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Request, Response, Result};

use super::{
    cookies::{self, Jar},
    messages::Messages,
};
use crate::{
    core::Core,
    error::AppError,
    sessions::{CookieChange, Session, SessionStore},
};

/// Sets the [`Session`] and the [`Messages`] of each request, and saves them with the response.
///
/// # Errors
/// Those of `next`; when a changed session cannot be saved.
pub async fn middleware<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let core = Core::of(&request).clone();
    let jar = Jar::of(&request);
    let name = &core.settings.security.session_cookie.name;
    let session = Arc::new(Session::new(cookies::get(&request, name)));
    let messages = Arc::new(Messages::new(cookies::get(&request, Messages::COOKIE)));
    request.set_data(session.clone());
    request.set_data(messages.clone());
    let mut response = next.call(request).await?.into_response();
    // As in Django, a 5xx response saves nothing.
    if !response.status().is_server_error() {
        messages.store(&core, &session, jar, &mut response);
        save(&core, &session, jar, &mut response).await?;
    }
    Ok(response)
}

/// The session of a request.
///
/// # Panics
/// When the router has no [`middleware`] around the endpoint.
pub fn session_of(request: &Request) -> &Arc<Session> {
    request
        .data()
        .expect("session::middleware sets it on every request")
}

/// The messages of a request.
///
/// # Panics
/// When the router has no [`middleware`] around the endpoint.
pub fn messages_of(request: &Request) -> &Arc<Messages> {
    request
        .data()
        .expect("session::middleware sets it on every request")
}

async fn save(
    core: &Core,
    session: &Session,
    jar: Jar,
    response: &mut Response,
) -> Result<(), AppError> {
    let security = &core.settings.security;
    if session.is_accessed() {
        cookies::vary(response);
    }
    let cookie = &security.session_cookie;
    if security.session_save_every_request {
        session.load(SessionStore::of(core), core.now()).await?;
    }
    match session
        .save(SessionStore::of(core), security, core.now())
        .await?
    {
        CookieChange::None => {}
        CookieChange::Set(key, age) => jar.set(response, cookie, &key, age),
        CookieChange::Delete => jar.delete(response, cookie),
    }
    Ok(())
}
