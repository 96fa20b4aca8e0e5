//! The options of questions that Django does not have, and the voters of questions that limit votes.
//!
//! - `polls_question_options`: a question without a row behaves as in Django. `policy` is who may vote how often, `results` who sees the
//!   results when, `codes` the number of codes that were issued, `voters` the number of ballots that were counted while the row
//!   existed. For a recount: `ballot_votes` is the number of their votes, `votes_before` that of other votes when votes were limited, and
//!   `agreed_at` when the votes last agreed with them.
//! - `polls_voters`: `voter` is a keyed hash of the question and the voter, `day` the days since 1970 when it was stored. What the
//!   voter has chosen is not stored. `is_alias` marks a hash under another key of a voter who has a row already.
//!
//! The rows are deleted with their question: on SQLite by foreign keys, which refer to a table by its name, so that they still exist
//! after Django has remade it. On PostgreSQL a foreign key would make Django's `flush` fail, whose `TRUNCATE` does not
//! name these tables; there the triggers of the next migration do it.

use sea_orm_migration::sea_orm::DbBackend;

use crate::{Migration, Operation};

/// The columns of the first table, with the type of a time.
macro_rules! options {
    ($timestamp:literal, $references:literal) => {
        concat!(
            "CREATE TABLE \"polls_question_options\" (\"question_id\" integer NOT NULL PRIMARY KEY",
            $references,
            ", \"policy\" varchar(10) NOT NULL, \"max_choices\" integer NOT NULL, \"closes_at\" ",
            $timestamp,
            " NULL, \"results\" varchar(10) NOT NULL, \"codes\" integer DEFAULT 0 NOT NULL, \"voters\" bigint DEFAULT 0 NOT NULL, \
             \"votes_before\" bigint DEFAULT 0 NOT NULL, \"ballot_votes\" bigint DEFAULT 0 NOT NULL, \"agreed_at\" ",
            $timestamp,
            " NULL);"
        )
    };
}

/// The columns of the second table.
macro_rules! voters {
    ($references:literal, $storage:literal) => {
        concat!(
            "CREATE TABLE \"polls_voters\" (\"question_id\" integer NOT NULL",
            $references,
            ", \"voter\" varchar(32) NOT NULL, \"day\" integer NOT NULL, \"is_alias\" bool NOT NULL, \
             PRIMARY KEY (\"question_id\", \"voter\"))",
            $storage,
            ";"
        )
    };
}

const DROP: &[&str] = &[
    "DROP TABLE \"polls_voters\";",
    "DROP TABLE \"polls_question_options\";",
];

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0006_question_options",
    initial: false,
    dependencies: &[
        ("polls", "0005_change_notifications"),
        ("polls_app", "0001_initial"),
    ],
    operations: &[
        Operation::RunSql {
            backend: Some(DbBackend::Sqlite),
            forwards: &[
                options!(
                    "datetime",
                    " REFERENCES \"polls_app_question\" (\"id\") ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
                ),
                voters!(
                    " REFERENCES \"polls_app_question\" (\"id\") ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
                    " WITHOUT ROWID"
                ),
            ],
            backwards: DROP,
        },
        Operation::RunSql {
            backend: Some(DbBackend::Postgres),
            forwards: &[options!("timestamp with time zone", ""), voters!("", "")],
            backwards: DROP,
        },
    ],
};
