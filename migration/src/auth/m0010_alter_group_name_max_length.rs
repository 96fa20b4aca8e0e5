//! Group names of up to 150 characters.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0010_alter_group_name_max_length",
    initial: false,
    dependencies: &[("auth", "0009_alter_user_last_name_max_length")],
    operations: &[Operation::AlterField {
        model: "group",
        field: Field::char("name", 150).unique(),
    }],
};
