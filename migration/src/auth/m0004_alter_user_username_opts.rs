//! Another validator and error message for usernames, which are not in the database. No statements.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0004_alter_user_username_opts",
    initial: false,
    dependencies: &[("auth", "0003_alter_user_email_max_length")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::char("username", 30).unique(),
    }],
};
