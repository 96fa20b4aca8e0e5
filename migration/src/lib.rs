//! The migrations of the deployment's five apps, and those of our own: Django's names, graph and SQL, on SQLite and PostgreSQL.
//!
//! A migration is data: a list of [`Operation`]s. What it does to a database ([`Migration::sql`]) and what the models
//! look like afterwards ([`State`]) both follow from that list, so `migrate`, `sqlmigrate`, `makemigrations` and the
//! creation of permissions cannot disagree. Nothing here knows the entities: a migration describes the past.

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

/// Runs on the transaction that the manager wraps; the caller commits it together with the row in the history.
#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait is declared so, and async_trait wants the same form"
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
