//! The read API: published questions and their results as JSON, described by an `OpenAPI` document that is generated from the code
//! (<https://spec.openapis.org/oas/v3.0.0>). It shows what a visitor sees who is not logged in and has not voted.

mod error;
mod questions;

use std::sync::Arc;

use minijinja::{context, value::Serde};
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route, handler,
    http::{HeaderValue, Method, StatusCode, header},
    web::headers::{HeaderMapExt, IfNoneMatch},
};
use poem_openapi::{OpenApiService, types::ToJSON};

use self::{error::ApiError, questions::QuestionsApi};
use super::urls;
use crate::{
    core::Core,
    error::{AppError, Result},
    web::{
        errors, etag,
        page::Page,
        routing::{get, get_resource},
    },
};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Adds the API and its documentation.
pub fn routes(route: Route) -> Route {
    let api = get(Route::new(), urls::API, documentation);
    let api = get_resource(api, urls::API_SCHEMA, openapi_json);
    let api = get_resource(api, urls::API_QUESTIONS, service());
    let api = get_resource(api, urls::API_QUESTION, service());
    // Around all of them: paths and methods that do not exist have JSON errors, too.
    route.nest_no_strip(urls::API, api.around(respond))
}

fn service() -> impl Endpoint<Output = Response> {
    open_api().map_to_response()
}

fn open_api() -> OpenApiService<QuestionsApi, ()> {
    let text = "Published polls and their results, as visitors see them who are not logged in.";
    OpenApiService::new(QuestionsApi, "Polls", "1").description(text)
}

/// The `OpenAPI` document.
#[handler]
fn openapi_json() -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, JSON)
        .body(open_api().spec())
}

/// The documentation of the API, from the `OpenAPI` document.
#[handler]
fn documentation(page: Page) -> Result<Response> {
    let document: serde_json::Value = serde_json::from_str(&open_api().spec())
        .map_err(|error| AppError::Internal(error.into()))?;
    let context = context! { document => Serde(document), schema_url => urls::API_SCHEMA };
    page.render("polls_app/api.html", context)
}

/// Responds with an entity tag, and with JSON to errors; allows the origins in `API_ALLOWED_ORIGINS` to read responses.
///
/// # Errors
/// Those of `next`, for which the error page is JSON.
async fn respond<E: Endpoint>(next: Arc<E>, mut request: Request) -> poem::Result<Response> {
    let origins = AllowedOrigins::of(&request);
    let known: Option<IfNoneMatch> = request.headers().typed_get();
    let of_errors = origins.clone();
    errors::set_layout(&request, move |context| {
        let body = ApiError::of_page(&context).to_json_string();
        let mut response = Response::builder()
            .header(header::CONTENT_TYPE, JSON)
            .body(body);
        of_errors.allow(&mut response);
        Ok(response)
    });
    let is_preflight = *request.method() == Method::OPTIONS;
    // The operations have one method; hyper leaves the body out.
    if *request.method() == Method::HEAD {
        request.set_method(Method::GET);
    }
    let mut response = next.call(request).await?.into_response();
    origins.allow(&mut response);
    if is_preflight {
        origins.allow_request_headers(&mut response);
        return Ok(response);
    }
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let body = response.take_body().into_vec().await?;
    Ok(etag::with_body(response, body, known.as_ref()))
}

/// What scripts of other sites may read: cross-origin resource sharing (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
#[derive(Debug, Clone)]
struct AllowedOrigins {
    /// Whether there are any.
    is_enabled: bool,
    /// The value of `Access-Control-Allow-Origin`, if the request's origin is one.
    allowed: Option<HeaderValue>,
}

impl AllowedOrigins {
    fn of(request: &Request) -> Self {
        let origins = &Core::of(request).settings.other_sites.api_allowed_origins;
        let origin = request.headers().get(header::ORIGIN);
        let is_allowed = |origin: &&HeaderValue| origins.iter().any(|known| *origin == known);
        Self {
            is_enabled: !origins.is_empty(),
            allowed: match origins.iter().any(|origin| origin == "*") {
                true => Some(HeaderValue::from_static("*")),
                false => origin.filter(is_allowed).cloned(),
            },
        }
    }

    /// Lets the origin read a response and its entity tag.
    fn allow(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if self.is_enabled {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = &self.allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let exposed = HeaderValue::from_static("ETag");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// Lets the origin send an entity tag.
    fn allow_request_headers(&self, response: &mut Response) {
        if self.allowed.is_some() {
            let headers = response.headers_mut();
            let sent = HeaderValue::from_static("If-None-Match");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, sent);
            let age = HeaderValue::from_static("86400");
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, age);
        }
    }
}
