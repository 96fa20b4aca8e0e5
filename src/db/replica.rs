//! A replica of the primary (PostgreSQL's streaming replication), which is read from while its lag is small.
//!
//! The replica cannot measure its lag: disconnected from the primary it appears up to date. So the primary is queried for
//! its position in the write-ahead log, and the replica for the position that it has replayed
//! (<https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP-TABLE> and
//! `#FUNCTIONS-RECOVERY-INFO-TABLE`). When the replica has replayed a position, its
//! data is at least as new as the moment at which the primary reported it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    database::Database,
    failure::{is_lost, outside_transaction},
    server::Role,
    servers::Servers,
};
use crate::settings::DatabaseSettings;

/// The lag up to which the replica is used.
pub const MAX_LAG: Duration = Duration::from_secs(5);
/// The interval of the measurements.
const PERIOD: Duration = Duration::from_secs(1);
/// The timeout of the replica's and the primary's positions.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the replica is used, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplicaState {
    /// Its lag is at most [`MAX_LAG`].
    UpToDate,
    /// Its lag has not been measured yet.
    NotMeasured,
    /// It does not respond.
    Unreachable,
    /// Its lag is greater.
    Lagging,
    /// It is not a standby of this primary.
    NotAStandby,
    /// The primary's position is not known, and it was not up to date before.
    PrimaryUnknown,
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpToDate => "it is up to date",
            Self::NotMeasured => "its lag has not been measured yet",
            Self::Unreachable => "it does not respond",
            Self::Lagging => "it is too far behind the primary",
            Self::NotAStandby => "it is not a standby of this primary",
            Self::PrimaryUnknown => "the primary's WAL position is not known",
        })
    }
}

/// The replica's metrics.
#[derive(Debug, Clone, Default)]
pub struct ReplicaCounters {
    /// Statements executed on it.
    pub reads: Counter,
    /// Statements executed on the primary because it was not usable.
    pub fallbacks: Counter,
    /// 1 while it is used.
    pub in_use: Gauge,
    /// Upper bound of its lag at the last measurement, in seconds.
    pub lag: Gauge<f64, AtomicU64>,
}

/// The replica.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    database: Database,
    state: Arc<watch::Sender<ReplicaState>>,
    counters: ReplicaCounters,
    _measuring: Arc<AbortOnDropHandle<()>>,
}

impl Replica {
    /// Connects with the first statement, and measures the lag from now on, against `primary`.
    ///
    /// # Errors
    /// When the settings name no database.
    pub(super) async fn connect(
        settings: &DatabaseSettings,
        primary: Database,
    ) -> Result<Self, DbErr> {
        let servers = Servers::start(settings, Role::Standby).await;
        let database = Database::of_servers(servers, settings).await?;
        let state = Arc::new(watch::Sender::new(ReplicaState::NotMeasured));
        let counters = ReplicaCounters::default();
        let measuring = measure_lag(database.clone(), primary, state.clone(), counters.clone());
        Ok(Self {
            database,
            state,
            counters,
            _measuring: Arc::new(AbortOnDropHandle::new(tokio::spawn(measuring))),
        })
    }

    /// Its metrics.
    pub(super) fn counters(&self) -> &ReplicaCounters {
        &self.counters
    }

    /// Reads from the replica, unless it is not usable, or ceases to be while it responds.
    async fn read<T>(&self, response: impl Future<Output = Result<T, DbErr>>) -> Option<T> {
        let mut state = self.state.subscribe();
        if *state.borrow() != ReplicaState::UpToDate {
            return None;
        }
        let result = tokio::select! {
            result = response => result,
            _ = state.wait_for(|state| *state != ReplicaState::UpToDate) => return None,
        };
        match result {
            Ok(value) => {
                self.counters.reads.inc();
                Some(value)
            }
            Err(error) => {
                if is_lost(&error) {
                    let reason = error.to_string();
                    set_state(
                        &self.state,
                        ReplicaState::Unreachable,
                        &reason,
                        &self.counters,
                    );
                }
                None
            }
        }
    }
}

/// For reads that may be stale: the replica if it is usable, otherwise the primary.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The primary.
    pub(super) primary: &'a Database,
    /// The replica, if one is configured.
    pub(super) replica: Option<&'a Replica>,
}

impl Reader<'_> {
    async fn read<T, F: Future<Output = Result<T, DbErr>>>(
        self,
        query: impl Fn(&Database) -> F,
    ) -> Result<T, DbErr> {
        if let Some(replica) = self.replica {
            if let Some(value) = replica.read(query(&replica.database)).await {
                return Ok(value);
            }
            replica.counters.fallbacks.inc();
        }
        query(self.primary).await
    }
}

