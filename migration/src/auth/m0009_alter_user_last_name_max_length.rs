//! Last names of up to 150 characters.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0009_alter_user_last_name_max_length",
    initial: false,
    dependencies: &[("auth", "0008_alter_user_username_max_length")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::char("last_name", 150),
    }],
};
