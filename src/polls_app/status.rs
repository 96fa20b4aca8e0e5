//! The state of a question.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query, SelectStatement};

use crate::entities::{choice, question, question_options};

/// The state of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Without choices: not in the list of polls.
    Draft,
    /// Published in the future.
    Scheduled,
    /// Published, and votes are counted.
    Open,
    /// Voting has ended.
    Closed,
}

impl Status {
    /// All states, in the order of a question's life.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Scheduled, Self::Open, Self::Closed];

    /// The state of a question at `now`.
    pub fn of(
        has_choices: bool,
        pub_date: DateTime<Utc>,
        closes_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        if !has_choices {
            Self::Draft
        } else if pub_date > now {
            Self::Scheduled
        } else if closes_at.is_some_and(|closes_at| closes_at <= now) {
            Self::Closed
        } else {
            Self::Open
        }
    }

    /// Its name in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    /// Its name for users.
    pub fn label(self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Scheduled => "Scheduled",
            Self::Open => "Open",
            Self::Closed => "Closed",
        }
    }

    /// The condition that a question has the state at `now`.
    pub fn condition(self, now: DateTime<Utc>) -> Condition {
        let pub_date = || Expr::col((question::Entity, question::Column::PubDate));
        let has_choices = Expr::exists(of_question(
            Query::select()
                .expr(Expr::val(1))
                .from(choice::Entity)
                .take(),
            Expr::col((choice::Entity, choice::Column::QuestionId)),
        ));
        let is_closed = || {
            let closes_at =
                Expr::col((question_options::Entity, question_options::Column::ClosesAt));
            let closed = Query::select()
                .expr(Expr::val(1))
                .from(question_options::Entity)
                .and_where(closes_at.lte(now))
                .take();
            let key = Expr::col((
                question_options::Entity,
                question_options::Column::QuestionId,
            ));
            Expr::exists(of_question(closed, key))
        };
        let all = Condition::all();
        match self {
            Self::Draft => all.add(has_choices.not()),
            Self::Scheduled => all.add(has_choices).add(pub_date().gt(now)),
            Self::Open => all
                .add(has_choices)
                .add(pub_date().lte(now))
                .add(is_closed().not()),
            Self::Closed => all
                .add(has_choices)
                .add(pub_date().lte(now))
                .add(is_closed()),
        }
    }
}

/// The rows whose column `key` is the key of the question of the outer query.
fn of_question(mut rows: SelectStatement, key: Expr) -> SelectStatement {
    rows.and_where(key.equals((question::Entity, question::Column::Id)));
    rows
}