#[async_trait]
impl ConnectionTrait for Reader<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.primary.get_database_backend()
    }

    async fn execute_raw(&self, _: Statement) -> Result<ExecResult, DbErr> {
        Err(outside_transaction())
    }

    async fn execute_unprepared(&self, _: &str) -> Result<ExecResult, DbErr> {
        Err(outside_transaction())
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.read(|database| {
            let (database, statement) = (database.clone(), statement.clone());
            async move { database.query_one_raw(statement).await }
        })
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.read(|database| {
            let (database, statement) = (database.clone(), statement.clone());
            async move { database.query_all_raw(statement).await }
        })
        .await
    }
}

/// Sets the state, and logs when the replica becomes usable or unusable.
fn set_state(
    state: &watch::Sender<ReplicaState>,
    now: ReplicaState,
    reason: &str,
    counters: &ReplicaCounters,
) {
    let before = state.send_replace(now);
    let is_in_use = now == ReplicaState::UpToDate;
    if before != ReplicaState::NotMeasured && is_in_use == (before == ReplicaState::UpToDate) {
        return;
    }
    counters.in_use.set(is_in_use.into());
    if is_in_use {
        tracing::info!("the replica is read from: {now}");
    } else {
        tracing::warn!(
            error = reason,
            "the replica is not used, the primary is read instead: {now}"
        );
    }
}

async fn measure_lag(
    replica: Database,
    primary: Database,
    state: Arc<watch::Sender<ReplicaState>>,
    counters: ReplicaCounters,
) {
    let mut measurements = Measurements::default();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = measurements.update(&replica, &primary).await;
        if let Some(lag) = measurements.lag() {
            counters.lag.set(lag.as_secs_f64());
        }
        set_state(&state, now, &measurements.error, &counters);
    }
}

/// The measurements.
#[derive(Debug, Default)]
struct Measurements {
    /// Moments, and the primary's position at least.
    positions: VecDeque<(Instant, i64)>,
    /// The last of those moments whose position the replica has replayed.
    up_to_date_at: Option<Instant>,
    /// The last error.
    error: String,
}

impl Measurements {
    /// Upper bound of the lag.
    fn lag(&self) -> Option<Duration> {
        self.up_to_date_at.map(|moment| moment.elapsed())
    }

    async fn update(&mut self, replica: &Database, primary: &Database) -> ReplicaState {
        self.error.clear();
        let replayed = match position(replica, REPLAYED).await {
            Ok(replayed) => replayed,
            Err(error) => {
                self.error = error;
                return ReplicaState::Unreachable;
            }
        };
        let start = Instant::now();
        let written = match position(primary, WRITTEN).await {
            Ok(Some(written)) => written,
            // The upper bound of the lag is known all the same, for a while.
            Ok(None) | Err(_) if replayed.is_some() && self.is_up_to_date() => {
                return ReplicaState::UpToDate;
            }
            Ok(None) => return ReplicaState::PrimaryUnknown,
            Err(error) => {
                self.error = error;
                return ReplicaState::PrimaryUnknown;
            }
        };
        // A replica cannot have replayed what had not been written.
        let is_copy =
            |replayed: &Position| replayed.system == written.system && replayed.log <= written.log;
        let Some(replayed) = replayed.filter(is_copy) else {
            *self = Self::default();
            return ReplicaState::NotAStandby;
        };
        self.positions.push_back((start, written.log));
        while let Some((moment, written)) = self.positions.front() {
            let is_old = moment.elapsed() > 2 * MAX_LAG;
            if *written <= replayed.log {
                self.up_to_date_at = Some(*moment);
            } else if !is_old {
                break;
            }
            self.positions.pop_front();
        }
        if self.is_up_to_date() {
            ReplicaState::UpToDate
        } else {
            ReplicaState::Lagging
        }
    }

    fn is_up_to_date(&self) -> bool {
        self.lag().is_some_and(|lag| lag <= MAX_LAG)
    }
}

/// A position in the log, with the system identifier of the server.
#[derive(Debug, Clone, Copy)]
struct Position {
    system: i64,
    log: i64,
}

/// The position that a standby has replayed, in bytes.
const REPLAYED: &str = "SELECT system_identifier, CASE WHEN pg_is_in_recovery() \
                        THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END FROM pg_control_system()";
/// The position that a primary has written, in bytes.
const WRITTEN: &str = "SELECT system_identifier, CASE WHEN NOT pg_is_in_recovery() \
                       THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END FROM pg_control_system()";

/// The position of a server with the expected role; otherwise an error message.
async fn position(database: &Database, query: &str) -> Result<Option<Position>, String> {
    let statement = Statement::from_string(DbBackend::Postgres, query);
    let read = async {
        let row = database.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| DbErr::Custom("no row".to_owned()))?;
        let log: Option<i64> = row.try_get_by_index(1)?;
        let system = row.try_get_by_index(0)?;
        Ok::<_, DbErr>(log.map(|log| Position { system, log }))
    };
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
    }
}
