//! Removing all data from the tables of the models (`django/core/management/sql.py`).

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use crate::{db::Database, introspection, migrations};

/// The statements that empty these tables and begin their keys at 1 again, in the dialect of `backend`.
pub fn statements(backend: DbBackend, tables: &[String]) -> Vec<String> {
    let list = |quote: char| {
        let quoted = tables.iter().map(|table| format!("{quote}{table}{quote}"));
        quoted.collect::<Vec<_>>().join(", ")
    };
    if backend == DbBackend::Postgres {
        return vec![format!("TRUNCATE {} RESTART IDENTITY;", list('"'))];
    }
    let deletes = tables
        .iter()
        .map(|table| format!("DELETE FROM \"{table}\";"));
    let sequences = format!(
        "UPDATE \"sqlite_sequence\" SET \"seq\" = 0 WHERE \"name\" IN ({});",
        list('\'')
    );
    deletes.chain([sequences]).collect()
}

/// Removes all data in one transaction, and creates the content types and permissions again, as `migrate` does.
///
/// # Errors
/// When rows of another application refer to the data; otherwise when the database cannot be reached
/// or written to. Nothing is removed then.
pub async fn flush(db: &Database) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    if tx.get_database_backend() == DbBackend::Sqlite {
        tx.execute_unprepared("PRAGMA defer_foreign_keys = ON")
            .await?;
    }
    // Those of our own app do not exist before `migrate` has been run.
    let mut tables = introspection::table_names(&tx).await?;
    tables.retain(|table| introspection::known_tables().any(|known| known == *table));
    if tables.is_empty() {
        return Err(DbErr::Custom(
            "it has no tables of this program: run `polls migrate` first".to_owned(),
        ));
    }
    for statement in statements(tx.get_database_backend(), &tables) {
        tx.execute_unprepared(&statement).await?;
    }
    migrations::create_missing_rows_in(&tx).await?;
    tx.commit().await
}
