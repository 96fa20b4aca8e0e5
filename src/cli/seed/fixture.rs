//! Putting the objects of a Django fixture together: choices name their questions by key.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    poll::{ParseError, Poll, Text},
    values::{Time, Votes},
};

/// What a fixture says of a question or a choice; of other models nothing is read.
#[derive(Debug, Default, Deserialize)]
pub struct Fields {
    question_text: Option<Text>,
    pub_date: Option<Time>,
    choice_text: Option<Text>,
    votes: Option<Votes>,
    question: Option<i64>,
}

/// The questions and choices of a fixture by their keys, with the lines where they stand.
#[derive(Debug, Default)]
pub struct Fixture {
    questions: BTreeMap<i64, (usize, Poll)>,
    choices: BTreeMap<i64, (usize, i64, Text, i32)>,
    /// Objects of other models.
    pub skipped: usize,
}

impl Fixture {
    /// Takes an object in.
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

    /// All of them, once the file has been read.
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
