//! The dashboard on the index of the admin: how many questions are in which state, and the votes of the last days.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use minijinja::{Value, context, value::Serde};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, Statement};
use serde::Serialize;

use crate::{
    admin::Dashboard,
    auth::login::User,
    db::{Connection, is_missing_table},
    entities::vote_day,
    polls_app::{status::Status, votes::day_of},
    web::format::grouped,
};

/// The number of questions at most that are counted, the newest: the index is shown at once however many there are.
const MAX_QUESTIONS: i64 = 10_000;
/// The number of days.
const DAYS: i32 = 30;
/// The height of the highest bar of the diagram.
const HEIGHT: i64 = 100;

/// The dashboard of questions and votes.
pub struct PollsDashboard;

/// How many questions are in which state.
#[derive(Debug, FromQueryResult)]
struct Counts {
    total: i64,
    drafts: i64,
    scheduled: i64,
    open: i64,
}

/// A day with its votes.
#[derive(Debug, Serialize)]
struct Day {
    date: String,
    iso: String,
    votes: String,
    /// The height of its bar.
    height: i64,
}

#[async_trait]
impl Dashboard for PollsDashboard {
    fn template(&self) -> &'static str {
        "admin/polls_app/dashboard.html"
    }

    async fn context(
        &self,
        db: Connection<'_>,
        user: &User,
        now: DateTime<Utc>,
        zone: Tz,
    ) -> Result<Option<Value>, DbErr> {
        let may_view = ["view", "change"]
            .iter()
            .any(|action| user.has_perm(&format!("polls_app.{action}_question")));
        if !may_view {
            return Ok(None);
        }
        let today = day_of(now, zone);
        let (counts, votes) = match (counts(db, now).await, votes(db, today).await) {
            (Ok(counts), Ok(votes)) => (counts, votes),
            // The migrations of the app `polls` are not applied.
            (Err(error), _) | (_, Err(error)) if is_missing_table(&error) => return Ok(None),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let max = votes.values().copied().max().unwrap_or_default().max(1);
        let days = (0..DAYS).rev().map(|ago| {
            let date = NaiveDate::default() + Days::new((today - ago).unsigned_abs().into());
            let votes = votes.get(&(today - ago)).copied().unwrap_or_default();
            Day {
                date: date.format("%b %-d").to_string(),
                iso: date.to_string(),
                votes: grouped(votes),
                // A day with votes is seen.
                height: (votes * HEIGHT / max).max(i64::from(votes > 0) * 2),
            }
        });
        let days: Vec<Day> = days.collect();
        let link = |status: Status| format!("/admin/polls_app/question/?status={}", status.name());
        let states = [
            (Status::Open, counts.open),
            (Status::Scheduled, counts.scheduled),
            (Status::Draft, counts.drafts),
        ];
        let states = states.map(|(status, count)| (plural(status), grouped(count), link(status)));
        let all: i64 = votes.values().sum();
        Ok(Some(context! {
            states => Serde(states),
            today => grouped(votes.get(&today).copied().unwrap_or_default()),
            all => grouped(all),
            days => Serde(days),
            is_cut => counts.total >= MAX_QUESTIONS,
            max_questions => grouped(MAX_QUESTIONS),
        }))
    }
}

fn plural(status: Status) -> &'static str {
    match status {
        Status::Draft => "Drafts",
        other => other.label(),
    }
}

async fn counts(db: Connection<'_>, now: DateTime<Utc>) -> Result<Counts, DbErr> {
    let sum =
        |condition: &str| format!("coalesce(sum(CASE WHEN {condition} THEN 1 ELSE 0 END), 0)");
    let sql = format!(
        "SELECT count(*) AS total, {} AS drafts, {} AS scheduled, {} AS open FROM (\
         SELECT q.pub_date, o.closes_at, EXISTS (SELECT 1 FROM polls_app_choice c WHERE c.question_id = q.id) AS has_choices \
         FROM (SELECT id, pub_date FROM polls_app_question ORDER BY pub_date DESC, id DESC LIMIT {MAX_QUESTIONS}) AS q \
         LEFT JOIN polls_question_options AS o ON o.question_id = q.id) AS x",
        sum("NOT has_choices"),
        sum("has_choices AND pub_date > $1"),
        sum("has_choices AND pub_date <= $1 AND (closes_at IS NULL OR closes_at > $1)"),
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [now.into()]);
    let row = db.query_one_raw(statement).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("counts".to_owned()))?;
    Counts::from_query_result(&row, "")
}

/// The votes of the last days, by day.
async fn votes(db: Connection<'_>, today: i32) -> Result<HashMap<i32, i64>, DbErr> {
    let days = vote_day::Entity::find()
        .filter(vote_day::COLUMN.day.gt(today - DAYS))
        .filter(vote_day::COLUMN.day.lte(today));
    let days = days.all(&db).await?.into_iter();
    Ok(days.map(|day| (day.day, day.votes)).collect())
}
