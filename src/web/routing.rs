//! Routes that behave as Django's: each view has CSRF protection, a URL without its trailing slash redirects (`APPEND_SLASH`),
//! and a method that is not allowed gets a 405 response with an `Allow` header.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::{
    Endpoint, IntoResponse, Request, Response, Route,
    endpoint::EndpointExt,
    http::{HeaderValue, Method, StatusCode, header},
};

use super::{csrf, request_info::RouteName};
use crate::error::AppError;

const GET_METHODS: &str = "GET, HEAD, OPTIONS";
const POST_METHODS: &str = "POST, OPTIONS";
const GET_AND_POST_METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// What is escaped in a `Location` (Django's `iri_to_uri`).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'#')
    .remove(b'%')
    .remove(b'[')
    .remove(b']')
    .remove(b'=')
    .remove(b':')
    .remove(b';')
    .remove(b'$')
    .remove(b'&')
    .remove(b'(')
    .remove(b')')
    .remove(b'+')
    .remove(b',')
    .remove(b'!')
    .remove(b'?')
    .remove(b'*')
    .remove(b'@')
    .remove(b'\'')
    .remove(b'~')
    .remove(b'_')
    .remove(b'.')
    .remove(b'-');

/// Adds a view for GET and HEAD at `path`, which must end with a slash.
pub fn get(route: Route, path: &str, view: impl Endpoint<Output = Response> + 'static) -> Route {
    add(route, path, GET_METHODS, view)
}

/// Adds a view for GET and HEAD at `path`, which has no slash at its end, as those of an API.
pub fn get_resource(
    route: Route,
    path: &str,
    view: impl Endpoint<Output = Response> + 'static,
) -> Route {
    let methods = GET_METHODS;
    route.at(path, named(path, Methods { methods, view }))
}

/// Adds a view for POST at `path`, which must end with a slash.
pub fn post(route: Route, path: &str, view: impl Endpoint<Output = Response> + 'static) -> Route {
    add(route, path, POST_METHODS, view)
}

/// Adds a view for GET, HEAD and POST at `path`, which must end with a slash.
pub fn get_and_post(
    route: Route,
    path: &str,
    view: impl Endpoint<Output = Response> + 'static,
) -> Route {
    add(route, path, GET_AND_POST_METHODS, view)
}

/// Adds a view for GET, HEAD and POST at `path`, which must end with a slash, for frames of other sites: it has no CSRF token.
pub fn get_and_post_in_frame(
    route: Route,
    path: &str,
    view: impl Endpoint<Output = Response> + 'static,
) -> Route {
    let view = Methods {
        methods: GET_AND_POST_METHODS,
        view,
    };
    add_protected(route, path, view.around(csrf::require_same_origin))
}

/// A redirect with any status: poem's `Redirect` has no 302, which Django sends. Characters that no URL may have are
/// escaped.
pub fn redirect(status: StatusCode, location: &str) -> Response {
    let mut response = status
        .with_header(header::CONTENT_LENGTH, 0)
        .into_response();
    // A client's input may be part of the location.
    let location = utf8_percent_encode(location, ESCAPED).to_string();
    let location = HeaderValue::from_str(&location).expect("what no header may have is escaped");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// Sets `name` as the route of the endpoint's requests, for the log and the metrics.
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
    let view = Methods { methods, view };
    // Not around all routes: a request without a view gets a 404 or a redirect, not a CSRF error.
    add_protected(route, path, view.around(csrf::protect))
}

fn add_protected(
    route: Route,
    path: &str,
    view: impl Endpoint<Output = Response> + 'static,
) -> Route {
    let view = named(path, view);
    let without_slash = path
        .strip_suffix('/')
        .expect("the path of a view ends with a slash");
    route
        .at(path, view)
        .at(without_slash, poem::endpoint::make_sync(append_slash))
}

/// Redirects to the URL with a trailing slash.
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

/// A view with its allowed methods.
struct Methods<E> {
    methods: &'static str,
    view: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for Methods<E> {
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
