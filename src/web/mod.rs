//! The web server: routing, what every request passes, and the pages' common parts.

pub mod admin_link;
mod compression;
pub mod cookies;
pub mod csrf;
mod debug;
pub mod errors;
pub mod form;
pub mod format;
pub mod headers;
pub mod health;
pub mod hosts;
pub mod messages;
pub mod page;
pub mod recent;
mod request_log;
pub mod routing;
pub mod statics;
pub mod templates;
mod theme;
pub mod visitor;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt, Request, Response, Route, http::StatusCode};

use crate::{admin, app::App, auth, polls_app};

/// The whole site. What a request passes on its way in is listed from the last to the first.
pub fn router(app: Arc<App>) -> impl Endpoint<Output = Response> {
    let security_headers = Arc::new(headers::SecurityHeaders::new(&app.settings));
    let pages = Route::new()
        .nest_no_strip("/polls/", polls_app::routes())
        .at("/", poem::endpoint::make_sync(home))
        .nest_no_strip("/admin/", admin::routes(auth::admin::routes(Route::new())));
    // Nothing before this needs to know who asks. A theme is no change that has to be read from the primary.
    let pages = routing::post(Route::new(), "/theme/", theme::choose)
        .nest_no_strip("/", pages.around(recent::mark))
        .around(visitor::remember);
    let site = Route::new()
        .at("/livez", routing::named("/livez", poem::get(health::livez)))
        .at(
            "/readyz",
            routing::named("/readyz", poem::get(health::readyz)),
        )
        .at(
            "/static/*path",
            routing::named("/static/", poem::get(statics::serve)),
        )
        .at("/favicon.ico", poem::endpoint::make_sync(favicon))
        .nest_no_strip("/", pages);
    let site = if app.settings.debug {
        debug::add_reload(site)
    } else {
        site
    };
    // Before anything else is done over plain HTTP.
    let site = site.around(headers::require_https);
    // A name that is not ours is refused before it can get into a link or a check.
    site.around(hosts::validate)
        // Whatever went wrong becomes a page of ours.
        .around(errors::pages)
        .around(headers::secure)
        .around(compression::pages)
        // Outermost, so that every answer is logged, with its final status.
        .around(request_log::log)
        .data(security_headers)
        .data(app)
}

/// The application that a request came to.
fn app_of(request: &Request) -> &Arc<App> {
    request
        .data()
        .expect("the router gives it to every request")
}

/// What browsers and others ask for without being told: leads to the icon.
fn favicon(request: Request) -> Response {
    let icon = statics::url("icon.svg", app_of(&request).settings.debug);
    routing::redirect(StatusCode::FOUND, &icon.expect("the icon is an asset"))
}

/// `/` leads to the polls.
fn home(_: Request) -> Response {
    routing::redirect(StatusCode::FOUND, polls_app::urls::INDEX)
}
