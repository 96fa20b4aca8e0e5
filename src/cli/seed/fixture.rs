//! Builds polls from the objects of a Django fixture, in which choices refer to their questions by key.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    poll::{ParseError, Poll, Text},
    values::{Time, Votes},
};

/// The fields of a question or a choice; objects of other models are counted only.
#[derive(Debug, Default, Deserialize)]
pub struct Fields {
    question_text: Option<Text>,
    pub_date: Option<Time>,
    choice_text: Option<Text>,
    votes: Option<Votes>,
    question: Option<i64>,
}

/// The questions and choices of a fixture by their keys, with their lines.
#[derive(Debug, Default)]
pub struct Fixture {
    /// The line, and the question.
    questions: BTreeMap<i64, (usize, Poll)>,
    /// The line, the question's key, the text and the votes.
    choices: BTreeMap<i64, (usize, i64, Text, i32)>,
    /// The number of objects of other models.
    pub skipped: usize,
}

impl Fixture {
    /// Adds an object.
    ///
    /// # Errors
    /// The reason, when a field or the key is missing, or another object has the same key.
    pub fn add(
        &mut self,
        line: usize,
        model: &str,
        pk: Option<i64>,
        fields: Fields,
    ) -> Result<(), String> {
        let key = || pk.ok_or_else(|| "the object has no `pk`".to_owned());
        let is_new = match model {
            "polls_app.question" => {
                let question = fields
                    .question_text
                    .ok_or("the question has no `question_text`")?;
                let published = Some(fields.pub_date.ok_or("the question has no `pub_date`")?.0);
                let poll = Poll {
                    question,
                    published,
                    choices: Vec::new(),
                };
                self.questions.insert(key()?, (line, poll)).is_none()
            }
            "polls_app.choice" => {
                let text = fields
                    .choice_text
                    .ok_or("the choice has no `choice_text`")?;
                let question = fields.question.ok_or("the choice has no `question`")?;
                let votes = fields.votes.unwrap_or_default().0;
                self.choices
                    .insert(key()?, (line, question, text, votes))
                    .is_none()
            }
            _ => {
                self.skipped += 1;
                true
            }
        };
        if is_new {
            Ok(())
        } else {
            Err(format!("there is another {model} with this `pk`"))
        }
    }

    /// The polls with their lines.
    ///
    /// # Errors
    /// When the question of a choice is missing.
    pub fn into_polls(mut self) -> Result<Vec<(usize, Poll)>, ParseError> {
        for (line, question, text, votes) in self.choices.into_values() {
            let reason = || {
                format!("the choice belongs to question {question}, which the file does not have")
            };
            let poll = self
                .questions
                .get_mut(&question)
                .ok_or_else(|| ParseError {
                    line,
                    reason: reason(),
                })?;
            poll.1.choices.push((text, votes));
        }
        Ok(self.questions.into_values().collect())
    }
}
