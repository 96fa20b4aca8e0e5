//! Changes in an SQLite database, by polling `PRAGMA data_version` (<https://sqlite.org/pragma.html#pragma_data_version>).

use std::{convert::Infallible, str::FromStr as _, time::Instant};

use sea_orm::DbErr;
use secrecy::ExposeSecret;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Change, Listened, Listener, PERIOD, error_of, from_sqlx, in_time};

impl Listener {
    /// Polls on one connection: the version is comparable only with others of the same connection.
    pub(super) async fn poll_sqlite(&mut self) -> Listened {
        let url = self.settings.url().expose_secret();
        // While the file is away, a new and empty one would be created, for which SQLite removes the write-ahead log.
        let options = SqliteConnectOptions::from_str(url).map_err(from_sqlx)?;
        let options = options.create_if_missing(false);
        self.db.check_file()?;
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
        let mut known = None;
        loop {
            self.lease.wanted().await;
            let sent = Instant::now();
            self.db.check_file()?;
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
