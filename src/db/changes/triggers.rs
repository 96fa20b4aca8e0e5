//! The triggers on PostgreSQL that notify of changes, and that delete what belongs to deleted questions.

use migration::{TRIGGER_FUNCTIONS, TRIGGERS};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// The triggers that are enabled and execute [`TRIGGER_FUNCTIONS`], which are `$1`.
pub(super) const ENABLED: &str = "FROM pg_trigger t JOIN pg_proc f ON f.oid = tgfoid JOIN pg_class c ON c.oid = tgrelid \
    WHERE tgrelid IN (to_regclass('polls_app_question'), to_regclass('polls_app_choice'), to_regclass('polls_question_options')) \
    AND tgname LIKE 'polls\\_%' AND tgenabled = 'A' AND prosrc = ANY($1)";

/// Whether all triggers are enabled; always on SQLite, which needs none, and without the tables.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn has_triggers(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let backend = db.get_database_backend();
    if backend == DbBackend::Sqlite {
        return Ok(true);
    }
    let functions = TRIGGER_FUNCTIONS.map(str::to_owned).to_vec();
    let sql = format!(
        "SELECT count(*) = $2 OR to_regclass('polls_app_question') IS NULL \
         OR to_regclass('polls_app_choice') IS NULL AS is_complete {ENABLED}"
    );
    let query = Statement::from_sql_and_values(backend, sql, [functions.into(), TRIGGERS.into()]);
    let row = db.query_one_raw(query).await?;
    row.map_or(Ok(false), |row| row.try_get("", "is_complete"))
}
