//! Permissions, groups and users.

use crate::{Default, Field, Kind, Migration, ModelOptions, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0001_initial",
    initial: true,
    dependencies: &[("contenttypes", "0001_initial")],
    operations: &[
        Operation::CreateModel {
            name: "Permission",
            fields: &[
                Field::id(),
                Field::char("name", 50),
                Field::foreign_key("content_type", "contenttypes.ContentType"),
                Field::char("codename", 100),
            ],
            options: ModelOptions {
                unique_together: &[&["content_type", "codename"]],
                ..ModelOptions::DEFAULT
            },
        },
        Operation::CreateModel {
            name: "Group",
            fields: &[
                Field::id(),
                Field::char("name", 80).unique(),
                Field::many_to_many("permissions", "auth.Permission"),
            ],
            options: ModelOptions::DEFAULT,
        },
        Operation::CreateModel {
            name: "User",
            fields: &[
                Field::id(),
                Field::char("password", 128),
                Field::new("last_login", Kind::DateTime).default(Default::Now),
                Field::new("is_superuser", Kind::Boolean),
                Field::char("username", 30).unique(),
                Field::char("first_name", 30),
                Field::char("last_name", 30),
                Field::char("email", 75),
                Field::new("is_staff", Kind::Boolean),
                Field::new("is_active", Kind::Boolean),
                Field::new("date_joined", Kind::DateTime).default(Default::Now),
                Field::many_to_many("groups", "auth.Group"),
                Field::many_to_many("user_permissions", "auth.Permission"),
            ],
            options: ModelOptions::DEFAULT,
        },
    ],
};
