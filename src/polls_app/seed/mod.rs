//! Questions from files: reading them, and adding what the database lacks.

mod parse;
mod random;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait, QueryFilter, QueryOrder};

pub use self::{
    parse::{BadFile, Syntax, parse},
    random::add_random,
};
use crate::{
    db::Transaction,
    entities::{choice, question},
};

/// The built-in example polls.
pub const EXAMPLES: &str = include_str!("examples.yaml");

/// The most characters of a question or a choice.
const MAX_TEXT: usize = 200;

/// A question with its choices, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// What is asked.
    pub question: Text,
    /// When it appears; `None` means at once.
    pub published: Option<DateTime<Utc>>,
    /// The answers and their votes.
    pub choices: Vec<(Text, i32)>,
}

/// A text of a question or a choice: not blank, 200 characters at most, and without NUL, which PostgreSQL cannot store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Checks a text, less the blanks around it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let length = text.chars().count();
        if text.is_empty() {
            Err("the text is blank".to_owned())
        } else if length > MAX_TEXT {
            Err(format!(
                "the text has {length} characters, {MAX_TEXT} is the most"
            ))
        } else if text.contains('\0') {
            Err("the text contains a NUL character".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// What was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    /// New questions.
    pub questions: usize,
    /// New choices, those of new questions included.
    pub choices: usize,
}

/// Adds the questions and choices that are not there yet. A question is known by its text, a choice by its question
/// and its text; what is there stays as it is, votes included.
///
/// # Errors
/// When the database refuses.
pub async fn add(tx: &Transaction, polls: &[Poll], now: DateTime<Utc>) -> Result<Added, DbErr> {
    let mut added = Added::default();
    for poll in polls {
        let known = question::Entity::find()
            .filter(question::COLUMN.question_text.eq(poll.question.0.as_str()));
        let id = match known.order_by_asc(question::Column::Id).one(tx).await? {
            Some(question) => question.id,
            None => {
                added.questions += 1;
                add_question(tx, poll, now).await?
            }
        };
        let known = choice::Entity::find()
            .filter(choice::COLUMN.question_id.eq(id))
            .all(tx)
            .await?;
        let mut texts: Vec<String> = known.into_iter().map(|choice| choice.choice_text).collect();
        for (text, votes) in &poll.choices {
            if texts.contains(&text.0) {
                continue;
            }
            let row = choice::ActiveModel {
                choice_text: Set(text.0.clone()),
                votes: Set(*votes),
                question_id: Set(id),
                ..choice::ActiveModel::default()
            };
            choice::Entity::insert(row)
                .exec_without_returning(tx)
                .await?;
            texts.push(text.0.clone());
            added.choices += 1;
        }
    }
    Ok(added)
}

async fn add_question(tx: &Transaction, poll: &Poll, now: DateTime<Utc>) -> Result<i32, DbErr> {
    let row = question::ActiveModel {
        question_text: Set(poll.question.0.clone()),
        pub_date: Set(poll.published.unwrap_or(now)),
        ..question::ActiveModel::default()
    };
    Ok(question::Entity::insert(row).exec(tx).await?.last_insert_id)
}
