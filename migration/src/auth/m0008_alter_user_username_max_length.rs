//! Usernames of up to 150 characters.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0008_alter_user_username_max_length",
    initial: false,
    dependencies: &[("auth", "0007_alter_validators_add_error_messages")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::char("username", 150).unique(),
    }],
};
