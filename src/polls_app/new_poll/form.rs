//! The form of a new poll.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::text;
use crate::{
    dateparse::parse_datetime,
    db::is_storable,
    digits,
    entities::question_options::{self, Policy, ResultsShown},
    polls_app::options::{OptionRules, POLICIES, RESULTS_SHOWN},
    web::form::{Form, REQUIRED},
};

/// The length of a question and of a choice at most, in characters.
const MAX_LENGTH: usize = 200;
/// The number of choices at most.
const MAX_CHOICES: usize = 100;
/// Empty rows for choices in a new form.
const ROWS: usize = 2;
const INVALID_CHOICE: &str =
    "Select a valid choice. That choice is not one of the available choices.";

/// A valid poll.
#[derive(Debug)]
pub struct NewPoll {
    /// The text of the question.
    pub question_text: String,
    /// The texts of the choices, at least two, all different.
    pub choices: Vec<String>,
    /// When it is published.
    pub published: DateTime<Utc>,
    /// The options.
    pub options: question_options::Model,
}

/// The submitted form, with its errors.
#[derive(Debug)]
pub struct PollForm {
    question_text: String,
    choices: Vec<Row>,
    publish: String,
    pub_date: String,
    closes_at: String,
    policy: String,
    results: String,
    max_choices: String,
    /// Errors by field; `choices` for all rows.
    errors: BTreeMap<&'static str, String>,
    zone: Tz,
    /// Whether the user is staff, to whom alone results may be shown.
    is_staff: bool,
    /// Whether a row was added, which gets the focus.
    has_new_row: bool,
}

/// A choice.
#[derive(Debug, Default, Serialize)]
struct Row {
    text: String,
    error: String,
}

impl PollForm {
    /// A form with the submitted values, or an empty one, for a user.
    pub fn new(form: &Form, zone: Tz, is_staff: bool) -> Self {
        let text = |name| form.get(name).unwrap_or_default().trim().to_owned();
        let or = |name, default: &str| match form.get(name) {
            Some(value) => value.trim().to_owned(),
            None => default.to_owned(),
        };
        let mut choices: Vec<Row> = form
            .all("choice")
            // A few more than are valid, so that none of a long list is lost before the error is shown.
            .take(10 * MAX_CHOICES)
            .map(|text| Row {
                text: text.trim().to_owned(),
                error: String::new(),
            })
            .collect();
        while choices.len() < ROWS {
            choices.push(Row::default());
        }
        Self {
            question_text: text("question_text"),
            choices,
            publish: or("publish", "now"),
            pub_date: text("pub_date"),
            closes_at: text("closes_at"),
            policy: or("policy", "any"),
            results: or("results", "always"),
            max_choices: or("max_choices", "1"),
            errors: BTreeMap::new(),
            zone,
            is_staff,
            has_new_row: false,
        }
    }

    /// Adds a row if the button for it was pressed.
    pub fn adds_row(&mut self, form: &Form) -> bool {
        self.has_new_row = form.has("add_choice");
        if self.has_new_row {
            self.choices.push(Row::default());
        }
        self.has_new_row
    }

