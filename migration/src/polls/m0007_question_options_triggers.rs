//! Triggers on PostgreSQL: changes of the options of questions are notified of as those of choices, and the options and the
//! voters of deleted questions are deleted.

use sea_orm_migration::sea_orm::DbBackend;

use crate::{Migration, Operation};

/// The body of the function that deletes. There are no ids after a TRUNCATE. `search_path` may be any.
macro_rules! function {
    () => {
        " DECLARE ids integer[]; \
         BEGIN \
         IF TG_OP = 'DELETE' THEN \
         ids := ARRAY(SELECT id FROM old_rows); \
         EXECUTE format('DELETE FROM %I.polls_question_options WHERE question_id = ANY($1)', TG_TABLE_SCHEMA) USING ids; \
         EXECUTE format('DELETE FROM %I.polls_voters WHERE question_id = ANY($1)', TG_TABLE_SCHEMA) USING ids; \
         ELSE \
         EXECUTE format('DELETE FROM %I.polls_question_options', TG_TABLE_SCHEMA); \
         EXECUTE format('DELETE FROM %I.polls_voters', TG_TABLE_SCHEMA); \
         END IF; \
         RETURN NULL; \
         END "
    };
}

/// The body of the function that its triggers execute, besides those of [`super::m0005_change_notifications`].
pub const FUNCTION: &str = function!();
/// The number of its triggers, all named `polls_notify_…` or `polls_forget_…`.
pub const TRIGGERS: i64 = 6;

/// The migration.
pub const MIGRATION: Migration = Migration {
    app: "polls",
    name: "0007_question_options_triggers",
    initial: false,
    dependencies: &[("polls", "0006_question_options")],
    operations: &[Operation::RunSql {
        backend: Some(DbBackend::Postgres),
        forwards: &[
            "CREATE TRIGGER \"polls_notify_insert\" AFTER INSERT ON \"polls_question_options\" REFERENCING NEW TABLE AS new_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_question_options\" ENABLE ALWAYS TRIGGER \"polls_notify_insert\";",
            "CREATE TRIGGER \"polls_notify_update\" AFTER UPDATE ON \"polls_question_options\" REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_question_options\" ENABLE ALWAYS TRIGGER \"polls_notify_update\";",
            "CREATE TRIGGER \"polls_notify_delete\" AFTER DELETE ON \"polls_question_options\" REFERENCING OLD TABLE AS old_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_question_options\" ENABLE ALWAYS TRIGGER \"polls_notify_delete\";",
            "CREATE TRIGGER \"polls_notify_truncate\" AFTER TRUNCATE ON \"polls_question_options\" \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_notify_choices\"();",
            "ALTER TABLE \"polls_question_options\" ENABLE ALWAYS TRIGGER \"polls_notify_truncate\";",
            concat!(
                "CREATE FUNCTION \"polls_forget_questions\"() RETURNS trigger LANGUAGE plpgsql AS $$",
                function!(),
                "$$;"
            ),
            "CREATE TRIGGER \"polls_forget_delete\" AFTER DELETE ON \"polls_app_question\" REFERENCING OLD TABLE AS old_rows \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_forget_questions\"();",
            "ALTER TABLE \"polls_app_question\" ENABLE ALWAYS TRIGGER \"polls_forget_delete\";",
            "CREATE TRIGGER \"polls_forget_truncate\" AFTER TRUNCATE ON \"polls_app_question\" \
             FOR EACH STATEMENT EXECUTE FUNCTION \"polls_forget_questions\"();",
            "ALTER TABLE \"polls_app_question\" ENABLE ALWAYS TRIGGER \"polls_forget_truncate\";",
        ],
        backwards: &[
            "DROP TRIGGER IF EXISTS \"polls_forget_truncate\" ON \"polls_app_question\";",
            "DROP TRIGGER IF EXISTS \"polls_forget_delete\" ON \"polls_app_question\";",
            "DROP FUNCTION IF EXISTS \"polls_forget_questions\"();",
            "DROP TRIGGER IF EXISTS \"polls_notify_truncate\" ON \"polls_question_options\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_delete\" ON \"polls_question_options\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_update\" ON \"polls_question_options\";",
            "DROP TRIGGER IF EXISTS \"polls_notify_insert\" ON \"polls_question_options\";",
        ],
    }],
};
