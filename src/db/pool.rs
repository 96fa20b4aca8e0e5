//! The connection pool of a database, which is replaced as a whole when its server does not respond, or another one is to be used.
//!
//! sqlx's pool waits for a response or an error. Behind a network that drops packets neither comes: the connections would
//! count as in use until each statement's timeout, and those that were just being released for 15 minutes, although new
//! connections may work.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement, Value,
    sea_query::ArrayType,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connect,
    health::Health,
    server::{Identity, Server},
    servers::Servers,
};
use crate::settings::DatabaseSettings;

/// The timeout of the first statement on new connections.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after a failed attempt.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// The pause before PostgreSQL is queried again for an active statement.
const WORK_PAUSE: Duration = Duration::from_secs(2);
/// The timeout for closing the old connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The connections to one database.
#[derive(Debug, Clone)]
pub enum Pool {
    /// Connections that are not replaced.
    Fixed(Arc<DatabaseConnection>),
    /// Connections to PostgreSQL for serving requests.
    Renewable {
        /// The connections.
        connections: Arc<Renewable>,
        /// The task that replaces them.
        _renewing: Arc<AbortOnDropHandle<()>>,
    },
}

impl Pool {
    /// Connections that are not replaced.
    pub fn fixed(connections: DatabaseConnection) -> Self {
        Self::Fixed(Arc::new(connections))
    }

    /// Connections to PostgreSQL for serving requests.
    ///
    /// # Errors
    /// When the settings are invalid; whether the server is reachable shows with the first statement.
    pub async fn renewable(
        settings: &DatabaseSettings,
        servers: &Servers,
        health: &Health,
    ) -> Result<Self, DbErr> {
        let url = servers.url();
        let connections = connect::requests(&url, settings, health).await?;
        let renewable = Arc::new(Renewable {
            current: ArcSwap::from_pointee(Current {
                connections: Arc::new(connections),
                url,
                identity: None,
            }),
            settings: settings.clone(),
            health: health.clone(),
            servers: servers.clone(),
        });
        let renewing = renew(renewable.clone());
        let renewing = AbortOnDropHandle::new(tokio::spawn(renewing));
        Ok(Self::Renewable {
            connections: renewable,
            _renewing: Arc::new(renewing),
        })
    }

    /// Replaces the connections if another server is to be used.
    pub fn follow(&self) -> BoxFuture<'_, ()> {
        match self {
            Self::Renewable { connections, .. } => Box::pin(connections.follow()),
            Self::Fixed(_) => Box::pin(std::future::ready(())),
        }
    }

    /// The connections for the next statement.
    pub fn get(&self) -> Arc<DatabaseConnection> {
        match self {
            Self::Fixed(connections) => connections.clone(),
            Self::Renewable { connections, .. } => connections.current.load().connections.clone(),
        }
    }
}

/// The connections in use.
#[derive(Debug)]
struct Current {
    connections: Arc<DatabaseConnection>,
    url: SecretString,
    /// The server, once it is known.
    identity: Option<Identity>,
}

/// Connections to PostgreSQL that are replaced as a whole.
#[derive(Debug)]
pub struct Renewable {
    current: ArcSwap<Current>,
    settings: DatabaseSettings,
    health: Health,
    servers: Servers,
}

impl Renewable {
    /// Replaces the connections if another server is to be used.
    async fn follow(&self) {
        let Some(Server { url, identity }) = self.servers.current() else {
            return;
        };
        let current = self.current.load_full();
        let is_same_url = current.url.expose_secret() == url.expose_secret();
        match &current.identity {
            Some(known) if is_same_url && *known == identity => {}
            None if is_same_url => {
                let connections = current.connections.clone();
                self.current.store(Arc::new(Current {
                    connections,
                    url,
                    identity: Some(identity),
                }));
            }
            // The settings have been used before.
            _ => {
                let new = connect::requests(&url, &self.settings, &self.health).await;
                if let Ok(connections) = new {
                    self.put(connections, url, Some(identity));
                }
            }
        }
    }

    fn put(&self, connections: DatabaseConnection, url: SecretString, identity: Option<Identity>) {
        let old = self.current.swap(Arc::new(Current {
            connections: Arc::new(connections),
            url,
            identity,
        }));
        self.health.renewed();
        // Waiting requests get an error at once and retry on the new pool; active statements may finish.
        tokio::spawn(async move {
            tokio::time::timeout(CLOSE_TIMEOUT, old.connections.close_by_ref()).await
        });
    }
}

/// Replaces the connections when another server is to be used, and when no statement has got a response for a while: then tries new ones
/// until one works, unless PostgreSQL is still executing a statement of theirs.
async fn renew(renewable: Arc<Renewable>) {
    let mut server = renewable.servers.subscribe();
    loop {
        tokio::select! {
            () = renewable.health.suspected() => replace_unresponsive(&renewable).await,
            _ = server.changed() => renewable.follow().await,
        }
    }
}

async fn replace_unresponsive(renewable: &Renewable) {
    let health = &renewable.health;
    while health.is_unreachable() {
        let processes = health.known_processes();
        match reconnect(renewable, processes).await {
            Ok(Some((new, server))) => {
                renewable.put(new, server.url, Some(server.identity));
                tracing::warn!("the database did not answer: its connections have been replaced");
                return;
            }
            // A slow statement, and a working connection.
            Ok(None) => tokio::time::sleep(WORK_PAUSE).await,
            // It has been logged.
            Err(_) => tokio::time::sleep(TRY_PAUSE).await,
        }
    }
}

/// New connections, on which a statement has succeeded; none if one of the processes is executing a statement.
async fn reconnect(
    renewable: &Renewable,
    processes: Vec<i32>,
) -> Result<Option<(DatabaseConnection, Server)>, DbErr> {
    let late = |_| DbErr::Conn(RuntimeErr::Internal("no answer in time".to_owned()));
    renewable.servers.compare().await?;
    let server = renewable.servers.current();
    let server = server.ok_or_else(|| DbErr::Conn(RuntimeErr::Internal("no server".to_owned())))?;
    let new = connect::requests(&server.url, &renewable.settings, &renewable.health).await?;
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
    Ok((!is_active).then_some((new, server)))
}
