//! Applying and unapplying migrations with Django's history table and in Django's order. Concurrent processes are serialized.

pub mod drift;
mod lock;
mod plan;
mod recorder;
mod restore;

use migration::{
    DbBackend, Direction, Graph, Kind, Migration, MigrationTrait, Operation, State,
    create_history_table,
};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use self::lock::begin_exclusive;
pub use self::{
    plan::{Plan, Target, inconsistency, plan},
    recorder::{Applied, applied},
    restore::{Missing, missing, restore},
};
use crate::{
    auth::permissions,
    contenttypes,
    db::{Database, Transaction},
};

/// The result of running one migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationResult {
    /// It was applied or unapplied.
    Done,
    /// It was only recorded in the migration history (`--fake`).
    Faked,
    /// Another process had applied or unapplied it before.
    AlreadyDone,
}

/// Whether to run a migration's statements or only to record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Runs the statements and records the migration.
    Run,
    /// Only records the migration (`--fake`).
    Fake,
    /// Only records an initial migration whose tables exist (`--fake-initial`); runs any other.
    FakeInitial,
}

/// The migrations that have not been applied to a database, in the order of application.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn unapplied(db: &impl ConnectionTrait) -> Result<Vec<&'static Migration>, DbErr> {
    let applied = applied(db).await?;
    Ok(Graph::new()
        .full_plan()
        .into_iter()
        .filter(|migration| !applied.contains(migration))
        .collect())
}

/// Commits a write that changes no data, to check whether the database is writable.
///
/// # Errors
/// When the database is read-only, full or cannot be reached.
pub async fn check_writable(db: &Database) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = match tx.get_database_backend() {
        // SQLite does not write a row that an update leaves unchanged, but always writes its header.
        DbBackend::Sqlite => {
            let version = Statement::from_string(DbBackend::Sqlite, "PRAGMA user_version");
            let version = tx.query_one_raw(version).await?;
            let version: i32 = version.map_or(Ok(0), |row| row.try_get_by_index(0))?;
            format!("PRAGMA user_version = {version}")
        }
        _ => "UPDATE django_migrations SET name = name \
              WHERE id = (SELECT max(id) FROM django_migrations)"
            .to_owned(),
    };
    tx.execute_unprepared(&sql).await?;
    tx.commit().await
}

/// Creates the table `django_migrations` if it does not exist.
///
/// # Errors
/// When the database cannot be reached, or the role may not create tables.
pub async fn ensure_history_table(db: &Database) -> Result<(), DbErr> {
    let tx = begin_exclusive(db).await?;
    if !recorder::has_table(&tx).await? {
        tx.execute_unprepared(&create_history_table(tx.get_database_backend()))
            .await?;
    }
    tx.commit().await
}

/// Applies or unapplies one migration and records it in the migration history, in one transaction.
///
/// # Errors
/// When the database cannot be reached, a statement fails, or a foreign key is violated; the transaction is rolled back.
pub async fn run(
    db: &Database,
    migration: &'static Migration,
    direction: Direction,
    mode: Mode,
) -> Result<MigrationResult, DbErr> {
    let tx = begin_exclusive(db).await?;
    let is_forwards = direction == Direction::Forwards;
    if applied(&tx).await?.contains(migration) == is_forwards {
        return Ok(MigrationResult::AlreadyDone);
    }
    let fake = match mode {
        Mode::Run => false,
        Mode::Fake => true,
        Mode::FakeInitial => is_forwards && detect_soft_applied(&tx, migration).await?,
    };
    if !fake {
        let manager = tx.schema_manager();
        match direction {
            Direction::Forwards => migration.up(&manager).await?,
            Direction::Backwards => migration.down(&manager).await?,
        }
        check_foreign_keys(&tx).await?;
    }
    match direction {
        Direction::Forwards => recorder::record_applied(&tx, migration).await?,
        Direction::Backwards => recorder::record_unapplied(&tx, migration).await?,
    }
    tx.commit().await?;
    Ok(if fake {
        MigrationResult::Faked
    } else {
        MigrationResult::Done
    })
}

/// Creates the missing content types and permissions of the models in the applied migrations.
///
/// # Errors
/// When the database cannot be reached or a statement fails.
pub async fn create_missing_rows(db: &Database) -> Result<(), DbErr> {
    let tx = begin_exclusive(db).await?;
    create_missing_rows_in(&tx).await?;
    tx.commit().await
}

/// As [`create_missing_rows`], in the caller's transaction.
///
/// # Errors
/// When the database cannot be reached or a statement fails.
pub async fn create_missing_rows_in(tx: &Transaction) -> Result<(), DbErr> {
    let applied = applied(tx).await?;
    let state = State::after(|migration| applied.contains(migration));
    // Until these migrations are applied the tables do not exist or have other columns.
    let graph = Graph::new();
    let has = |app, name| applied.contains(graph.get(app, name).expect("the migration exists"));
    if !has("contenttypes", "0002_remove_content_type_name") {
        return Ok(());
    }
    for app in migration::APPS {
        contenttypes::create_missing(tx, state.of_app(app)).await?;
        if has("auth", "0001_initial") {
            permissions::create_missing(tx, state.of_app(app)).await?;
        }
    }
    Ok(())
}

/// Checks the foreign keys on SQLite, which does not check them while tables are dropped and remade.
async fn check_foreign_keys(tx: &Transaction) -> Result<(), DbErr> {
    if tx.get_database_backend() != DbBackend::Sqlite {
        return Ok(());
    }
    let check = Statement::from_string(DbBackend::Sqlite, "PRAGMA foreign_key_check");
    match tx.query_one_raw(check).await? {
        None => Ok(()),
        Some(row) => {
            let (from, to): (String, String) =
                (row.try_get("", "table")?, row.try_get("", "parent")?);
            Err(DbErr::Migration(format!(
                "a row of {from} refers to a row of {to} that does not exist"
            )))
        }
    }
}

/// Whether the tables and columns that an initial migration creates exist (Django's `detect_soft_applied`).
async fn detect_soft_applied(
    tx: &Transaction,
    migration: &'static Migration,
) -> Result<bool, DbErr> {
    if !migration.initial {
        return Ok(false);
    }
    let state = State::after(|other| other.app == migration.app && other.name <= migration.name);
    for operation in migration.operations {
        let (model, column) = match operation {
            Operation::CreateModel { name, .. } => (state.model(migration.app, name), None),
            Operation::AddField { model, field } if !matches!(field.kind, Kind::ManyToMany(_)) => {
                (state.model(migration.app, model), Some(field.column()))
            }
            _ => continue,
        };
        let columns = columns(tx, &model.table).await?;
        if columns.is_empty() || column.is_some_and(|column| !columns.contains(&column)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The columns of a table; empty when the table does not exist.
async fn columns(tx: &Transaction, table: &str) -> Result<Vec<String>, DbErr> {
    let backend = tx.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => "SELECT name FROM pragma_table_info($1)",
        _ => {
            "SELECT attname::text AS name FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid \
             WHERE relname = $1 AND pg_table_is_visible(pg_class.oid) AND attnum > 0 AND NOT attisdropped"
        }
    };
    let rows = tx
        .query_all_raw(Statement::from_sql_and_values(backend, sql, [table.into()]))
        .await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}
