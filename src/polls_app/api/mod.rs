//! The read API: published questions and their results as JSON, described by an `OpenAPI` document that is generated from the code
//! (<https://spec.openapis.org/oas/v3.0.0>). It shows what a visitor sees who is not logged in and has not voted.

mod questions;

use std::sync::Arc;

use minijinja::{Value, context, value::Serde};
use poem::{
    Endpoint, EndpointExt, IntoResponse, Request, Response, Route, handler,
    http::{HeaderValue, Method, StatusCode, header},
    web::{
        Data,
        headers::{HeaderMapExt, IfNoneMatch},
    },
};
use poem_openapi::{
    OpenApiService,
    error::{ParseParamError, ParsePathError},
};
use serde_json::json;

use self::questions::QuestionsApi;
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
    let api = || service().around(respond).map_to_response();
    let route = get(route, urls::API, documentation);
    let document = schema.around(respond).map_to_response();
    let route = get_resource(route, urls::API_SCHEMA, document);
    let route = get_resource(route, urls::API_QUESTIONS, api());
    get_resource(route, urls::API_QUESTION, api())
}

fn service() -> OpenApiService<QuestionsApi, ()> {
    let text = "Published polls and their results, as visitors see them who are not logged in.";
    OpenApiService::new(QuestionsApi, "Polls", "1").description(text)
}

/// The `OpenAPI` document.
#[handler]
fn schema() -> Response {
    Response::builder()
        .header(header::CONTENT_TYPE, JSON)
        .body(service().spec())
}

/// The documentation of the API, from the `OpenAPI` document.
#[handler]
fn documentation(page: Page, Data(_): Data<&Arc<Core>>) -> Result<Response> {
    let document: serde_json::Value = serde_json::from_str(&service().spec())
        .map_err(|error| AppError::Internal(error.into()))?;
    let context = context! { document => Serde(document), schema_url => urls::API_SCHEMA };
    page.render("polls_app/api.html", context)
}

/// Responds with an entity tag, and with JSON to errors; allows the origins in `API_ALLOWED_ORIGINS` to read responses.
///
/// # Errors
/// Those of `next`, for which the error page is JSON.
async fn respond<E: Endpoint>(next: Arc<E>, mut request: Request) -> poem::Result<Response> {
    let allowed_origin = allowed_origin(&request);
    let known: Option<IfNoneMatch> = request.headers().typed_get();
    let origin = allowed_origin.clone();
    errors::set_layout(&request, move |context| {
        let mut response = error_response(&context);
        allow(&mut response, origin.as_ref());
        Ok(response)
    });
    // The operations have one method; hyper leaves the body out.
    if *request.method() == Method::HEAD {
        request.set_method(Method::GET);
    }
    let mut response = match next.call(request).await {
        Ok(response) => response.into_response(),
        Err(error) if error.is::<ParsePathError>() => return Err(AppError::NotFound.into()),
        Err(error) => match error.downcast_ref::<ParseParamError>() {
            Some(invalid) => {
                let advice = format!(
                    "The parameter {} is invalid: {}.",
                    invalid.name, invalid.reason
                );
                let mut response = error_response(&context! {
                    status => 400, title => "Bad Request", advice, request_id => (),
                });
                response.set_status(StatusCode::BAD_REQUEST);
                response
            }
            None => return Err(error),
        },
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    allow(&mut response, allowed_origin.as_ref());
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let body = response.take_body().into_vec().await?;
    Ok(etag::with_body(response, body, known.as_ref()))
}

/// The value of `Access-Control-Allow-Origin` for a request: none if its origin may not read responses; `Some(None)` if there is
/// none, and others would be allowed.
fn allowed_origin(request: &Request) -> Option<Option<HeaderValue>> {
    let allowed = &Core::of(request).settings.other_sites.api_allowed_origins;
    if allowed.is_empty() {
        return None;
    }
    if allowed.iter().any(|origin| origin == "*") {
        return Some(Some(HeaderValue::from_static("*")));
    }
    let origin = request.headers().get(header::ORIGIN);
    let is_allowed = |origin: &&HeaderValue| allowed.iter().any(|known| *origin == known);
    Some(origin.filter(is_allowed).cloned())
}

fn allow(response: &mut Response, origin: Option<&Option<HeaderValue>>) {
    let Some(origin) = origin else {
        return;
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

/// An error as JSON, from the context of an error page.
fn error_response(context: &Value) -> Response {
    let field = |name| context.get_attr(name).unwrap_or_default();
    let error = json!({
        "status": field("status"),
        "title": field("title"),
        "advice": field("advice"),
        "request_id": field("request_id"),
    });
    Response::builder()
        .header(header::CONTENT_TYPE, JSON)
        .body(error.to_string())
}
