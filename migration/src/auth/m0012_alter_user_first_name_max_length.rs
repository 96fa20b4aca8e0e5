//! First names of up to 150 characters.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0012_alter_user_first_name_max_length",
    initial: false,
    dependencies: &[("auth", "0011_update_proxy_permissions")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::char("first_name", 150),
    }],
};
