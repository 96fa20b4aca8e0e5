//! Checks for SQLite's connections: in autocommit mode when they are released, and on the file that was opened.

use std::{io, os::unix::fs::MetadataExt, path::PathBuf};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectOptions, DbErr, RuntimeErr};
use sqlx::{Connection as _, Executor as _, pool::PoolConnectionMetadata};

use super::health::Health;

/// `SQLITE_ERROR`, with which SQLite refuses a ROLLBACK outside a transaction.
const SQLITE_ERROR: &str = "1";

/// The file of a database, as it was when it was opened.
///
/// SQLite itself does not notice in WAL mode that its file has been deleted: it goes on writing to the
/// unlinked file, which is lost when the process ends.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl DatabaseFile {
    /// The file at `path`, which has just been opened; none for a database in memory.
    pub(super) fn opened(path: PathBuf) -> Option<Self> {
        let identity = identity(&path).ok()?;
        Some(Self { path, identity })
    }

    /// Checks that the path is still that of the file.
    ///
    /// # Errors
    /// When there is no file, or another one.
    pub(super) fn check(&self) -> Result<(), DbErr> {
        let reason = match identity(&self.path) {
            Ok(found) if found == self.identity => return Ok(()),
            Ok(_) => "has been replaced by another file: restart the server to use it".to_owned(),
            Err(error) => format!("cannot be found any more ({error}): put it back"),
        };
        let text = format!("the database file {} {reason}", self.path.display());
        Err(DbErr::Conn(RuntimeErr::Internal(text)))
    }
}

fn identity(path: &PathBuf) -> io::Result<(u64, u64)> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Lets the pool take back only connections that are in autocommit mode, and closes the others.
///
/// When a statement fails because the disk is full, SQLite rolls the transaction back by itself. The ROLLBACK that sqlx sends
/// then fails, and sqlx counts the transaction as open for ever: the next BEGIN becomes a savepoint, whose RELEASE commits
/// nothing once a transaction has really been left open.
pub(super) fn discard_unfinished(options: &mut ConnectOptions, health: &Health) {
    let health = health.clone();
    options.map_sqlx_sqlite_pool_opts(move |pool| {
        let health = health.clone();
        pool.after_release(move |connection, metadata| {
            is_reusable(connection, metadata, health.clone())
        })
    });
}

fn is_reusable(
    connection: &mut sqlx::SqliteConnection,
    metadata: PoolConnectionMetadata,
    health: Health,
) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    if health.is_suspect(metadata.age, true) {
        return Box::pin(std::future::ready(Ok(false)));
    }
    Box::pin(async move {
        // Behind the rollback that a dropped transaction has sent, if any.
        let is_autocommit = match connection.execute("ROLLBACK").await {
            Err(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code == SQLITE_ERROR)
            }
            Ok(_) | Err(_) => false,
        };
        Ok(is_autocommit && !connection.is_in_transaction())
    })
}
