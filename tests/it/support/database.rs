//! Databases: each test has its own, migrated ones as copies of one that is migrated once.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use migration::{Direction, Graph};
use polls::{
    db::{Database, Purpose},
    migrations::{self, Mode},
    settings::DatabaseSettings,
};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::postgres;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// As the names of the captured files begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A database of a test's own.
pub struct TestDatabase {
    pub backend: Backend,
    pub url: String,
    pub folder: TempDir,
}

impl TestDatabase {
    /// One with nothing in it.
    pub async fn empty(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match backend {
            Backend::Sqlite => format!("sqlite://{}", folder.path().join("db.sqlite3").display()),
            Backend::Postgres => create_postgres("").await,
        };
        Self {
            backend,
            url,
            folder,
        }
    }

    /// One with all migrations.
    pub async fn migrated(backend: Backend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match backend {
            Backend::Sqlite => {
                let file = folder.path().join("db.sqlite3");
                std::fs::copy(sqlite_template().await, &file).unwrap();
                format!("sqlite://{}", file.display())
            }
            Backend::Postgres => {
                create_postgres(&format!("TEMPLATE {}", postgres_template().await)).await
            }
        };
        Self {
            backend,
            url,
            folder,
        }
    }

    pub fn settings(&self) -> DatabaseSettings {
        DatabaseSettings::from_url("DATABASE_URL", &self.url, None).unwrap()
    }

    pub async fn connect(&self) -> Database {
        Database::connect(&self.settings(), Purpose::Command)
            .await
            .unwrap()
    }

    /// A name of the database on the PostgreSQL server.
    pub fn postgres_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }
}

/// What `polls migrate` does.
pub async fn migrate(settings: &DatabaseSettings) {
    let db = Database::connect(settings, Purpose::Migrations)
        .await
        .unwrap();
    migrations::ensure_history_table(&db).await.unwrap();
    for migration in Graph::new().full_plan() {
        migrations::run(&db, migration, Direction::Forwards, Mode::Run)
            .await
            .unwrap();
    }
    migrations::create_missing_rows(&db).await.unwrap();
    db.close().await;
}

async fn sqlite_template() -> &'static PathBuf {
    static TEMPLATE: OnceCell<(PathBuf, TempDir)> = OnceCell::const_new();
    let make = || async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("template.sqlite3");
        let url = format!("sqlite://{}", file.display());
        migrate(&DatabaseSettings::from_url("DATABASE_URL", &url, None).unwrap()).await;
        (file, folder)
    };
    &TEMPLATE.get_or_init(make).await.0
}

async fn postgres_template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        let url = create_postgres("").await;
        migrate(&DatabaseSettings::from_url("DATABASE_URL", &url, None).unwrap()).await;
        url.rsplit('/').next().unwrap().to_owned()
    };
    TEMPLATE.get_or_init(make).await
}

async fn create_postgres(options: &str) -> String {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let server = tokio::task::spawn_blocking(postgres::server).await.unwrap();
    let name = format!("test_{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url("postgres"))
        .await
        .unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!(
            "CREATE DATABASE {name} {options}"
        )))
        .await
        .unwrap();
    connection.close().await.unwrap();
    server.url(&name)
}
