//! Routes with Django's manners: each view is protected from forms of other sites, a missing slash at the end is a
//! redirect, and a method that an address does not take is told which ones it does.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response, Route,
    endpoint::{BoxEndpoint, EndpointExt},
    http::{HeaderValue, Method, StatusCode, header},
};

use super::{csrf, request_info::RouteName};
use crate::error::AppError;

const READS: &str = "GET, HEAD, OPTIONS";
const TAKES: &str = "POST, OPTIONS";
const BOTH: &str = "GET, HEAD, POST, OPTIONS";

/// A page at `path`, which ends with a slash.
pub fn get(route: Route, path: &str, view: impl Endpoint<Output = Response> + 'static) -> Route {
    add(route, path, READS, view)
}

/// An address that takes forms and has no page.
pub fn post(route: Route, path: &str, view: impl Endpoint<Output = Response> + 'static) -> Route {
    add(route, path, TAKES, view)
}

/// A page with a form that is sent to its own address.
pub fn get_and_post(
    route: Route,
    path: &str,
    view: impl Endpoint<Output = Response> + 'static,
) -> Route {
    add(route, path, BOTH, view)
}

/// A redirect; poem has no 302, which Django sends.
pub fn redirect(status: StatusCode, location: &str) -> Response {
    let mut response = status
        .with_header(header::CONTENT_LENGTH, 0)
        .into_response();
    // Our own addresses are plain ASCII, but one may end in what a client sent.
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// An endpoint that is known to the metrics by a name.
pub fn named<E: Endpoint>(name: &str, endpoint: E) -> impl Endpoint + use<E> {
    let name: Arc<str> = name.into();
    endpoint.before(move |request| {
        RouteName::set(&request, &name);
        async move { Ok(request) }
    })
}

fn add(
    route: Route,
    path: &str,
    methods: &'static str,
    view: impl Endpoint<Output = Response> + 'static,
) -> Route {
    let view = Methods {
        methods,
        view: view.boxed(),
    };
    // Here and not around all: what leads to no view needs no check, and is told so (404, or a redirect).
    let view = named(path, view.around(csrf::protect));
    let without_slash = path
        .strip_suffix('/')
        .expect("addresses of pages end with a slash");
    route
        .at(path, view)
        .at(without_slash, poem::endpoint::make_sync(append_slash))
}

/// Sends a request for an address without its slash to the address.
fn append_slash(request: Request) -> Response {
    let uri = request.original_uri();
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    redirect(
        StatusCode::MOVED_PERMANENTLY,
        &format!("{}/{query}", uri.path()),
    )
}

/// A view behind a list of methods.
struct Methods {
    methods: &'static str,
    view: BoxEndpoint<'static, Response>,
}

impl Endpoint for Methods {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let method = request.method();
        if !self
            .methods
            .split(", ")
            .any(|allowed| allowed == method.as_str())
        {
            return Err(AppError::MethodNotAllowed(self.methods).into());
        }
        match *method {
            Method::OPTIONS => Ok(StatusCode::OK
                .with_header(header::ALLOW, self.methods)
                .into_response()),
            _ => self.view.call(request).await,
        }
    }
}
