//! The connection pool of a database, which is replaced as a whole when the server does not respond.
//!
//! sqlx's pool waits for a response or an error. Behind a network that drops packets neither comes: the connections would
//! count as in use until each statement's timeout, and those that were just being released for 15 minutes, although new
//! connections may work.

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

/// The timeout of a new connection and its first statement.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after a failed attempt.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// The pause before PostgreSQL is queried again for an active statement.
const WORK_PAUSE: Duration = Duration::from_secs(2);
/// The timeout for closing the old connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The connections to one database.
#[derive(Debug, Clone)]
pub struct Pool {
    current: Arc<ArcSwap<DatabaseConnection>>,
    /// The task that replaces them.
    _renewing: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Pool {
    /// Connections that are not replaced.
    pub fn fixed(connections: DatabaseConnection) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(connections)),
            _renewing: None,
        }
    }

    /// Connections to PostgreSQL for serving requests.
    ///
    /// # Errors
    /// When the settings are invalid; whether the server is reachable shows with the first statement.
    pub async fn renewable(settings: &DatabaseSettings, health: &Health) -> Result<Self, DbErr> {
        let fixed = Self::fixed(connect::postgres(settings, Purpose::Requests, health).await?);
        let renewing = renew(fixed.current.clone(), settings.clone(), health.clone());
        let renewing = AbortOnDropHandle::new(tokio::spawn(renewing));
        Ok(Self {
            _renewing: Some(Arc::new(renewing)),
            ..fixed
        })
    }

    /// The connections for the next statement.
    pub fn get(&self) -> Arc<DatabaseConnection> {
        self.current.load_full()
    }
}

/// Whenever no statement has got a response for a while: tries new connections until one works, then replaces the old ones,
/// unless PostgreSQL is still executing a statement of theirs.
async fn renew(
    current: Arc<ArcSwap<DatabaseConnection>>,
    settings: DatabaseSettings,
    health: Health,
) {
    loop {
        health.suspected().await;
        let mut logged = None;
        while health.is_unreachable() {
            let processes = health.known_processes();
            match reconnect(&settings, &health, processes).await {
                Ok(Some(new)) => {
                    let old = current.swap(Arc::new(new));
                    health.renewed();
                    tracing::warn!(
                        "the database did not answer: its connections have been replaced"
                    );
                    // Waiting requests get an error at once and retry on the new pool; active statements may finish.
                    tokio::spawn(async move {
                        tokio::time::timeout(CLOSE_TIMEOUT, old.close_by_ref()).await
                    });
                    break;
                }
                // A slow statement, and a working connection.
                Ok(None) => tokio::time::sleep(WORK_PAUSE).await,
                Err(error) => {
                    let reason = error.to_string();
                    if logged.as_ref() != Some(&reason) {
                        let database = settings.display();
                        tracing::warn!(
                            "the database at {database} cannot be reached: {}",
                            reason.escape_debug()
                        );
                        logged = Some(reason);
                    }
                    tokio::time::sleep(TRY_PAUSE).await;
                }
            }
        }
    }
}

/// New connections, on which a statement has succeeded; none if one of the processes is executing a statement.
async fn reconnect(
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
    let is_active = asked.await.map_err(late)??.is_some();
    Ok((!is_active).then_some(new))
}
