//! Who has just changed something sees it: for a while their pages come from the primary database, whose copy may be behind.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Request, Response, Result};

use super::{
    app_of,
    cookies::{self, Jar},
};
use crate::{
    app::App,
    db::{MAX_LAG, Reader},
    settings::CookieSettings,
};

const COOKIE: &str = "polls_recent";

/// Marks the visitors whose requests changed something, if there is a copy to keep them from.
pub async fn mark<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let app = app_of(&request);
    if app.db.replica().is_none() || request.method().is_safe() {
        return Ok(next.call(request).await?.into_response());
    }
    let jar = Jar::of(&request);
    let mut response = next.call(request).await?.into_response();
    if !response.status().is_client_error() && !response.status().is_server_error() {
        // Twice as long as the copy may be behind: the answer takes its time to the visitor, too.
        let age = i64::try_from(2 * MAX_LAG.as_secs()).unwrap_or(i64::MAX);
        let cookie = CookieSettings::new(COOKIE, age);
        jar.set(&mut response, &cookie, "1", Some(age));
    }
    Ok(response)
}

/// Where the pages for this visitor are read.
pub fn reader<'a>(app: &'a App, request: &Request) -> Reader<'a> {
    if cookies::get(request, COOKIE).is_some() {
        app.db.read_latest()
    } else {
        app.db.read()
    }
}
