//! A Redis server that the replicas share. It is optional: while it is not reachable, the database is used.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult, Script,
    aio::MultiplexedConnection,
};
use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::settings::CacheSettings;

/// The timeout of an operation: beyond it the database is faster.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(250);
/// The timeout of a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first pause after a failure; doubled each time that a new connection is soon lost again.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The cache, if one is configured.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    shared: Arc<Shared>,
    _reconnecting: Option<Arc<AbortOnDropHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// None while it is not reachable: no request waits for a connection.
    connection: Mutex<Option<MultiplexedConnection>>,
    lost: Notify,
    counters: CacheCounters,
}

/// The cache's metrics.
#[derive(Debug, Clone, Default)]
pub struct CacheCounters {
    /// 1 while it is in use.
    pub in_use: Gauge,
    /// Sessions found in the cache.
    pub hits: Counter,
    /// Sessions not found, or not looked up because of a failure.
    pub misses: Counter,
    /// Operations that failed or timed out.
    pub failures: Counter,
}

impl Cache {
    /// Begins to connect. Has to be called on a tokio runtime.
    ///
    /// # Panics
    /// When the address is invalid, which the settings prevent.
    pub fn start(settings: Option<&CacheSettings>) -> Self {
        let Some(settings) = settings else {
            return Self::default();
        };
        let client =
            Client::open(settings.url.expose_secret()).expect("the settings have read the address");
        let shared = Arc::new(Shared::default());
        let reconnecting = tokio::spawn(reconnect(client, shared.clone()));
        Self {
            shared,
            _reconnecting: Some(Arc::new(AbortOnDropHandle::new(reconnecting))),
        }
    }

    /// The metrics.
    pub fn counters(&self) -> &CacheCounters {
        &self.shared.counters
    }

    /// The value of a key.
    pub async fn get(&self, name: &str) -> Option<String> {
        let value: Option<Option<String>> = self.query(&Cmd::get(name)).await;
        value.flatten()
    }

    /// Sets a key with an expiry, unless it exists.
    pub async fn add(&self, name: &str, value: &str, time: Duration) {
        let mut command = redis::cmd("SET");
        command
            .arg(name)
            .arg(value)
            .arg("NX")
            .arg("PX")
            .arg(milliseconds(time));
        self.query::<()>(&command).await;
    }

    /// Sets a key with an expiry.
    pub async fn set(&self, name: &str, value: &str, time: Duration) {
        let mut command = redis::cmd("SET");
        command
            .arg(name)
            .arg(value)
            .arg("PX")
            .arg(milliseconds(time));
        self.query::<()>(&command).await;
    }

    /// The result of a script; `None` while the cache is not usable.
    pub async fn run(&self, script: &Script, names: &[String], numbers: &[i64]) -> Option<i64> {
        self.with(async |mut connection| {
            let mut invocation = script.prepare_invoke();
            for name in names {
                invocation.key(name);
            }
            for number in numbers {
                invocation.arg(*number);
            }
            invocation.invoke_async(&mut connection).await
        })
        .await
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        self.with(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    async fn with<T>(
        &self,
        action: impl AsyncFnOnce(MultiplexedConnection) -> RedisResult<T>,
    ) -> Option<T> {
        let connection = self.shared.connection().clone()?;
        match in_time(RESPONSE_TIMEOUT, action(connection)).await {
            Ok(response) => Some(response),
            Err(error) => {
                self.shared.disconnect(&error);
                None
            }
        }
    }
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops using the connection. Of concurrent failures one is logged.
    fn disconnect(&self, error: &RedisError) {
        if self.connection().take().is_some() {
            self.counters.in_use.set(0);
            self.counters.failures.inc();
            tracing::warn!(error = %error, "the cache is not used: the database is used instead");
            self.lost.notify_one();
        }
    }
}

/// Connects, and again whenever the connection is lost.
async fn reconnect(client: Client, shared: Arc<Shared>) {
    let mut is_logged = false;
    let mut pause = PAUSE;
    loop {
        match connect(&client).await {
            Ok(connection) => {
                let since = Instant::now();
                *shared.connection() = Some(connection);
                shared.counters.in_use.set(1);
                tracing::info!("the cache is in use");
                shared.lost.notified().await;
                is_logged = true;
                // A connection that fails soon must not be retried and logged at a high rate.
                pause = if since.elapsed() > MAX_PAUSE {
                    PAUSE
                } else {
                    (2 * pause).min(MAX_PAUSE)
                };
            }
            Err(error) if !is_logged => {
                tracing::warn!(error = %error, "the cache is not used: the database is used instead");
                is_logged = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
    }
}

/// A connection with timeouts.
async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    // The timeouts are this module's, here and for each operation.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut connection = in_time(CONNECT_TIMEOUT, connection).await?;
    let mut set = redis::cmd("SET");
    set.arg("polls:probe").arg(1).arg("NX").arg("PX").arg(1000);
    in_time(RESPONSE_TIMEOUT, set.query_async::<()>(&mut connection)).await?;
    let mut get = redis::cmd("GET");
    get.arg("polls:probe");
    in_time(RESPONSE_TIMEOUT, get.query_async::<()>(&mut connection)).await?;
    let script = Script::new("return 0");
    let run = script.prepare_invoke();
    in_time(RESPONSE_TIMEOUT, run.invoke_async::<i64>(&mut connection)).await?;
    Ok(connection)
}

async fn in_time<T>(
    time: Duration,
    response: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let late = || std::io::Error::from(std::io::ErrorKind::TimedOut).into();
    tokio::time::timeout(time, response)
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
