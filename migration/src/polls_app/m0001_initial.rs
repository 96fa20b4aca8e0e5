//! Questions and their choices.

use crate::{Field, Kind, Migration, ModelOptions, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls_app",
    name: "0001_initial",
    initial: true,
    dependencies: &[],
    operations: &[
        Operation::CreateModel {
            name: "Choice",
            fields: &[
                Field::id(),
                Field::char("choice_text", 200),
                Field::new("votes", Kind::Integer),
            ],
            options: ModelOptions::DEFAULT,
        },
        Operation::CreateModel {
            name: "Question",
            fields: &[
                Field::id(),
                Field::char("question_text", 200),
                Field::new("pub_date", Kind::DateTime),
            ],
            options: ModelOptions::DEFAULT,
        },
        Operation::AddField {
            model: "choice",
            field: Field::foreign_key("question", "polls_app.Question"),
        },
    ],
};
