//! Error pages: they advise the client what to do next, and reveal nothing internal.

use std::{
    any::Any,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures_util::FutureExt;
use minijinja::{Value, context};
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    error::ParsePathError,
    http::{HeaderValue, StatusCode, header},
};

use super::{
    body::BodyReadTime,
    cookies, debug,
    page::{BaseContext, html_response},
    request_info::RequestInfo,
};
use crate::{
    core::Core,
    db::is_storage,
    error::{self, AppError, CsrfError},
    server::fault::RETRY_AFTER,
};

/// Renders an error page from a context with `status`, `title`, `advice` and `request_id`.
type Render = dyn Fn(Value) -> error::Result<Response> + Send + Sync;

/// The renderer of a request's error page, if a middleware has set one; otherwise the public error page is rendered.
#[derive(Clone, Default)]
struct ErrorLayout(Arc<OnceLock<Box<Render>>>);

impl fmt::Debug for ErrorLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorLayout(…)")
    }
}

/// Sets the renderer of an error page that answers `request`. Later calls for the same request have no effect.
pub fn set_layout(
    request: &Request,
    render: impl Fn(Value) -> error::Result<Response> + Send + Sync + 'static,
) {
    if let Some(layout) = request.data::<ErrorLayout>() {
        let _ = layout.0.set(Box::new(render));
    }
}

/// Turns errors, panics and timeouts into error pages, and logs server errors, CSRF failures and bad requests.
///
/// # Errors
/// None: every error becomes a page.
pub async fn pages<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let core = Core::of(&request).clone();
    let base = BaseContext::of(&request);
    let layout = ErrorLayout::default();
    request.set_data(layout.clone());
    let info = RequestInfo::of(&request).clone();
    let body_time = BodyReadTime::default();
    request.set_data(body_time.clone());
    let mut response = std::pin::pin!(AssertUnwindSafe(next.call(request)).catch_unwind());
    let server = core.live.get();
    let deadline = info.deadline(server.timeout);
    let mut result = None;
    // A request that has waited for another's page until its deadline begins nothing.
    if tokio::time::Instant::now() < deadline {
        let in_time = tokio::time::timeout_at(deadline, response.as_mut());
        result = in_time.await.ok();
    }
    // The time for the body, which has its own timeout, does not count.
    let extension = body_time.elapsed(server.body_timeout);
    if result.is_none() && !extension.is_zero() {
        result = tokio::time::timeout(extension, response).await.ok();
    }
    let error = match result {
        Some(Ok(Ok(response))) => return Ok(response.into_response()),
        Some(Ok(Err(error))) => from_poem(error),
        Some(Err(panic)) => {
            AppError::Internal(anyhow::anyhow!("panicked: {}", panic_text(&*panic)))
        }
        None => AppError::Timeout,
    };
    match &error {
        AppError::Internal(_) => {
            tracing::error!(error = %error.to_string().escape_debug(), "Internal Server Error");
        }
        AppError::Unavailable(cause) => {
            tracing::error!("database unavailable: {}", cause.to_string().escape_debug());
        }
        AppError::NotMigrated(_) => {
            tracing::error!("{}", error.to_string().escape_debug());
        }
        AppError::Timeout => tracing::error!("{error}"),
        // These texts include input of the client.
        AppError::Csrf(reason) => {
            tracing::warn!("Forbidden ({})", reason.to_string().escape_debug())
        }
        AppError::BadRequest(reason) => tracing::warn!("Bad Request ({})", reason.escape_debug()),
        _ => {}
    }
    let is_debug = core.settings.debug;
    let debug_page = is_debug.then(|| debug::page(&core, &error, &info, base));
    let debug_page = debug_page.flatten();
    let mut response = debug_page.unwrap_or_else(|| page(&core, &error, base, &layout, &info.id));
    add_headers(&mut response, &error);
    Ok(response)
}

