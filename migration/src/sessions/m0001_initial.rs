//! The table of sessions.

use crate::{Field, Kind, Migration, ModelOptions, Operation};

pub const MIGRATION: Migration = Migration {
    app: "sessions",
    name: "0001_initial",
    initial: true,
    dependencies: &[],
    operations: &[Operation::CreateModel {
        name: "Session",
        fields: &[
            Field::char("session_key", 40).primary_key(),
            Field::new("session_data", Kind::Text),
            Field::new("expire_date", Kind::DateTime).index(),
        ],
        options: ModelOptions {
            db_table: Some("django_session"),
            ..ModelOptions::DEFAULT
        },
    }],
};
