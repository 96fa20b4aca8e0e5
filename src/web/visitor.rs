//! What is known of a visitor during one request: their session and the messages for them.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Request, Response, Result};

use super::{app_of, cookies, messages::Messages};
use crate::{
    app::App,
    error::AppError,
    sessions::{CookieChange, Session},
};

const SESSION_COOKIE: &str = "sessionid";

/// Gives each request its session and messages, and writes what became of them.
pub async fn remember<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let app = app_of(&request).clone();
    let session = Arc::new(Session::new(cookies::get(&request, SESSION_COOKIE)));
    let messages = Arc::new(Messages::new(cookies::get(&request, Messages::COOKIE)));
    request.set_data(session.clone());
    request.set_data(messages.clone());
    let mut response = next.call(request).await?.into_response();
    // An answer that says that nothing was done must not do anything.
    if !response.status().is_server_error() {
        messages.store(&app, &session, &mut response);
        save(&app, &session, &mut response).await?;
    }
    Ok(response)
}

/// The session of a request.
///
/// # Panics
/// When [`remember`] has not seen the request: a mistake in the router.
pub fn session_of(request: &Request) -> &Arc<Session> {
    request.data().expect("visitor::remember comes first")
}

/// The messages of a request.
///
/// # Panics
/// When [`remember`] has not seen the request: a mistake in the router.
pub fn messages_of(request: &Request) -> &Arc<Messages> {
    request.data().expect("visitor::remember comes first")
}

async fn save(app: &App, session: &Session, response: &mut Response) -> Result<(), AppError> {
    let (keys, now) = (&app.settings.security.keys, app.now());
    if session.is_accessed() {
        cookies::vary(response);
    }
    match session.save(app.db.write(), keys, now).await? {
        CookieChange::None => {}
        CookieChange::Set(key, lifetime) => {
            let lifetime = lifetime
                .map(|age| cookies::max_age(age, now))
                .unwrap_or_default();
            let cookie =
                format!("{SESSION_COOKIE}={key}{lifetime}; HttpOnly; Path=/; SameSite=Lax");
            cookies::set(response, &cookie);
        }
        CookieChange::Delete => cookies::delete(response, SESSION_COOKIE),
    }
    Ok(())
}
