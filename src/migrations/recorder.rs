//! The migration history: the table `django_migrations`, shared with Django (Django's `MigrationRecorder`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use migration::{DbBackend, Graph, Migration};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, Statement,
};

use crate::{
    db::Transaction,
    entities::migration::{ActiveModel, COLUMN, Column, Entity},
};

/// The applied migrations by app and name, with the times when they were applied; with rows of unknown apps and names.
#[derive(Debug, Clone, Default)]
pub struct Applied(BTreeMap<(String, String), DateTime<Utc>>);

impl Applied {
    /// Whether a migration has been applied.
    pub fn contains(&self, migration: &Migration) -> bool {
        self.time(migration).is_some()
    }

    /// When a migration was applied; `None` if it was not.
    pub fn time(&self, migration: &Migration) -> Option<DateTime<Utc>> {
        self.0
            .get(&(migration.app.to_owned(), migration.name.to_owned()))
            .copied()
    }
}

impl Applied {
    /// The applied migrations that this program does not have, by app and name.
    pub fn unknown<'a>(&'a self, graph: &'a Graph) -> impl Iterator<Item = (&'a str, &'a str)> {
        let names = self
            .0
            .keys()
            .map(|(app, name)| (app.as_str(), name.as_str()));
        names.filter(|(app, name)| graph.get(app, name).is_none())
    }

    /// Whether no migration has been applied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the migration history, which is empty if the table does not exist.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn applied(db: &impl ConnectionTrait) -> Result<Applied, DbErr> {
    if !has_table(db).await? {
        return Ok(Applied::default());
    }
    let rows = Entity::find().order_by_asc(Column::Id).all(db).await?;
    Ok(Applied(
        rows.into_iter()
            .map(|row| ((row.app, row.name), row.applied))
            .collect(),
    ))
}

/// Whether the table `django_migrations` exists.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn has_table(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = 'django_migrations'",
        // Not `to_regclass`: within a transaction it may use catalog data cached before another process's commit.
        _ => {
            "SELECT 1 FROM pg_class WHERE relname = 'django_migrations' AND pg_table_is_visible(oid)"
        }
    };
    let found = db
        .query_one_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    Ok(found.is_some())
}

/// Records that a migration was applied now.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn record_applied(tx: &Transaction, migration: &Migration) -> Result<(), DbErr> {
    let row = ActiveModel {
        app: Set(migration.app.to_owned()),
        name: Set(migration.name.to_owned()),
        applied: Set(Utc::now()),
        ..ActiveModel::default()
    };
    Entity::insert(row)
        .exec_without_returning(tx)
        .await
        .map(drop)
}

/// Removes a migration from the history.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn record_unapplied(tx: &Transaction, migration: &Migration) -> Result<(), DbErr> {
    let row = Entity::delete_many()
        .filter(COLUMN.app.eq(migration.app))
        .filter(COLUMN.name.eq(migration.name));
    row.exec(tx).await.map(drop)
}