/// Poem's own errors, for unknown routes and invalid extractor arguments, have a status only.
fn from_poem(error: poem::Error) -> AppError {
    let status = error.status();
    match error.downcast::<AppError>() {
        Ok(error) => error,
        Err(_) if status == StatusCode::NOT_FOUND => AppError::NotFound,
        // The path is not UTF-8.
        Err(error) if error.is::<ParsePathError>() => AppError::NotFound,
        Err(_) if status == StatusCode::METHOD_NOT_ALLOWED => {
            AppError::MethodNotAllowed("GET, HEAD")
        }
        Err(_) if status.is_client_error() => {
            AppError::BadRequest("an argument of the request cannot be parsed".into())
        }
        Err(error) => AppError::Internal(anyhow::anyhow!("{error}")),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn page(
    core: &Core,
    error: &AppError,
    base: BaseContext,
    layout: &ErrorLayout,
    request_id: &str,
) -> Response {
    let (title, advice) = title_and_advice(error);
    let status = error.status();
    // The log has details of these errors under the request id.
    let is_logged = matches!(
        error,
        AppError::Internal(_)
            | AppError::Unavailable(_)
            | AppError::NotMigrated(_)
            | AppError::Timeout
    );
    let request_id = Some(request_id).filter(|_| is_logged);
    let context = context! { status => status.as_u16(), title, advice, request_id };
    let rendered = match layout.0.get() {
        Some(render) => render(context),
        None => {
            let html = core
                .templates
                .render("error.html", context! { ..context, ..base.context() });
            html.map(html_response).map_err(AppError::from)
        }
    };
    let mut response = match rendered {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "the error page itself does not render");
            title.into_response()
        }
    };
    response.set_status(status);
    // The theme and the link to the admin depend on cookies.
    cookies::vary(&mut response);
    response
}

fn add_headers(response: &mut Response, error: &AppError) {
    match error {
        AppError::MethodNotAllowed(methods) => {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        AppError::Unavailable(_) | AppError::Busy | AppError::Timeout => {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        AppError::TooManyAttempts(seconds) => {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, (*seconds).into());
        }
        _ => {}
    }
}

/// The heading of the page, and the advice to the client.
fn title_and_advice(error: &AppError) -> (&'static str, &'static str) {
    match error {
        AppError::BadRequest(_) => (
            "Bad Request",
            "The server could not make sense of this request. Check the address, or go back and try again.",
        ),
        AppError::Csrf(CsrfError::NoCookie) => (
            "Forbidden",
            "CSRF verification failed: your browser sent no cookie with this form. Allow cookies for this site, go back, \
             reload the page and try again.",
        ),
        AppError::Csrf(_) => (
            "Forbidden",
            "CSRF verification failed: this form is out of date or comes from another site. Go back, reload the page and \
             try again.",
        ),
        AppError::PermissionDenied => (
            "Forbidden",
            "You are not allowed to do this. Ask an administrator of this site for the permission.",
        ),
        AppError::TooManyAttempts(_) => (
            "Too Many Requests",
            "Too many tries to log in have failed. Wait a quarter of an hour, then try again; an administrator of the \
             users of this site can give you another password.",
        ),
        AppError::Busy => (
            "Service Unavailable",
            "The site is very busy just now. Try again in a moment.",
        ),
        AppError::NotFound => (
            "Not Found",
            "There is nothing at this address. It may have been mistyped, or the poll is gone.",
        ),
        AppError::MethodNotAllowed(_) => (
            "Method Not Allowed",
            "This address does not take that kind of request.",
        ),
        AppError::PayloadTooLarge => (
            "Content Too Large",
            "What you sent is larger than this site takes.",
        ),
        AppError::BodyTooSlow => (
            "Request Timeout",
            "What you sent did not arrive in time. Check your connection and try again.",
        ),
        AppError::Timeout => (
            "Service Unavailable",
            "The answer took too long. Try again in a moment; if you were changing something, look first whether it was \
             done.",
        ),
        AppError::UnsupportedMediaType => (
            "Unsupported Media Type",
            "This site takes forms as application/x-www-form-urlencoded only.",
        ),
        AppError::Unavailable(cause) if is_storage(cause) => (
            "Service Unavailable",
            "The site can be read, but cannot store anything just now: votes and changes are not taken. Try again later.",
        ),
        AppError::Unavailable(_) => (
            "Service Unavailable",
            "The site cannot reach its data just now. Try again in a moment.",
        ),
        AppError::NotMigrated(_) => (
            "Service Unavailable",
            "The database lacks a table that this needs. An administrator of this site has to run “polls migrate”.",
        ),
        AppError::Internal(_) => (
            "Server Error",
            "Something went wrong on our side. It has been noted; try again in a moment.",
        ),
    }
}
