//! The connection pool of a database, which is replaced as a whole when the server does not answer on it.
//!
//! The library's pool waits for an answer or an error. Behind a network that swallows everything neither comes: until each
//! statement's time is up, and for connections that were just being given back for a quarter of an hour, they would count as
//! in use although a new connection may long be answered.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement, Value,
    sea_query::ArrayType,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect::{self, Purpose},
    health::Health,
};
use crate::settings::DatabaseSettings;

/// How long a new connection has to show that there are answers again.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long after a failure the next is tried.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// How long PostgreSQL is left to a statement before it is asked again whether it is still at work on it.
const WORK_PAUSE: Duration = Duration::from_secs(2);
/// How long connections that are no longer used may take to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The connections to one database.
#[derive(Debug, Clone)]
pub struct Pool {
    current: Arc<ArcSwap<DatabaseConnection>>,
    /// Replaces them.
    _renewing: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Pool {
    /// Connections that stay.
    pub fn fixed(connections: DatabaseConnection) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(connections)),
            _renewing: None,
        }
    }

    /// Connections to PostgreSQL for serving requests.
    ///
    /// # Errors
    /// When the settings name no database; whether it is there shows with the first statement.
    pub async fn renewable(settings: &DatabaseSettings, health: &Health) -> Result<Self, DbErr> {
        let fixed = Self::fixed(connect::postgres(settings, Purpose::Requests, health).await?);
        let renewing = renew(fixed.current.clone(), settings.clone(), health.clone());
        let renewing = AbortOnDropHandle::new(tokio::spawn(renewing));
        Ok(Self {
            _renewing: Some(Arc::new(renewing)),
            ..fixed
        })
    }

    /// Those for the next statement.
    pub fn get(&self) -> Arc<DatabaseConnection> {
        self.current.load_full()
    }
}

/// Whenever no statement has been answered for a while: tries new connections until one is answered, then leaves the old ones,
/// unless PostgreSQL is still at work on what was asked on them.
async fn renew(
    current: Arc<ArcSwap<DatabaseConnection>>,
    settings: DatabaseSettings,
    health: Health,
) {
    loop {
        health.suspected().await;
        let mut told = None;
        while health.is_unreachable() {
            let at_work = health.known_processes();
            match answering(&settings, &health, at_work).await {
                Ok(Some(new)) => {
                    let old = current.swap(Arc::new(new));
                    health.renewed();
                    tracing::warn!(
                        "the database did not answer: its connections have been replaced"
                    );
                    // Waiting requests get an error at once and retry on the new pool; running statements may finish.
                    tokio::spawn(async move {
                        tokio::time::timeout(CLOSE_TIMEOUT, old.close_by_ref()).await
                    });
                    break;
                }
                // Slow, and not dead.
                Ok(None) => tokio::time::sleep(WORK_PAUSE).await,
                Err(error) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        let database = settings.display();
                        tracing::warn!(
                            "the database at {database} cannot be reached: {}",
                            reason.escape_debug()
                        );
                        told = Some(reason);
                    }
                    tokio::time::sleep(TRY_PAUSE).await;
                }
            }
        }
    }
}

/// New connections, the first of which has been answered; none if one of the processes is at work.
async fn answering(
    settings: &DatabaseSettings,
    health: &Health,
    processes: Vec<i32>,
) -> Result<Option<DatabaseConnection>, DbErr> {
    let late = |_| DbErr::Conn(RuntimeErr::Internal("no answer in time".to_owned()));
    let tried = connect::try_postgres(settings);
    tokio::time::timeout(TRY_TIMEOUT, tried)
        .await
        .map_err(late)??;
    let new = connect::postgres(settings, Purpose::Requests, health).await?;
    let ask = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT 1 FROM pg_stat_activity WHERE pid = ANY($1) AND pid <> pg_backend_pid() AND state = 'active'",
        [Value::Array(
            ArrayType::Int,
            Some(Box::new(processes.into_iter().map(Value::from).collect())),
        )],
    );
    let asked = tokio::time::timeout(TRY_TIMEOUT, new.query_one_raw(ask));
    let is_at_work = asked.await.map_err(late)??.is_some();
    Ok((!is_at_work).then_some(new))
}
