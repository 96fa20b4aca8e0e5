//! Who sees the results of a question, and when.

use crate::{entities::question_options::ResultsShown, web::format::FormattedTime};

/// A visitor, as far as it decides whether the results are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watcher {
    /// Whether it is a member of staff.
    pub is_staff: bool,
    /// Whether the visitor sees questions that are not published yet.
    pub may_preview: bool,
    /// Whether the visitor has voted, on a question that limits votes.
    pub has_voted: bool,
}

impl Watcher {
    /// Whether the visitor sees the results of a question.
    pub fn sees(self, results: ResultsShown, is_closed: bool) -> bool {
        self.is_staff
            || match results {
                ResultsShown::Always => true,
                ResultsShown::AfterVoting => self.has_voted || is_closed,
                ResultsShown::AfterClosing => is_closed,
                ResultsShown::StaffOnly => false,
            }
    }
}

/// When results that are hidden appear; `closes` is when voting ends.
pub fn reason(results: ResultsShown, closes: Option<&FormattedTime>) -> String {
    match (results, closes) {
        (ResultsShown::AfterVoting, _) => {
            "The results appear here after you have voted.".to_owned()
        }
        (ResultsShown::AfterClosing, Some(closes)) => format!(
            "The results appear here when voting ends: {}.",
            closes.exact
        ),
        (ResultsShown::AfterClosing, None) => {
            "The results appear here when voting has ended.".to_owned()
        }
        (ResultsShown::Always | ResultsShown::StaffOnly, _) => {
            "The results of this poll are not public.".to_owned()
        }
    }
}
