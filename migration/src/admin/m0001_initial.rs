//! The admin's log of additions, changes and deletions.

use crate::{Default, Field, Kind, Migration, ModelOptions, Operation};

pub const MIGRATION: Migration = Migration {
    app: "admin",
    name: "0001_initial",
    initial: true,
    dependencies: &[("auth", "0001_initial"), ("contenttypes", "0001_initial")],
    operations: &[Operation::CreateModel {
        name: "LogEntry",
        fields: &[
            Field::id(),
            Field::new("action_time", Kind::DateTime).default(Default::AutoNow),
            Field::new("object_id", Kind::Text).null(),
            Field::char("object_repr", 200),
            Field::new("action_flag", Kind::PositiveSmallInteger),
            Field::new("change_message", Kind::Text),
            Field::foreign_key("content_type", "contenttypes.ContentType").null(),
            Field::foreign_key("user", "auth.User"),
        ],
        options: ModelOptions {
            db_table: Some("django_admin_log"),
            ..ModelOptions::DEFAULT
        },
    }],
};
