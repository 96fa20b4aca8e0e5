//! Questions from files: parsing them, and adding those that the database does not have.

mod fixture;
mod parse;
mod poll;
mod random;
mod values;

use std::collections::{HashMap, HashSet, hash_map::Entry};

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait, QueryFilter, QueryOrder};

pub use self::{
    parse::{Syntax, parse},
    poll::{ParseError, Poll, Text},
    random::add_random,
};
use crate::{
    db::Transaction,
    entities::{choice, question},
};

/// Questions selected, and choices inserted, per statement: within both databases' limits on parameters.
const CHUNK: usize = 500;

/// The built-in example polls.
pub const EXAMPLES: &str = include_str!("examples.yaml");

/// The number of added objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    /// New questions.
    pub questions: usize,
    /// New choices, those of new questions included.
    pub choices: usize,
}

/// Adds the questions and choices that do not exist yet. A question is identified by its text, a choice by its question and
/// its text. Existing ones are not changed.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn add(tx: &Transaction, polls: &[Poll], now: DateTime<Utc>) -> Result<Added, DbErr> {
    let mut added = Added::default();
    for polls in polls.chunks(CHUNK) {
        let mut existing = find_existing(tx, polls).await?;
        for poll in polls {
            let (id, texts) = match existing.entry(poll.question.to_string()) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    added.questions += 1;
                    entry.insert((add_question(tx, poll, now).await?, HashSet::new()))
                }
            };
            let new: Vec<_> = poll
                .choices
                .iter()
                .filter(|(text, _)| !texts.contains(text.as_str()))
                .collect();
            added.choices += new.len();
            texts.extend(new.iter().map(|(text, _)| text.to_string()));
            for new in new.chunks(CHUNK) {
                let rows = new.iter().map(|(text, votes)| choice::ActiveModel {
                    choice_text: Set(text.to_string()),
                    votes: Set((*votes).into()),
                    question_id: Set(*id),
                    ..choice::ActiveModel::default()
                });
                choice::Entity::insert_many(rows)
                    .exec_without_returning(tx)
                    .await?;
            }
        }
    }
    Ok(added)
}

/// The existing questions among `polls`: by text, the key and the texts of the choices. Of several questions with the same
/// text, the first.
async fn find_existing(
    tx: &Transaction,
    polls: &[Poll],
) -> Result<HashMap<String, (i32, HashSet<String>)>, DbErr> {
    let texts = polls.iter().map(|poll| poll.question.as_str());
    let questions = question::Entity::find().filter(question::COLUMN.question_text.is_in(texts));
    let found = questions
        .find_with_related(choice::Entity)
        .order_by_desc(question::Column::Id)
        .order_by_asc(choice::Column::Id)
        .all(tx)
        .await?;
    let existing = found.into_iter().map(|(question, choices)| {
        let texts = choices
            .into_iter()
            .map(|choice| choice.choice_text)
            .collect();
        (question.question_text, (question.id, texts))
    });
    Ok(existing.collect())
}

async fn add_question(tx: &Transaction, poll: &Poll, now: DateTime<Utc>) -> Result<i32, DbErr> {
    let row = question::ActiveModel {
        question_text: Set(poll.question.to_string()),
        pub_date: Set(poll.published.unwrap_or(now).into()),
        ..question::ActiveModel::default()
    };
    Ok(question::Entity::insert(row).exec(tx).await?.last_insert_id)
}
