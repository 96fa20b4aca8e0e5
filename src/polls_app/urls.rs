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
