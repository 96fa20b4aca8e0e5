//! The migrations of the deployment's five apps, and those of our own: Django's names, graph and SQL, on SQLite and PostgreSQL.
//!
//! A migration is data: a list of [`Operation`]s. What it does to a database ([`Migration::sql`]) and what the models
//! look like afterwards ([`State`]) both follow from that list, so `migrate`, `sqlmigrate`, `makemigrations` and the
//! creation of permissions cannot disagree. Nothing here knows the entities: a migration describes the past.

mod admin;
mod auth;
mod contenttypes;
mod field;
mod graph;
mod operation;
mod polls;
mod polls_app;
mod schema;
mod sessions;
mod state;

use async_trait::async_trait;
pub use field::{Default, Field, Kind};
pub use graph::{Graph, Key, Lookup};
pub use operation::{ModelOptions, Operation};
pub use schema::{Direction, Sql, Step, create_books};
use sea_orm_migration::prelude::{DbErr, MigrationName};
use sea_orm_migration::sea_orm::ConnectionTrait;
pub use sea_orm_migration::{MigrationTrait, SchemaManager, sea_orm::DbBackend};
pub use state::{Model, State};

/// The apps with migrations, in the order of Django's `INSTALLED_APPS`, which is the order of the content types; last the
/// one that Django does not know.
pub const APPS: [&str; 6] = [
    "polls_app",
    "admin",
    "auth",
    "contenttypes",
    "sessions",
    "polls",
];

/// Every migration, app by app and in the order of its numbers.
pub const MIGRATIONS: &[&[Migration]] = &[
    polls_app::MIGRATIONS,
    admin::MIGRATIONS,
    auth::MIGRATIONS,
    contenttypes::MIGRATIONS,
    sessions::MIGRATIONS,
    polls::MIGRATIONS,
];

/// One migration, as Django has it.
#[derive(Debug)]
pub struct Migration {
    /// The label of its app.
    pub app: &'static str,
    /// Its name, number included: `0001_initial`.
    pub name: &'static str,
    /// Whether it creates its app's tables, so that `--fake-initial` may find them there already.
    pub initial: bool,
    /// What has to be applied before it.
    pub dependencies: &'static [Key],
    /// What it does, in order.
    pub operations: &'static [Operation],
}

impl Migration {
    /// App and name.
    pub fn key(&self) -> Key {
        (self.app, self.name)
    }

    /// The statements that apply or unapply it, in the dialect of `backend`.
    pub fn sql(&self, backend: DbBackend, direction: Direction) -> Sql {
        schema::sql(self, &State::before(self), backend, direction)
    }
}

impl std::fmt::Display for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

impl MigrationName for Migration {
    fn name(&self) -> &str {
        self.name
    }
}

/// Runs on the transaction that the manager wraps; the caller commits it together with the row in the books.
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
