//! The networks from which users have logged in: `name` is a keyed hash of user and network; `seen` is in seconds since 1970. A
//! user's limit on failed logins from all networks does not apply to them.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0004_login_networks",
    initial: false,
    dependencies: &[("polls", "0003_vote_receipts")],
    operations: &[Operation::RunSql {
        backend: None,
        forwards: &[
            "CREATE TABLE \"polls_login_networks\" (\"name\" varchar(64) NOT NULL PRIMARY KEY, \
             \"seen\" bigint NOT NULL);",
        ],
        backwards: &["DROP TABLE \"polls_login_networks\";"],
    }],
};
