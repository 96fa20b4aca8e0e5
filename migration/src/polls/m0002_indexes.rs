//! Indexes for the orderings of questions, and for the history of an object. A table that Django remakes on SQLite loses them,
//! which only makes queries slower: hence `IF EXISTS`.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0002_indexes",
    initial: false,
    dependencies: &[
        ("polls", "0001_login_failures"),
        ("polls_app", "0001_initial"),
        ("admin", "0001_initial"),
    ],
    operations: &[Operation::RunSql {
        backend: None,
        forwards: &[
            "CREATE INDEX \"polls_question_pub_date\" ON \"polls_app_question\" (\"pub_date\", \"id\");",
            "CREATE INDEX \"polls_question_text\" ON \"polls_app_question\" (\"question_text\", \"id\");",
            "CREATE INDEX \"polls_log_object\" ON \"django_admin_log\" (\"content_type_id\", \"object_id\", \"action_time\");",
        ],
        backwards: &[
            "DROP INDEX IF EXISTS \"polls_log_object\";",
            "DROP INDEX IF EXISTS \"polls_question_text\";",
            "DROP INDEX IF EXISTS \"polls_question_pub_date\";",
        ],
    }],
};
