//! Changes in a PostgreSQL database: notifications of the triggers that a migration of the app `polls` creates
//! (<https://www.postgresql.org/docs/current/sql-notify.html>).
//!
//! A heartbeat is a notification to the process itself. PostgreSQL delivers notifications in the order of their commits, so when
//! it arrives, all earlier ones have arrived. The response to a query would not show that: a change is visible to it before
//! its notification has been sent.

use std::{convert::Infallible, time::Instant};

use migration::{CHANGES_CHANNEL, CHANGES_TRIGGERS};
use sea_orm::DbErr;
use sqlx::{PgPool, postgres::PgListener};

use super::{Change, Listened, Listener, PERIOD, TIMEOUT, error_of, failed, from_sqlx, in_time};
use crate::db::connect;

/// Sends a heartbeat, and returns how many triggers are enabled, in which version. A trigger that was disabled for a while has
/// another `xmin`, and that of a table that was created again another id. What a logical subscription writes fires no triggers of
/// statements.
const HEARTBEAT: &str = "SELECT triggers, versions, pg_notify($1, $2)::text FROM (\
    SELECT count(*) AS triggers, string_agg(oid || ':' || xmin, ' ' ORDER BY oid) AS versions FROM pg_trigger \
    WHERE tgrelid IN (to_regclass('polls_app_question'), to_regclass('polls_app_choice')) \
    AND tgname LIKE 'polls\\_notify\\_%' AND tgenabled = 'A' \
    AND NOT EXISTS (SELECT 1 FROM pg_subscription_rel WHERE srrelid = tgrelid)) enabled";

impl Listener {
    /// Listens on one connection, until it is lost.
    pub(super) async fn listen_to_postgres(&mut self) -> Listened {
        let pool = connect::postgres_listener(&self.settings).await?;
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
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
        loop {
            self.receive_until(&mut listener, lease.wanted()).await?;
            let sent = Instant::now();
            number += 1;
            let heartbeat = number.to_string();
            let query = sqlx::query_as(HEARTBEAT).bind(&heartbeats).bind(&heartbeat);
            let (triggers, versions, _): (i64, Option<String>, String) =
                in_time(query.fetch_one(&mut listener)).await?;
            if triggers != CHANGES_TRIGGERS {
                return Err(failed(
                    "the triggers that notify of them are missing or disabled: run `polls migrate`",
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
            // Also at first: what was committed before this connection listened has not been heard of.
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
