//! Objects of the app `polls` that belong to no model, and that a database can lack though their migration is applied: on SQLite an
//! index is lost when Django remakes its table; on PostgreSQL triggers can be dropped, or stay disabled after a restore.

use std::fmt;

use migration::{Graph, Migration, Operation, TRIGGER_MIGRATIONS};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{lock::begin_exclusive, recorder::applied};
use crate::db::{Database, has_change_triggers};

/// What a database lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The index of this name.
    Index {
        /// Its name.
        name: &'static str,
        /// The statement that creates it.
        sql: &'static str,
    },
    /// Some of the triggers, or of their functions: missing, disabled or changed.
    Triggers,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { name, .. } => write!(f, "index {name}"),
            Self::Triggers => write!(f, "triggers polls_…"),
        }
    }
}

impl Missing {
    /// The statements that create it again.
    fn statements(&self) -> Vec<&'static str> {
        match self {
            Self::Index { sql, .. } => vec![sql],
            Self::Triggers => {
                let sql = |migration: &'static Migration| match migration.operations {
                    [
                        Operation::RunSql {
                            forwards,
                            backwards,
                            ..
                        },
                    ] => (*backwards, *forwards),
                    _ => panic!("a migration of triggers is one operation"),
                };
                let drop = TRIGGER_MIGRATIONS.iter().rev().map(|own| sql(own).0);
                let create = TRIGGER_MIGRATIONS.iter().map(|own| sql(own).1);
                // Before the others, which lock one table after the other.
                let lock = "LOCK TABLE polls_app_question, polls_app_choice, polls_question_options \
                            IN ACCESS EXCLUSIVE MODE";
                let statements = drop.chain(create).flatten().copied();
                [lock].into_iter().chain(statements).collect()
            }
        }
    }
}

/// What a database lacks of the applied migrations.
///
/// # Errors
/// When the database cannot be reached or a query fails.
pub async fn missing(db: &impl ConnectionTrait) -> Result<Vec<Missing>, DbErr> {
    let applied = applied(db).await?;
    let own = Graph::new().full_plan();
    let own: Vec<_> = own
        .into_iter()
        .filter(|migration| migration.app == "polls" && applied.contains(migration))
        .collect();
    let mut missing = missing_indexes(db, &own).await?;
    let has_been_created = TRIGGER_MIGRATIONS.iter().all(|own| applied.contains(own));
    if has_been_created && !has_change_triggers(db).await? {
        missing.push(Missing::Triggers);
    }
    Ok(missing)
}

async fn missing_indexes(
    db: &impl ConnectionTrait,
    applied: &[&'static Migration],
) -> Result<Vec<Missing>, DbErr> {
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
    let statements = applied
        .iter()
        .flat_map(|migration| migration.operations)
        .filter_map(|operation| match operation {
            Operation::RunSql {
                backend: own,
                forwards,
                ..
            } if own.is_none_or(|own| own == backend) => Some(*forwards),
            _ => None,
        })
        .flatten();
    let indexes = statements.filter_map(|sql| {
        let (name, _) = sql.strip_prefix("CREATE INDEX \"")?.split_once('"')?;
        Some((name, *sql))
    });
    Ok(indexes
        .filter(|(name, _)| present.iter().all(|present| present != name))
        .map(|(name, sql)| Missing::Index { name, sql })
        .collect())
}

/// Creates what is [`missing`], and returns it.
///
/// # Errors
/// When the database cannot be reached or a statement fails.
pub async fn restore(db: &Database) -> Result<Vec<Missing>, DbErr> {
    if missing(db).await?.is_empty() {
        return Ok(Vec::new());
    }
    let tx = begin_exclusive(db).await?;
    let missing = missing(&tx).await?;
    for sql in missing.iter().flat_map(Missing::statements) {
        tx.execute_unprepared(sql).await?;
    }
    tx.commit().await?;
    Ok(missing)
}