    /// The poll, published now or later; `None` if there are errors.
    pub fn clean(&mut self, now: DateTime<Utc>) -> Option<NewPoll> {
        if let Some(error) = text::error(&self.question_text, MAX_LENGTH) {
            self.errors.insert("question_text", error);
        } else if self.question_text.is_empty() {
            self.errors.insert("question_text", REQUIRED.to_owned());
        }
        let choices = self.clean_choices();
        let (pub_date, closes_at) = (self.time("pub_date"), self.time("closes_at"));
        let published = match self.publish.as_str() {
            "later" => pub_date,
            _ => Some(now),
        };
        let pub_date_error = match (self.publish.as_str(), self.pub_date.is_empty()) {
            ("now", true) | ("later", false) => None,
            ("now", false) => Some("Select “At a time”, or leave the time empty."),
            ("later", true) => Some(REQUIRED),
            _ => Some(INVALID_CHOICE),
        };
        if let Some(error) = pub_date_error {
            self.errors.insert("pub_date", error.to_owned());
        }
        let policy = Policy::parse(&self.policy);
        let results = ResultsShown::parse(&self.results).filter(|results| {
            self.results_shown()
                .any(|(name, _)| *name == results.name())
        });
        for (field, is_valid) in [("policy", policy.is_some()), ("results", results.is_some())] {
            if !is_valid {
                self.errors.insert(field, INVALID_CHOICE.to_owned());
            }
        }
        let max_choices: Option<i32> = digits::to_ascii(&self.max_choices).parse().ok();
        match max_choices {
            None => {
                let error = "Enter a whole number.".to_owned();
                self.errors.insert("max_choices", error);
            }
            Some(max) if max > 1 && max as usize > choices.len() => {
                let error = format!("There are only {} choices.", choices.len());
                self.errors.insert("max_choices", error);
            }
            Some(_) => {}
        }
        let rules = OptionRules {
            published,
            closes_at,
            policy,
            results,
            max_choices,
        };
        for (field, error) in rules.errors() {
            self.errors.insert(field, error.to_owned());
        }
        if !self.errors.is_empty() {
            return None;
        }
        Some(NewPoll {
            question_text: self.question_text.clone(),
            choices,
            published: published?,
            options: question_options::Model {
                policy: policy?,
                results: results?,
                max_choices: max_choices?,
                closes_at: closes_at.map(Into::into),
                ..question_options::Model::default()
            },
        })
    }

    /// The texts of the rows that are not empty.
    fn clean_choices(&mut self) -> Vec<String> {
        let mut known = HashSet::new();
        let mut choices = Vec::new();
        for row in &mut self.choices {
            if row.text.is_empty() {
                continue;
            }
            if let Some(error) = text::error(&row.text, MAX_LENGTH) {
                row.error = error;
            } else if !known.insert(text::comparable(&row.text)) {
                "This choice is already in the list.".clone_into(&mut row.error);
            }
            choices.push(row.text.clone());
        }
        let error = match choices.len() {
            _ if known.len() < 2 => "Enter at least two different choices.".to_owned(),
            count if count > MAX_CHOICES => {
                format!("A poll may have {MAX_CHOICES} choices at most (it has {count}).")
            }
            _ if self.choices.iter().any(|row| !row.error.is_empty()) => {
                "Correct the choices that are marked.".to_owned()
            }
            _ => return choices,
        };
        self.errors.insert("choices", error);
        choices
    }

    /// The time in a field; `None` if it is empty or, with an error, invalid.
    fn time(&mut self, field: &'static str) -> Option<DateTime<Utc>> {
        let text = match field {
            "pub_date" => &self.pub_date,
            _ => &self.closes_at,
        };
        let time = parse_datetime(text, self.zone).filter(|time| is_storable(*time));
        if time.is_none() && !text.is_empty() {
            let error = "Enter a valid date and time, such as 2027-01-31 18:00.".to_owned();
            self.errors.insert(field, error);
        }
        time
    }

    /// The times at which the user may have the results shown.
    fn results_shown(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let staff_only = ResultsShown::StaffOnly.name();
        let is_staff = self.is_staff;
        RESULTS_SHOWN
            .iter()
            .filter(move |(name, _)| is_staff || *name != staff_only)
    }

    /// The variables of the template.
    pub fn context(&self) -> Value {
        let options = ["pub_date", "closes_at", "policy", "results", "max_choices"];
        let has_option_errors = options.iter().any(|field| self.errors.contains_key(field));
        let error = |field: &str| self.errors.get(field).cloned().unwrap_or_default();
        context! {
            question_text => &self.question_text,
            choices => Serde(&self.choices),
            is_published_later => self.publish == "later",
            pub_date => &self.pub_date,
            closes_at => &self.closes_at,
            policy => &self.policy,
            policies => Serde(POLICIES),
            results => &self.results,
            all_results => Serde(self.results_shown().collect::<Vec<_>>()),
            max_choices => &self.max_choices,
            time_zone => self.zone.name(),
            has_errors => !self.errors.is_empty(),
            has_option_errors,
            has_new_row => self.has_new_row,
            max_length => MAX_LENGTH,
            question_error => error("question_text"),
            choices_error => error("choices"),
            pub_date_error => error("pub_date"),
            closes_at_error => error("closes_at"),
            policy_error => error("policy"),
            results_error => error("results"),
            max_choices_error => error("max_choices"),
        }
    }
}
