//! `last_login` is NULL until the first login.

use crate::{Field, Kind, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0005_alter_user_last_login_null",
    initial: false,
    dependencies: &[("auth", "0004_alter_user_username_opts")],
    operations: &[Operation::AlterField {
        model: "user",
        field: Field::new("last_login", Kind::DateTime).null(),
    }],
};
