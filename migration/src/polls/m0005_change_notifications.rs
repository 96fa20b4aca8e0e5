//! Triggers that notify the servers of changed questions, for the pages that they keep in memory. The payload is the ids of the
//! questions, separated by commas, or `*` for more than 500 of them and after a `TRUNCATE`.
//!
//! `ENABLE ALWAYS`: a session with `session_replication_role = replica`, as for restoring data, must not change rows unnoticed.

use sea_orm_migration::sea_orm::DbBackend;

use crate::{Migration, Operation};

/// The channel of the notifications.
pub const CHANNEL: &str = "polls_changes";
/// The number of triggers, all named `polls_notify_…`.
pub const TRIGGERS: i64 = 8;

/// The body of a function; `$id` is the column of the question's id. There are no ids after a TRUNCATE. Nothing of another schema
/// is used: `search_path` may be any.
macro_rules! function {
    ($id:literal) => {
        concat!(
            " DECLARE ids integer[]; \
             BEGIN \
             IF TG_OP = 'INSERT' THEN ids := ARRAY(SELECT DISTINCT ",
            $id,
            " FROM new_rows LIMIT 501); \
             ELSIF TG_OP = 'DELETE' THEN ids := ARRAY(SELECT DISTINCT ",
            $id,
            " FROM old_rows LIMIT 501); \
             ELSIF TG_OP = 'UPDATE' THEN \
             ids := ARRAY(SELECT ",
            $id,
            " FROM old_rows UNION SELECT ",
            $id,
            " FROM new_rows LIMIT 501); \
             END IF; \
             IF ids IS NULL OR cardinality(ids) > 500 THEN PERFORM pg_notify('polls_changes', '*'); \
             ELSIF ids <> '{}' THEN PERFORM pg_notify('polls_changes', array_to_string(ids, ',')); \
             END IF; \
             RETURN NULL; \
             END "
        )
    };
}

/// The bodies of the functions that the triggers execute.
pub const FUNCTIONS: [&str; 2] = [function!("id"), function!("question_id")];

/// The migration.
pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0005_change_notifications",
    initial: false,
    dependencies: &[
        ("polls", "0004_login_networks"),
        ("polls_app", "0001_initial"),
    ],
    operations: &[Operation::RunSql {
        backend: Some(DbBackend::Postgres),
        forwards: &[
            concat!(
                "CREATE FUNCTION \"polls_notify_questions\"() RETURNS trigger LANGUAGE plpgsql AS $$",
                function!("id"),
                "$$;"
            ),
            concat!(
                "CREATE FUNCTION \"polls_notify_choices\"() RETURNS trigger LANGUAGE plpgsql AS $$",
                function!("question_id"),
                "$$;"
            ),
            "CREATE TRIGGER \"polls_notify_insert\" AFTER INSERT ON \"polls_app_question\" REFERENCING NEW TABLE AS new_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_questions\"();",
            "ALTER TABLE \"polls_app_question\" ENABLE ALWAYS TRIGGER \"polls_notify_insert\";",
            "CREATE TRIGGER \"polls_notify_update\" AFTER UPDATE ON \"polls_app_question\" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_questions\"();",
            "ALTER TABLE \"polls_app_question\" ENABLE ALWAYS TRIGGER \"polls_notify_update\";",
            "CREATE TRIGGER \"polls_notify_delete\" AFTER DELETE ON \"polls_app_question\" REFERENCING OLD TABLE AS old_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_questions\"();",
            "ALTER TABLE \"polls_app_question\" ENABLE ALWAYS TRIGGER \"polls_notify_delete\";",
            "CREATE TRIGGER \"polls_notify_truncate\" AFTER TRUNCATE ON \"polls_app_question\" \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_questions\"();",
            "ALTER TABLE \"polls_app_question\" ENABLE ALWAYS TRIGGER \"polls_notify_truncate\";",
            "CREATE TRIGGER \"polls_notify_insert\" AFTER INSERT ON \"polls_app_choice\" REFERENCING NEW TABLE AS new_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_app_choice\" ENABLE ALWAYS TRIGGER \"polls_notify_insert\";",
            "CREATE TRIGGER \"polls_notify_update\" AFTER UPDATE ON \"polls_app_choice\" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_app_choice\" ENABLE ALWAYS TRIGGER \"polls_notify_update\";",
            "CREATE TRIGGER \"polls_notify_delete\" AFTER DELETE ON \"polls_app_choice\" REFERENCING OLD TABLE AS old_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_app_choice\" ENABLE ALWAYS TRIGGER \"polls_notify_delete\";",
            "CREATE TRIGGER \"polls_notify_truncate\" AFTER TRUNCATE ON \"polls_app_choice\" \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_app_choice\" ENABLE ALWAYS TRIGGER \"polls_notify_truncate\";",
        ],
        backwards: &[
            "DROP TRIGGER IF EXISTS \"polls_notify_truncate\" ON \"polls_app_choice\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_delete\" ON \"polls_app_choice\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_update\" ON \"polls_app_choice\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_insert\" ON \"polls_app_choice\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_truncate\" ON \"polls_app_question\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_delete\" ON \"polls_app_question\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_update\" ON \"polls_app_question\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_insert\" ON \"polls_app_question\";",
            "DROP FUNCTION IF EXISTS \"polls_notify_choices\"();",
            "DROP FUNCTION IF EXISTS \"polls_notify_questions\"();",
        ],
    }],
};
