//! From which networks users have logged in, as keyed hashes of both; `seen` is in seconds since 1970. The limit on failed
//! logins of a user from all networks does not apply to these.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0004_login_networks",
    initial: false,
    dependencies: &[("polls", "0003_vote_receipts")],
    operations: &[Operation::RunSql {
        forwards: &[
            "CREATE TABLE \"polls_login_networks\" (\"name\" varchar(64) NOT NULL PRIMARY KEY, \
             \"seen\" bigint NOT NULL);",
        ],
        backwards: &["DROP TABLE \"polls_login_networks\";"],
    }],
};
