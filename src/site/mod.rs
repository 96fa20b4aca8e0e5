//! The site: the state of its apps, their routes, and the middleware of every request.

mod endpoint;
pub mod health;
pub mod metrics;
mod request_log;
mod request_metrics;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::{
    Endpoint, EndpointExt, Request, Response, Route, endpoint::make_sync, http::StatusCode,
};
use sea_orm::DbErr;

use self::{endpoint::SiteEndpoint, health::Readiness, request_metrics::RequestMetrics};
use crate::{
    admin::{self, AdminSite, AdminState},
    assets,
    auth::{self, Auth},
    core::Core,
    polls_app::{self, live::LiveResults, pages::PageCache, votes::VoteCounter},
    settings::Settings,
    web::{
        compression, debug, errors, headers, hosts, read_your_writes, routing, session, statics,
        theme,
    },
};

/// The admin site with the models of all apps.
pub fn admin_site() -> AdminSite {
    let mut site = AdminSite::default();
    polls_app::admin::register(&mut site);
    auth::admin::register(&mut site);
    site
}

/// The state of the apps. One per process.
#[derive(Debug, Clone)]
pub struct Site {
    /// What all apps share.
    pub core: Arc<Core>,
    /// The votes of `polls_app`.
    pub votes: VoteCounter,
    /// The pages of `polls_app` in memory.
    pub pages: PageCache,
    /// The live results of `polls_app`.
    pub live: LiveResults,
    /// The admin, and what it needs of `auth`.
    pub admin: Arc<AdminState>,
    requests: RequestMetrics,
}

impl Site {
    /// Opens the databases, and starts the tasks that write votes and that receive changes; `models` are those of the admin, `clock`
    /// gives the present time. Has to be called on a tokio runtime.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn build(
        settings: Settings,
        models: AdminSite,
        clock: fn() -> DateTime<Utc>,
    ) -> Result<Self, DbErr> {
        let core = Arc::new(Core::open(settings, clock).await?);
        let auth = Arc::new(Auth::new(core.clone()));
        let pages = PageCache::start(&core);
        Ok(Self {
            votes: VoteCounter::start(core.db.write(), clock, core.settings.time_zone),
            live: LiveResults::new(core.clone(), pages.clone()),
            pages,
            admin: Arc::new(AdminState::new(core.clone(), auth, models)),
            requests: RequestMetrics::default(),
            core,
        })
    }

    /// Closes the connections that are not among the databases of [`Core::db`], and stores the votes of the day.
    pub async fn close(&self) {
        self.pages.close().await;
        self.votes.close().await;
    }

    /// The routes and the middleware. The innermost middleware is listed first.
    pub fn router(&self) -> impl Endpoint<Output = Response> + use<> {
        let settings = &self.core.settings;
        let app_routes = polls_app::admin::routes(auth::admin::routes(Route::new()));
        let admin = admin::routes(self.admin.clone(), app_routes);
        let cache = self.pages.clone();
        let admin = admin.around(move |next, request| cache.clone().any_changed(next, request));
        let pages = polls_app::routes(
            Route::new(),
            self.admin.clone(),
            self.votes.clone(),
            self.pages.clone(),
            self.live.clone(),
        );
        let pages = auth::accounts::routes(pages, self.admin.auth.clone());
        let pages = routing::post(pages, "/theme/", theme::choose)
            .at("/", make_sync(home))
            .nest_no_strip("/admin/", admin);
        let pages = if settings.debug {
            debug::add_reload(pages)
        } else {
            pages
        };
        let pages = pages
            .around(read_your_writes::mark)
            // Nothing outside of this needs the session.
            .around(session::middleware);
        let statics = routing::named("/static/", poem::get(statics::serve));
        let security_headers = Arc::new(headers::SecurityHeaders::new(settings));
        let cache = self.pages.clone();
        // Few levels of routes: each copies the URL. Health checks use the address as the host, not the site's name.
        let site = health::routes(Readiness::default())
            .at("/static/*path", of_known_host(statics))
            .at("/favicon.ico", of_known_host(make_sync(favicon)))
            .nest_no_strip("/", of_known_host(pages))
            // Every error becomes an error page.
            .around(errors::pages)
            .around(move |next, request| headers::secure(next, request, security_headers.clone()))
            .around(compression::pages)
            .around(move |next, request| cache.clone().render_miss(next, request));
        let (core, metrics) = (self.core.clone(), self.requests.clone());
        SiteEndpoint::new(site, core, metrics, self.pages.clone())
    }
}

/// Refuses requests for unknown hosts, before the host can get into a link or a check; then redirects plain HTTP to HTTPS, if
/// `SECURE_SSL_REDIRECT` is set.
fn of_known_host<E: Endpoint + 'static>(endpoint: E) -> impl Endpoint<Output = Response> + use<E> {
    endpoint
        .around(headers::require_https)
        .around(hosts::validate)
        .map_to_response()
}

/// `/favicon.ico` and the like redirect to the icon.
fn favicon(request: Request) -> Response {
    let settings = &Core::of(&request).settings;
    let icon = assets::url(&settings.static_url, "icon.svg", settings.debug);
    routing::redirect(StatusCode::FOUND, &icon.expect("the icon is an asset"))
}

/// `/` redirects to the polls.
fn home(_: Request) -> Response {
    routing::redirect(StatusCode::FOUND, polls_app::urls::INDEX)
}
