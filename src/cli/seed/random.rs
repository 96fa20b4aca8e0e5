//! Questions made up for trying the site at size.

use chrono::{DateTime, TimeDelta, Utc};
use rand::{RngExt, seq::IndexedRandom};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, DbErr, EntityTrait};

use crate::{
    db::Transaction,
    entities::{choice, question},
};

const CHOICES: [&str; 4] = ["Yes", "No", "Both, depending on the day", "Neither"];
const THINGS: [&str; 16] = [
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
/// Questions per statement: their choices stay below the number of values that SQLite takes in one (32,766).
const BATCH: usize = 1000;

/// Adds `count` questions of the past year, each with four choices that have some votes. Tells `progress` how many are
/// done.
///
/// # Errors
/// When the database refuses.
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
    // PostgreSQL plans badly for tables that it knows nothing of yet, which would be so until its next round.
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("ANALYZE polls_app_question, polls_app_choice")
            .await?;
    }
    Ok(())
}

fn question(number: usize, now: DateTime<Utc>) -> question::ActiveModel {
    let mut rng = rand::rng();
    let things: Vec<_> = THINGS.sample(&mut rng, 2).collect();
    let age = TimeDelta::seconds(rng.random_range(0..365 * 24 * 3600));
    question::ActiveModel {
        question_text: Set(format!(
            "Do you prefer {} or {}? (No. {})",
            things[0],
            things[1],
            number + 1
        )),
        pub_date: Set((now - age).into()),
        ..question::ActiveModel::default()
    }
}

fn choice(question_id: i32, text: &str) -> choice::ActiveModel {
    choice::ActiveModel {
        choice_text: Set(text.to_owned()),
        votes: Set(rand::rng().random_range(0..500)),
        question_id: Set(question_id),
        ..choice::ActiveModel::default()
    }
}
