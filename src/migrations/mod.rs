//! Applying migrations, with Django's history table and Django's order, safely when many processes do it at once.

pub mod drift;
mod plan;
mod recorder;

use migration::{
    DbBackend, Direction, Graph, Kind, Migration, MigrationTrait, Operation, State,
    create_history_table,
};
use sea_orm::{ConnectionTrait, DbErr, Statement};

pub use self::{
    plan::{Plan, Target, inconsistency, plan},
    recorder::{Applied, applied},
};
use crate::{
    auth::permissions,
    contenttypes,
    db::{Database, Transaction},
};

/// The key of the advisory lock that keeps migrating processes apart: "polls" in ASCII.
const LOCK: i64 = 0x70_6f_6c_6c_73;

/// What became of one migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied or unapplied.
    Done,
    /// Only the history was changed (`--fake`).
    Faked,
    /// Another process had done it in the meantime.
    DoneElsewhere,
}

/// How far to run a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Statements and history.
    Run,
    /// Books only.
    Fake,
    /// Books only where an initial migration finds its tables in place.
    FakeInitial,
}

/// What a database lacks, in the order in which it would be applied.
///
/// # Errors
/// When the database does not answer.
pub async fn unapplied(db: &impl ConnectionTrait) -> Result<Vec<&'static Migration>, DbErr> {
    let applied = applied(db).await?;
    Ok(Graph::new()
        .full_plan()
        .into_iter()
        .filter(|migration| !applied.contains(migration))
        .collect())
}

/// Stores a change that changes nothing: shows whether the database can store anything.
///
/// # Errors
/// When it cannot.
pub async fn try_write(db: &Database) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = match tx.get_database_backend() {
        // SQLite leaves out the update of a row with the values that it has, but always writes its header.
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

/// Creates the table of the history if it does not exist.
///
/// # Errors
/// When the database refuses.
pub async fn ensure_history_table(db: &Database) -> Result<(), DbErr> {
    let tx = begin_alone(db).await?;
    if !recorder::exist(&tx).await? {
        tx.execute_unprepared(&create_history_table(tx.get_database_backend()))
            .await?;
    }
    tx.commit().await
}

/// Applies or unapplies one migration, in one transaction with its row in the history.
///
/// # Errors
/// When a statement fails; nothing of the migration is left then.
pub async fn run(
    db: &Database,
    migration: &'static Migration,
    direction: Direction,
    mode: Mode,
) -> Result<Outcome, DbErr> {
    let tx = begin_alone(db).await?;
    let is_forwards = direction == Direction::Forwards;
    if applied(&tx).await?.contains(migration) == is_forwards {
        return Ok(Outcome::DoneElsewhere);
    }
    let fake = match mode {
        Mode::Run => false,
        Mode::Fake => true,
        Mode::FakeInitial => is_forwards && is_in_place(&tx, migration).await?,
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
    Ok(if fake { Outcome::Faked } else { Outcome::Done })
}

/// Creates the content types and permissions that the applied migrations call for and the database lacks.
///
/// # Errors
/// When the database refuses.
pub async fn create_missing_rows(db: &Database) -> Result<(), DbErr> {
    let tx = begin_alone(db).await?;
    let applied = applied(&tx).await?;
    let state = State::after(|migration| applied.contains(migration));
    // While the tables are on their way they may lack columns, or still have others.
    let graph = Graph::new();
    let has = |app, name| applied.contains(graph.get(app, name).expect("is a migration of ours"));
    if !has("contenttypes", "0002_remove_content_type_name") {
        return Ok(());
    }
    for app in migration::APPS {
        contenttypes::create_missing(&tx, state.of_app(app)).await?;
        if has("auth", "0001_initial") {
            permissions::create_missing(&tx, state.of_app(app)).await?;
        }
    }
    tx.commit().await
}

/// Our own indexes that a database lacks, by name, with the statements that create them. SQLite drops them when Django makes
/// a table anew.
///
/// # Errors
/// When the database does not answer.
pub async fn missing_indexes(
    db: &impl ConnectionTrait,
) -> Result<Vec<(&'static str, &'static str)>, DbErr> {
    let applied = applied(db).await?;
    let backend = db.get_database_backend();
    let catalog = match backend {
        DbBackend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'index'",
        _ => {
            "SELECT relname::text AS name FROM pg_class WHERE relkind = 'i' AND pg_table_is_visible(oid)"
        }
    };
    let rows = db
        .query_all_raw(Statement::from_string(backend, catalog))
        .await?;
    let present = rows
        .iter()
        .map(|row| row.try_get("", "name"))
        .collect::<Result<Vec<String>, _>>()?;
    let own = Graph::new().full_plan();
    let own = own
        .into_iter()
        .filter(|migration| migration.app == "polls" && applied.contains(migration));
    let statements = own
        .flat_map(|migration| migration.operations)
        .filter_map(|operation| match operation {
            Operation::RunSql { forwards, .. } => Some(*forwards),
            _ => None,
        })
        .flatten();
    let indexes = statements.filter_map(|sql| {
        let (name, _) = sql.strip_prefix("CREATE INDEX \"")?.split_once('"')?;
        Some((name, *sql))
    });
    Ok(indexes
        .filter(|(name, _)| present.iter().all(|present| present != name))
        .collect())
}

/// Creates our own indexes again that the database lacks; gives their names.
///
/// # Errors
/// When the database refuses.
pub async fn restore_indexes(db: &Database) -> Result<Vec<&'static str>, DbErr> {
    if missing_indexes(db).await?.is_empty() {
        return Ok(Vec::new());
    }
    let tx = begin_alone(db).await?;
    let missing = missing_indexes(&tx).await?;
    for (_, sql) in &missing {
        tx.execute_unprepared(sql).await?;
    }
    tx.commit().await?;
    Ok(missing.into_iter().map(|(name, _)| name).collect())
}

/// Begins a transaction that no other migrating process can hold at the same time: on SQLite any writer waits, on
/// PostgreSQL those that ask for the same advisory lock.
async fn begin_alone(db: &Database) -> Result<Transaction, DbErr> {
    let tx = db.begin().await?;
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_advisory_xact_lock($1)",
            [LOCK.into()],
        ))
        .await?;
    }
    Ok(tx)
}

/// Checks on SQLite what it did not check while tables were dropped and made anew.
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

/// Whether everything that an initial migration would create is there already.
async fn is_in_place(tx: &Transaction, migration: &'static Migration) -> Result<bool, DbErr> {
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

/// The columns of a table; none when there is no such table.
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
