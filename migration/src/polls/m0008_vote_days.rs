//! The number of votes of each day, for the dashboard of the admin: `day` is the days since 1970 in the time zone of the site.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0008_vote_days",
    initial: false,
    dependencies: &[("polls", "0007_question_options_triggers")],
    operations: &[Operation::RunSql {
        backend: None,
        forwards: &[
            "CREATE TABLE \"polls_vote_days\" (\"day\" integer NOT NULL PRIMARY KEY, \"votes\" bigint NOT NULL);",
        ],
        backwards: &["DROP TABLE \"polls_vote_days\";"],
    }],
};
