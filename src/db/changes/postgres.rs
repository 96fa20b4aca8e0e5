//! Changes in a PostgreSQL database: notifications of the triggers that a migration of the app `polls` creates
//! (<https://www.postgresql.org/docs/current/sql-notify.html>).
//!
//! A heartbeat is a notification to the process itself. PostgreSQL delivers notifications in the order of their commits, so when
//! it arrives, all earlier ones have arrived. The response to a query would not show that: a change is visible to it before
//! its notification has been sent.

use std::{convert::Infallible, time::Instant};

use migration::{CHANGES_CHANNEL, TRIGGER_FUNCTIONS, TRIGGERS};
use sea_orm::DbErr;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgListener};

use super::{
    Change, Listened, Listener, PERIOD, TIMEOUT, error_of, failed, from_sqlx, in_time,
    triggers::ENABLED,
};
use crate::db::connect;

/// The query that sends the notification of `$3` on the channel `$2`. It returns
/// - the number of [`ENABLED`] triggers,
/// - the versions of the triggers, their functions, their tables and columns: what has been created again has another id; a trigger that
///   was disabled for a while, a table whose rows were rewritten, as by `ALTER COLUMN … TYPE`, and a renamed column has another `xmin`,
/// - whether rows can change without these triggers: those of a table that inherits or is inherited from, and those that a logical
///   subscription writes.
fn heartbeat_query() -> String {
    format!(
        "SELECT triggers, versions, is_bypassed, pg_notify($2, $3)::text FROM (\
         SELECT count(*) AS triggers, \
         string_agg(concat_ws(':', t.oid, t.xmin, f.xmin, c.xmin, \
         (SELECT string_agg(a.xmin::text, ',' ORDER BY attnum) FROM pg_attribute a WHERE attrelid = tgrelid)), \
         ' ' ORDER BY t.oid) AS versions, \
         coalesce(bool_or(EXISTS (SELECT 1 FROM pg_inherits WHERE tgrelid IN (inhparent, inhrelid)) \
         OR EXISTS (SELECT 1 FROM pg_subscription_rel WHERE srrelid = tgrelid)), false) AS is_bypassed {ENABLED}) enabled"
    )
}

impl Listener {
    /// Listens on one connection, until it is lost.
    pub(super) async fn listen_to_postgres(&mut self) -> Listened {
        let servers = self
            .db
            .servers()
            .ok_or_else(|| failed("the database serves no requests"))?;
        let servers = servers.clone();
        servers.compare().await?;
        let mut server = servers.subscribe();
        let pool = connect::listener(&servers.url()).await?;
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = server.changed() => Err(failed("another server is used")),
            result = self.listen(&pool) => Err(error_of(result)),
        }
    }

    async fn listen(&mut self, pool: &PgPool) -> Result<Infallible, DbErr> {
        let heartbeats = format!("polls_heartbeat_{:032x}", rand::random::<u128>());
        let mut listener = in_time(PgListener::connect_with(pool)).await?;
        // Notifications would be lost unnoticed.
        listener.eager_reconnect(false);
        in_time(listener.listen_all([CHANGES_CHANNEL, &heartbeats])).await?;
        let (lease, mut known_versions, mut number) = (self.lease.clone(), None, 0_u64);
        let query = heartbeat_query();
        loop {
            self.receive_until(&mut listener, lease.wanted()).await?;
            let sent = Instant::now();
            number += 1;
            let heartbeat = number.to_string();
            let query = sqlx::query_as(AssertSqlSafe(&*query))
                .bind(&TRIGGER_FUNCTIONS[..])
                .bind(&heartbeats)
                .bind(&heartbeat);
            let (triggers, versions, is_bypassed, _): (i64, Option<String>, bool, String) =
                in_time(query.fetch_one(&mut listener)).await?;
            if triggers != TRIGGERS {
                return Err(failed(
                    "the triggers that notify of them are missing or disabled: run `polls migrate`",
                ));
            }
            if is_bypassed {
                return Err(failed(
                    "the triggers that notify of them do not fire for tables that inherit or are inherited from, or that a logical subscription writes",
                ));
            }
            let arrived = async {
                while self.receive(&mut listener).await? != Some(heartbeat.clone()) {}
                Ok(())
            };
            let arrived = tokio::time::timeout_at((sent + TIMEOUT).into(), arrived).await;
            arrived.unwrap_or_else(|_| {
                Err(failed(
                    "notifications do not arrive, as through a connection pooler in transaction mode",
                ))
            })?;
            // Also at first: what was committed before this connection listened has not been received.
            if known_versions != versions {
                (self.on_change)(Change::Any);
                known_versions = versions;
            }
            self.renew(sent);
            let next = tokio::time::sleep_until((sent + PERIOD).into());
            self.receive_until(&mut listener, next).await?;
        }
    }

    /// Receives notifications until `end` completes.
    async fn receive_until(
        &mut self,
        listener: &mut PgListener,
        end: impl Future<Output = ()>,
    ) -> Result<(), DbErr> {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                received = self.receive(listener) => drop(received?),
            }
        }
    }

    /// Receives one notification: a change, or a heartbeat, which is returned.
    async fn receive(&mut self, listener: &mut PgListener) -> Result<Option<String>, DbErr> {
        let notification = listener.try_recv().await.map_err(from_sqlx)?;
        let notification = notification.ok_or_else(|| failed("the connection was lost"))?;
        if notification.channel() == CHANGES_CHANNEL {
            (self.on_change)(Change::Notified(notification.payload()));
            Ok(None)
        } else {
            Ok(Some(notification.payload().to_owned()))
        }
    }
}
