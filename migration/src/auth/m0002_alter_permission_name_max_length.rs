//! Permission names of up to 255 characters.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0002_alter_permission_name_max_length",
    initial: false,
    dependencies: &[("auth", "0001_initial")],
    operations: &[Operation::AlterField {
        model: "permission",
        field: Field::char("name", 255),
    }],
};
