//! The errors of the API.

use minijinja::Value;
use poem::http::StatusCode;
use poem_openapi::Object;

use crate::polls_app::urls;

/// An error.
#[derive(Debug, Object)]
pub struct ApiError {
    /// The status of the response
    status: u16,
    /// Its name
    title: String,
    /// What to do next
    advice: String,
    /// The id of the request in the server's log, for an error of the server
    #[oai(skip_serializing_if_is_none)]
    request_id: Option<String>,
}

impl ApiError {
    /// The error of an error page's context.
    pub fn of_page(context: &Value) -> Self {
        let field = |name| context.get_attr(name).unwrap_or_default();
        let text = |name| field(name).as_str().map(str::to_owned);
        Self {
            status: field("status").try_into().unwrap_or_default(),
            title: text("title").unwrap_or_default(),
            advice: text("advice").unwrap_or_default(),
            request_id: text("request_id"),
        }
    }

    /// For a parameter that is invalid.
    pub fn invalid() -> Self {
        let advice = format!(
            "A parameter is invalid. They are described at {}.",
            urls::API
        );
        Self::new(StatusCode::BAD_REQUEST, advice)
    }

    /// For a question that does not exist.
    pub fn no_question() -> Self {
        let advice = "There is no such question, or it is not published.".to_owned();
        Self::new(StatusCode::NOT_FOUND, advice)
    }

    fn new(status: StatusCode, advice: String) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            advice,
            request_id: None,
        }
    }
}
