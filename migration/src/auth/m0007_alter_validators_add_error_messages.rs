//! Other error messages for usernames, which are not in the database. No statements.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0007_alter_validators_add_error_messages",
    initial: false,
    dependencies: &[("auth", "0006_require_contenttypes_0002")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::char("username", 30).unique(),
    }],
};
