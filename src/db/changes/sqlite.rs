//! Changes in an SQLite database, by polling `PRAGMA data_version` (<https://sqlite.org/pragma.html#pragma_data_version>).

use std::{convert::Infallible, time::Instant};

use sea_orm::DbErr;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Change, Listened, Listener, PERIOD, error_of, failed, from_sqlx, in_time};
use crate::db::sqlite::DatabaseFile;

impl Listener {
    /// Polls on one connection: the version is comparable only with others of the same connection.
    pub(super) async fn poll_sqlite(&mut self) -> Listened {
        let options: SqliteConnectOptions = self
            .settings
            .url
            .expose_secret()
            .parse()
            .map_err(from_sqlx)?;
        let mut connection = in_time(options.connect()).await?;
        let stop = self.stop.clone();
        let result = tokio::select! {
            () = stop.cancelled() => Ok(()),
            result = self.poll(&mut connection) => Err(error_of(result)),
        };
        // Other connections can be the last one, which writes the write-ahead log back, only after this one is closed.
        connection.close().await.map_err(from_sqlx)?;
        result
    }

    async fn poll(&mut self, connection: &mut SqliteConnection) -> Result<Infallible, DbErr> {
        let file = self.settings.sqlite_file().and_then(DatabaseFile::opened);
        let file = file.ok_or_else(|| failed("the database file cannot be found"))?;
        let mut known = None;
        loop {
            self.lease.wanted().await;
            let sent = Instant::now();
            file.check()?;
            let version: i64 =
                in_time(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection))
                    .await?;
            if known.replace(version) != Some(version) {
                (self.on_change)(Change::Any);
            }
            self.renew(sent);
            tokio::time::sleep_until((sent + PERIOD).into()).await;
        }
    }
}
