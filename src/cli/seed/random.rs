//! Random questions, for tests with many rows.

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, seq::IndexedRandom};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, DbErr, EntityTrait};

use crate::{
    db::Transaction,
    entities::{choice, question},
};

const CHOICES: [&str; 4] = ["Yes", "No", "Both, depending on the day", "Neither"];
const SUBJECTS: [&str; 16] = [
    "coffee",
    "tea",
    "winter",
    "summer",
    "the sea",
    "the mountains",
    "the train",
    "the bicycle",
    "bread",
    "soup",
    "the morning",
    "the evening",
    "a letter",
    "a call",
    "the cinema",
    "the theatre",
];
/// Questions per statement: the parameters of their choices stay below SQLite's limit of 32,766.
const BATCH: usize = 1000;

/// Adds `count` questions of the past year, each with four choices of 0 to 499 votes. Calls `progress` with the number of
/// questions added so far.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn add_random(
    tx: &Transaction,
    count: usize,
    now: DateTime<Utc>,
    progress: impl Fn(usize),
) -> Result<(), DbErr> {
    let mut done = 0;
    while done < count {
        let batch = BATCH.min(count - done);
        let questions: Vec<_> = (done..done + batch)
            .map(|number| question(number, now))
            .collect();
        let ids = question::Entity::insert_many(questions)
            .exec_with_returning_keys(tx)
            .await?;
        let choices = ids
            .into_iter()
            .flat_map(|id| CHOICES.map(|text| choice(id, text)));
        choice::Entity::insert_many(choices.collect::<Vec<_>>())
            .exec_without_returning(tx)
            .await?;
        done += batch;
        progress(done);
    }
    // Without statistics PostgreSQL plans badly, until its next autovacuum.
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("ANALYZE polls_app_question, polls_app_choice")
            .await?;
    }
    Ok(())
}

fn question(number: usize, now: DateTime<Utc>) -> question::ActiveModel {
    let mut rng = rand::rng();
    let subjects: Vec<_> = SUBJECTS.sample(&mut rng, 2).collect();
    let age = TimeDelta::seconds(rng.random_range(0..365 * 24 * 3600));
    question::ActiveModel {
        question_text: Set(format!(
            "Do you prefer {} or {}? (No. {})",
            subjects[0],
            subjects[1],
            number + 1
        )),
        pub_date: Set((now - age).into()),
        ..question::ActiveModel::default()
    }
}

fn choice(question_id: i32, text: &str) -> choice::ActiveModel {
    choice::ActiveModel {
        choice_text: Set(text.to_owned()),
        votes: Set(rand::rng().random_range(0..500_i32).into()),
        question_id: Set(question_id),
        ..choice::ActiveModel::default()
    }
}
