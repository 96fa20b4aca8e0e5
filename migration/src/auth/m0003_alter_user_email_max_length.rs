//! Email addresses of up to 254 characters.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0003_alter_user_email_max_length",
    initial: false,
    dependencies: &[("auth", "0002_alter_permission_name_max_length")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::char("email", 254),
    }],
};
