//! The rules for the options of a question, in every form that sets them.

use chrono::{DateTime, Utc};

use crate::entities::question_options::{Policy, ResultsShown};

/// The names of policies, with labels.
pub const POLICIES: &[(&str, &str)] = &[
    ("any", "Any number"),
    ("browser", "One per browser"),
    ("account", "One per account"),
    ("code", "One per code"),
];

/// The names of times at which results are shown, with labels.
pub const RESULTS_SHOWN: &[(&str, &str)] = &[
    ("always", "Always"),
    ("voted", "After voting"),
    ("closed", "After voting has ended"),
    ("staff", "To staff only"),
];

/// The options of a question that depend on each other.
#[derive(Debug, Clone, Copy)]
pub struct OptionRules {
    /// The publication time.
    pub published: Option<DateTime<Utc>>,
    /// When voting ends.
    pub closes_at: Option<DateTime<Utc>>,
    /// Who may vote, and how often.
    pub policy: Option<Policy>,
    /// When the results are shown.
    pub results: Option<ResultsShown>,
    /// How many choices a ballot may have.
    pub max_choices: Option<i32>,
}

impl OptionRules {
    /// What is wrong, as the column of an option and a text.
    pub fn errors(&self) -> Vec<(&'static str, &'static str)> {
        let mut errors = Vec::new();
        if self.max_choices.is_some_and(|max_choices| max_choices < 1) {
            errors.push((
                "max_choices",
                "Ensure this value is greater than or equal to 1.",
            ));
        }
        if let (Some(published), Some(closes_at)) = (self.published, self.closes_at)
            && closes_at <= published
        {
            let text = "Voting has to end after the question is published.";
            errors.push(("closes_at", text));
        }
        if (self.policy, self.results) == (Some(Policy::Any), Some(ResultsShown::AfterVoting)) {
            let text = "With any number of votes it is not known who has voted: limit the votes, or choose another time.";
            errors.push(("results", text));
        }
        errors
    }
}
