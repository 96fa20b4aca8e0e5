//! The migrations of the Django project's five apps with Django's names, graph and SQL, and those of the app `polls`, for SQLite
//! and PostgreSQL.
//!
//! A migration is a list of [`Operation`]s. Its SQL ([`Migration::sql`]) and the models after it ([`State`]) are both derived
//! from that list, so `migrate`, `sqlmigrate`, `makemigrations` and the creation of permissions are consistent. This crate does not
//! depend on the entities, which describe the current schema only.

mod admin;
mod apps;
mod auth;
mod contenttypes;
mod field;
mod graph;
mod migration;
mod model;
mod operation;
mod polls;
mod polls_app;
mod schema;
mod sessions;
mod state;

pub use apps::{APPS, MIGRATIONS};
use async_trait::async_trait;
pub use field::{Default, Field, Kind};
pub use graph::{Graph, Lookup};
pub use migration::{Direction, Key, Migration};
pub use model::{Model, ModelOptions};
pub use operation::Operation;
pub use polls::{CHANGES_CHANNEL, TRIGGER_FUNCTIONS, TRIGGER_MIGRATIONS, TRIGGERS};
pub use schema::{Sql, Step, create_history_table};
use sea_orm_migration::prelude::{DbErr, MigrationName};
use sea_orm_migration::sea_orm::ConnectionTrait;
pub use sea_orm_migration::{MigrationTrait, SchemaManager, sea_orm::DbBackend};
pub use state::State;

impl Migration {
    /// The statements that apply or unapply it, in the dialect of `backend`.
    pub fn sql(&self, backend: DbBackend, direction: Direction) -> Sql {
        schema::sql(self, &State::before(self), backend, direction)
    }
}

impl MigrationName for Migration {
    fn name(&self) -> &str {
        self.name
    }
}

/// Runs in the transaction of the manager's connection; the caller records the migration in it and commits.
#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait requires the same signatures as in the trait"
)]
#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.run(manager, Direction::Forwards).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.run(manager, Direction::Backwards).await
    }
}

impl Migration {
    async fn run(&self, manager: &SchemaManager<'_>, direction: Direction) -> Result<(), DbErr> {
        for statement in self
            .sql(manager.get_database_backend(), direction)
            .statements()
        {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}
