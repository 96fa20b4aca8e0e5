//! The URLs of the polls pages: path patterns for the router, and paths for links.

use crate::auth::accounts::LOGIN;

/// The list of the latest questions.
pub const INDEX: &str = "/polls/";
/// All published questions, in pages.
pub const ALL: &str = "/polls/all/";
/// The Atom feed of new questions.
pub const FEED: &str = "/polls/feed/";
/// A question with its choices.
pub const DETAIL: &str = "/polls/:id<[0-9]+>/";
/// A question's results.
pub const RESULTS: &str = "/polls/:id<[0-9]+>/results/";
/// A question's results as CSV or JSON.
pub const EXPORT: &str = "/polls/:id<[0-9]+>/export/";
/// Says whether the vote of a receipt is in the count.
pub const RECEIPT: &str = "/polls/:id<[0-9]+>/receipt/";
/// The page to add a poll.
pub const NEW: &str = "/polls/new/";
/// The links to a question.
pub const SHARE: &str = "/polls/:id<[0-9]+>/share/";
/// The QR code of the link to a question.
pub const QR_CODE: &str = "/polls/:id<[0-9]+>/qr/";
/// A question for frames of other sites.
pub const EMBED: &str = "/polls/:id<[0-9]+>/embed/";
/// The end of the path of [`EMBED`].
pub const EMBED_END: &str = "/embed/";
/// The end of the path of [`EVENTS`].
pub const EVENTS_END: &str = "/events/";
/// The query string of the events of a page in a frame.
pub const IN_FRAME: &str = "embed";
/// A question's results for a large screen.
pub const PRESENT: &str = "/polls/:id<[0-9]+>/present/";
/// The events of a question's results.
pub const EVENTS: &str = "/polls/:id<[0-9]+>/events/";
/// Takes votes for a question.
pub const VOTE: &str = "/polls/:id<[0-9]+>/vote/";

/// The path of a question.
pub fn detail(id: i32) -> String {
    format!("/polls/{id}/")
}

/// The path of a question's results.
pub fn results(id: i32) -> String {
    format!("/polls/{id}/results/")
}

/// The path of the links to a question.
pub fn share(id: i32) -> String {
    format!("/polls/{id}/share/")
}

/// The path of the QR code of a question.
pub fn qr_code(id: i32) -> String {
    format!("/polls/{id}/qr/")
}

/// The path of a question for frames of other sites.
pub fn embed(id: i32) -> String {
    format!("/polls/{id}{EMBED_END}")
}

/// The path of a question's results in a frame.
pub fn embedded_results(id: i32) -> String {
    format!("{}?show=results", embed(id))
}

/// The path of a question's results for a large screen.
pub fn present(id: i32) -> String {
    format!("/polls/{id}/present/")
}

/// The path of the events of a question's results.
pub fn events(id: i32) -> String {
    format!("/polls/{id}{EVENTS_END}")
}

/// The documentation of the API.
pub const API: &str = "/polls/api/v1/";
/// The `OpenAPI` document.
pub const API_SCHEMA: &str = "/polls/api/v1/openapi.json";
/// The published questions.
pub const API_QUESTIONS: &str = "/polls/api/v1/questions";
/// A question with its results.
pub const API_QUESTION: &str = "/polls/api/v1/questions/:id";

/// The path of a question in the API.
pub fn api_question(id: i32) -> String {
    format!("{API_QUESTIONS}/{id}")
}

/// The path of the events of a question's results in a frame.
pub fn embedded_events(id: i32) -> String {
    format!("{}?{IN_FRAME}", events(id))
}

/// The login page that leads to a question.
pub fn log_in_to_vote(id: i32) -> String {
    format!("{LOGIN}?next={}", detail(id))
}

/// The path of a question's results as a file.
pub fn export(id: i32) -> String {
    format!("/polls/{id}/export/")
}

/// The path of the page for receipts of votes on a question.
pub fn receipt(id: i32) -> String {
    format!("/polls/{id}/receipt/")
}

/// The path that takes votes for a question.
pub fn vote(id: i32) -> String {
    format!("/polls/{id}/vote/")
}
