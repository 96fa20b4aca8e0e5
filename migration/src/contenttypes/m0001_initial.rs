//! Content types: one row per model.

use crate::{Field, Migration, ModelOptions, Operation};

pub const MIGRATION: Migration = Migration {
    app: "contenttypes",
    name: "0001_initial",
    initial: true,
    dependencies: &[],
    operations: &[
        Operation::CreateModel {
            name: "ContentType",
            fields: &[
                Field::id(),
                Field::char("name", 100),
                Field::char("app_label", 100),
                Field::char("model", 100),
            ],
            options: ModelOptions {
                db_table: Some("django_content_type"),
                ..ModelOptions::DEFAULT
            },
        },
        Operation::AlterUniqueTogether {
            model: "contenttype",
            unique_together: &[&["app_label", "model"]],
        },
    ],
};
