//! The number of votes of each day, for the dashboard. It is not stored in the transactions of votes, which would wait for each other
//! for its row: each process adds what it has counted every few seconds, and when it stops. A process that is killed loses
//! what it has not added; the votes themselves are stored.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use prometheus_client::metrics::counter::Counter;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use tokio_util::sync::CancellationToken;

use crate::db::Database;

/// How often counted votes are added.
const PERIOD: Duration = Duration::from_secs(5);

/// The day of a time in a time zone, in days since 1970.
pub fn day_of(time: DateTime<Utc>, zone: Tz) -> i32 {
    let day = time.with_timezone(&zone).date_naive();
    let days = day.signed_duration_since(NaiveDate::default()).num_days();
    days.try_into().unwrap_or_default()
}

/// The task that adds the votes of a process to those of the day.
pub struct VoteDays {
    /// The database.
    pub db: Database,
    /// The number of votes that the process has committed.
    pub committed: Counter,
    /// The present time.
    pub clock: fn() -> DateTime<Utc>,
    /// The time zone of days.
    pub zone: Tz,
}

impl VoteDays {
    /// Adds votes until `stop` is cancelled, and then once more.
    pub async fn run(self, stop: CancellationToken) {
        let mut stored = 0;
        let mut is_failed = false;
        loop {
            let is_last = tokio::time::timeout(PERIOD, stop.cancelled()).await.is_ok();
            let committed = self.committed.get();
            if committed > stored {
                match self.add(committed - stored).await {
                    Ok(()) => (stored, is_failed) = (committed, false),
                    // They are added later.
                    Err(error) if !is_failed => {
                        let error = error.to_string();
                        tracing::warn!(
                            "the votes of the day are not stored: {}",
                            error.escape_debug()
                        );
                        is_failed = true;
                    }
                    Err(_) => {}
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn add(&self, votes: u64) -> Result<(), DbErr> {
        let sql = "INSERT INTO polls_vote_days (day, votes) VALUES ($1, $2) \
                   ON CONFLICT (day) DO UPDATE SET votes = polls_vote_days.votes + excluded.votes";
        let day = day_of((self.clock)(), self.zone);
        let votes = i64::try_from(votes).unwrap_or(i64::MAX);
        let tx = self.db.begin().await?;
        let values = [day.into(), votes.into()];
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        tx.execute_raw(statement).await?;
        tx.commit().await
    }
}
