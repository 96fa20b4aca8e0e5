//! Only a dependency: content types no longer have the column `name`. No operations.

use crate::Migration;

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0006_require_contenttypes_0002",
    initial: false,
    dependencies: &[
        ("auth", "0005_alter_user_last_login_null"),
        ("contenttypes", "0002_remove_content_type_name"),
    ],
    operations: &[],
};
