//! The last committed batch of each writer of votes. On PostgreSQL it shows whether a transaction was committed when the response
//! to its COMMIT was lost (`src/polls_app/receipts.rs`); `written` is in seconds since 1970.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0003_vote_receipts",
    initial: false,
    dependencies: &[("polls", "0002_indexes")],
    operations: &[Operation::RunSql {
        backend: None,
        forwards: &[
            "CREATE TABLE \"polls_vote_receipts\" (\"writer\" bigint NOT NULL PRIMARY KEY, \
             \"batch\" bigint NOT NULL, \"written\" bigint NOT NULL);",
        ],
        backwards: &["DROP TABLE \"polls_vote_receipts\";"],
    }],
};
