//! A read-only copy of the primary (PostgreSQL's streaming replication), which is read from while it is fresh.
//!
//! The replica does not know its age: cut off from the primary it takes itself for up to date. So the primary is asked how
//! far its write-ahead log goes, and the copy how much of it has been replayed
//! (<https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-BACKUP-TABLE> and
//! `#FUNCTIONS-RECOVERY-INFO-TABLE`). What the log held at a moment that is known is what the copy shows at least.

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
    connect::Purpose,
    database::Database,
    failure::{is_lost, outside_transaction},
};
use crate::settings::DatabaseSettings;

/// How old the copy may be.
pub const MAX_LAG: Duration = Duration::from_secs(5);
/// How often it is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How long it may take to answer, and the primary.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Why the copy is, or is not, read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Fresh,
    Unknown,
    Gone,
    Late,
    NoCopy,
    NoPrimary,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "it is up to date",
            Self::Unknown => "it has not been asked yet",
            Self::Gone => "it does not answer",
            Self::Late => "it is too far behind the primary",
            Self::NoCopy => "it is not a standby of this primary",
            Self::NoPrimary => "the primary does not say how far it should be",
        })
    }
}

/// How it goes with the copy.
#[derive(Debug, Clone, Default)]
pub struct ReplicaCounters {
    /// Statements that it answered.
    pub reads: Counter,
    /// Statements that the primary answered in its place.
    pub fallbacks: Counter,
    /// 1 while it is read from.
    pub in_use: Gauge,
    /// Seconds that it was behind when it was last asked.
    pub lag: Gauge<f64, AtomicU64>,
}

/// The copy.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    database: Database,
    standing: Arc<watch::Sender<Standing>>,
    counters: ReplicaCounters,
    _watching: Arc<AbortOnDropHandle<()>>,
}

impl Replica {
    /// Connects when the first statement comes, and watches it from now on; `primary` is asked how far it is.
    ///
    /// # Errors
    /// When the settings name no database.
    pub(super) async fn connect(
        settings: &DatabaseSettings,
        primary: Database,
    ) -> Result<Self, DbErr> {
        let database = Database::connect(settings, Purpose::Requests).await?;
        let standing = Arc::new(watch::Sender::new(Standing::Unknown));
        let counters = ReplicaCounters::default();
        let watching = watch_over(
            database.clone(),
            primary,
            standing.clone(),
            counters.clone(),
        );
        Ok(Self {
            database,
            standing,
            counters,
            _watching: Arc::new(AbortOnDropHandle::new(tokio::spawn(watching))),
        })
    }

    pub(super) fn counters(&self) -> &ReplicaCounters {
        &self.counters
    }

    /// The answer of the copy, unless it is left out, or is before it has answered.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Option<T> {
        let mut standing = self.standing.subscribe();
        if *standing.borrow() != Standing::Fresh {
            return None;
        }
        let answer = tokio::select! {
            answer = answer => answer,
            _ = standing.wait_for(|standing| *standing != Standing::Fresh) => return None,
        };
        match answer {
            Ok(answer) => {
                self.counters.reads.inc();
                Some(answer)
            }
            Err(error) => {
                if is_lost(&error) {
                    let reason = error.to_string();
                    change(&self.standing, Standing::Gone, &reason, &self.counters);
                }
                None
            }
        }
    }
}

/// What may be a moment old: the copy where there is one that is fresh, the primary otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub(super) primary: &'a Database,
    pub(super) replica: Option<&'a Replica>,
}

impl Reader<'_> {
    async fn read<T, F: Future<Output = Result<T, DbErr>>>(
        self,
        ask: impl Fn(&Database) -> F,
    ) -> Result<T, DbErr> {
        if let Some(replica) = self.replica {
            if let Some(answer) = replica.ask(ask(&replica.database)).await {
                return Ok(answer);
            }
            replica.counters.fallbacks.inc();
        }
        ask(self.primary).await
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

/// Takes over what has been found, and says so when the copy begins or ceases to be read from.
fn change(
    standing: &watch::Sender<Standing>,
    now: Standing,
    reason: &str,
    counters: &ReplicaCounters,
) {
    let before = standing.send_replace(now);
    let is_in_use = now == Standing::Fresh;
    if before != Standing::Unknown && is_in_use == (before == Standing::Fresh) {
        return;
    }
    counters.in_use.set(is_in_use.into());
    if is_in_use {
        tracing::info!("the replica is read from: {now}");
    } else {
        tracing::warn!(
            error = reason,
            "the replica is left out, the primary is read instead: {now}"
        );
    }
}

async fn watch_over(
    replica: Database,
    primary: Database,
    standing: Arc<watch::Sender<Standing>>,
    counters: ReplicaCounters,
) {
    let mut known = Known::default();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = known.ask(&replica, &primary).await;
        if let Some(lag) = known.lag() {
            counters.lag.set(lag.as_secs_f64());
        }
        change(&standing, now, &known.error, &counters);
    }
}

/// What is known of both.
#[derive(Debug, Default)]
struct Known {
    /// Moments, and how far the primary's log went at least.
    log: VecDeque<(Instant, i64)>,
    /// The last of those moments whose log the copy has replayed.
    fresh: Option<Instant>,
    /// What the last one said who did not answer.
    error: String,
}

impl Known {
    /// How old the copy is at most.
    fn lag(&self) -> Option<Duration> {
        self.fresh.map(|moment| moment.elapsed())
    }

    async fn ask(&mut self, replica: &Database, primary: &Database) -> Standing {
        self.error.clear();
        let replayed = match position(replica, REPLAYED).await {
            Ok(replayed) => replayed,
            Err(error) => {
                self.error = error;
                return Standing::Gone;
            }
        };
        let asked = Instant::now();
        let written = match position(primary, WRITTEN).await {
            Ok(Some(written)) => written,
            // How old the copy is at most is known all the same, for a while.
            Ok(None) | Err(_) if replayed.is_some() && self.is_fresh() => return Standing::Fresh,
            Ok(None) => return Standing::NoPrimary,
            Err(error) => {
                self.error = error;
                return Standing::NoPrimary;
            }
        };
        // A replica cannot have replayed what had not been written.
        let is_copy =
            |replayed: &Position| replayed.system == written.system && replayed.log <= written.log;
        let Some(replayed) = replayed.filter(is_copy) else {
            *self = Self::default();
            return Standing::NoCopy;
        };
        self.log.push_back((asked, written.log));
        while let Some((moment, written)) = self.log.front() {
            let is_old = moment.elapsed() > 2 * MAX_LAG;
            if *written <= replayed.log {
                self.fresh = Some(*moment);
            } else if !is_old {
                break;
            }
            self.log.pop_front();
        }
        if self.is_fresh() {
            Standing::Fresh
        } else {
            Standing::Late
        }
    }

    fn is_fresh(&self) -> bool {
        self.lag().is_some_and(|lag| lag <= MAX_LAG)
    }
}

/// A place in the log of a server that was once set up with this identifier.
#[derive(Debug, Clone, Copy)]
struct Position {
    system: i64,
    log: i64,
}

/// How much a standby has replayed, in bytes.
const REPLAYED: &str = "SELECT system_identifier, CASE WHEN pg_is_in_recovery() \
                        THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END FROM pg_control_system()";
/// How much a primary has written, in bytes.
const WRITTEN: &str = "SELECT system_identifier, CASE WHEN NOT pg_is_in_recovery() \
                       THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END FROM pg_control_system()";

/// Where a server is in its log, if it is what is asked for; an error in words.
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
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
    }
}
