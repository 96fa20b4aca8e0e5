//! The counters of failed logins per user and per client network. `name` is a keyed hash of these; `since` is in seconds since
//! 1970.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0001_login_failures",
    initial: false,
    dependencies: &[],
    operations: &[Operation::RunSql {
        backend: None,
        forwards: &[
            "CREATE TABLE \"polls_login_failures\" (\"name\" varchar(64) NOT NULL PRIMARY KEY, \
             \"failures\" integer NOT NULL, \"since\" bigint NOT NULL);",
        ],
        backwards: &["DROP TABLE \"polls_login_failures\";"],
    }],
};
