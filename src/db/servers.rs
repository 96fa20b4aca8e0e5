//! The servers of PostgreSQL that the settings name, and which of them is used: for changes the primary, of several primaries the one
//! of the newest timeline.
//!
//! After a failover a former primary may return, writable and without the votes since. A server that is older than one that has been
//! seen is therefore not used, and where the settings name several servers all are compared.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::server::{Found, Identity, Newest, NoServer, Role, Server, Timeline, find};
use crate::settings::DatabaseSettings;

/// The time from one comparison of the servers to the next.
const PERIOD: Duration = Duration::from_secs(5);
/// The same while no server is as wanted.
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// The timeout for a connection to a server and its identity, while requests are served.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The labels of the metric that names the server which changes go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServerLabels {
    server: String,
    timeline: u32,
}

/// The metrics of the servers.
#[derive(Debug, Clone, Default)]
pub struct ServerCounters {
    /// 1 for the server that changes go to.
    pub in_use: Family<ServerLabels, Gauge>,
    /// How often another server has been chosen.
    pub changes: Counter,
    /// Connections to servers older than one that has been seen.
    pub stale: Counter,
}

/// The servers, which are compared from time to time, and the connections that are replaced when another one has to be used.
#[derive(Debug, Clone)]
pub struct Servers {
    shared: Arc<Shared>,
    _comparing: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    settings: DatabaseSettings,
    role: Role,
    newest: Newest,
    current: watch::Sender<Option<Server>>,
    /// When the last comparison began.
    compared: tokio::sync::Mutex<Option<Instant>>,
    /// The last error that was logged, and since when there is no server.
    failed: Mutex<Option<(String, Instant)>>,
    /// The other primaries that were logged.
    other_primaries: Mutex<Vec<String>>,
    wanted: Arc<Notify>,
    counters: ServerCounters,
}

/// Whether a timeline is a later one of the same cluster.
fn follows(timeline: Option<Timeline>, before: Option<Timeline>) -> bool {
    timeline
        .zip(before)
        .is_some_and(|(timeline, before)| timeline.follows(before))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Servers {
    /// Compares the servers from now on. Where there are several, returns after the first comparison, whatever its result.
    pub async fn start(settings: &DatabaseSettings, role: Role) -> Self {
        let counters = ServerCounters::default();
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            role,
            newest: Newest::counting(counters.stale.clone()),
            current: watch::Sender::new(None),
            compared: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            other_primaries: Mutex::default(),
            wanted: Arc::default(),
            counters,
        });
        if settings.urls.len() > 1 {
            let _ = shared.compare().await;
        }
        let comparing = shared.clone().run();
        Self {
            _comparing: Arc::new(AbortOnDropHandle::new(tokio::spawn(comparing))),
            shared,
        }
    }

    /// The address of the server in use; before the first comparison, of the first one.
    pub fn url(&self) -> SecretString {
        let current = self.shared.current.borrow();
        current.as_ref().map_or_else(
            || self.shared.settings.candidates()[0][0].clone(),
            |server| server.url.clone(),
        )
    }

    /// Tells when another server is used from now on.
    pub fn subscribe(&self) -> watch::Receiver<Option<Server>> {
        self.shared.current.subscribe()
    }

    /// The server in use; none before the first comparison.
    pub fn current(&self) -> Option<Server> {
        self.shared.current.borrow().clone()
    }

    /// Compares the servers now.
    ///
    /// # Errors
    /// When no server can be used.
    // Boxed: it would make the types of all statements deeper.
    pub fn compare(&self) -> BoxFuture<'_, Result<(), NoServer>> {
        Box::pin(self.shared.compare())
    }

    /// Requests a comparison, by [`Notify::notify_one`].
    pub fn wanted(&self) -> Arc<Notify> {
        self.shared.wanted.clone()
    }

    /// Whether the server in use is a standby: none takes changes.
    pub fn is_standby(&self) -> bool {
        let current = self.shared.current.borrow();
        current
            .as_ref()
            .is_some_and(|server| server.identity.is_standby)
    }

    /// The newest timeline that has been seen.
    pub fn newest(&self) -> Newest {
        self.shared.newest.clone()
    }

    /// The metrics.
    pub fn counters(&self) -> &ServerCounters {
        &self.shared.counters
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        loop {
            let is_settled = self.compare().await.is_ok() && self.is_as_wanted();
            let pause = if is_settled { PERIOD } else { RETRY_PERIOD };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn is_as_wanted(&self) -> bool {
        let is_standby = self.role == Role::Standby;
        self.current
            .borrow()
            .as_ref()
            .is_some_and(|server| server.identity.is_standby == is_standby)
    }

    /// One comparison at a time; one that began after this call serves it, too.
    async fn compare(&self) -> Result<(), NoServer> {
        let called = Instant::now();
        let mut compared = self.compared.lock().await;
        if compared.is_some_and(|began| began > called) {
            return Ok(());
        }
        let began = Instant::now();
        let found = find(&self.settings, self.role, &self.newest, TIMEOUT).await;
        *compared = Some(began);
        match found {
            Ok(Found {
                server,
                other_primaries,
            }) => {
                if self.role == Role::Primary {
                    self.note_primaries(&server.identity, other_primaries);
                }
                self.use_server(server);
                Ok(())
            }
            Err(no_server) => {
                self.counters.in_use.clear();
                self.note_failure(&no_server);
                Err(no_server)
            }
        }
    }

    fn use_server(&self, server: Server) {
        if let Some((_, since)) = lock(&self.failed).take() {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(
                "the database at {} is reached again after {seconds:.1} s",
                self.settings.display()
            );
        }
        self.measure(&server.identity);
        let before = self.current.borrow().clone();
        if before.as_ref().is_some_and(|before| before.is(&server)) {
            return;
        }
        self.log(
            &server.identity,
            before.as_ref().map(|before| &before.identity),
        );
        if before.is_some() {
            self.counters.changes.inc();
        }
        self.current.send_replace(Some(server));
    }

    /// The metric names the server that changes go to, if there is one.
    fn measure(&self, server: &Identity) {
        let labels = ServerLabels {
            server: server.name.clone(),
            timeline: server.timeline.map_or(0, |timeline| timeline.number),
        };
        let in_use = &self.counters.in_use;
        if server.is_standby || in_use.get(&labels).is_none() {
            in_use.clear();
        }
        if !server.is_standby {
            in_use.get_or_create(&labels).set(1);
        }
    }

    /// Counts the other primaries, and logs them when they are others than before.
    fn note_primaries(&self, server: &Identity, others: Vec<String>) {
        let mut known = lock(&self.other_primaries);
        if !others.is_empty() && *known != others {
            let (name, others) = (&server.name, others.join(", "));
            tracing::warn!("there are other primaries than {name}, which are not used: {others}");
        }
        *known = others;
    }

    fn log(&self, server: &Identity, before: Option<&Identity>) {
        let Identity {
            is_standby,
            timeline,
            name,
        } = server;
        let number = timeline.map_or(0, |timeline| timeline.number);
        match (self.role, is_standby) {
            (Role::Primary, false) => {
                tracing::info!("changes go to the server {name}, timeline {number}");
                if let Some(before) = before.filter(|before| follows(*timeline, before.timeline)) {
                    let before = &before.name;
                    tracing::warn!(
                        "what {before} has taken since timeline {number} began is not on {name}"
                    );
                }
            }
            (Role::Primary, true) => {
                tracing::warn!("no server takes changes: {name} is a standby, and is read from")
            }
            (Role::Standby, _) => tracing::debug!("the replica is the server {name}"),
        }
    }

    fn note_failure(&self, no_server: &NoServer) {
        let reason = no_server.to_string();
        let mut failed = lock(&self.failed);
        let since = failed
            .as_ref()
            .map_or_else(Instant::now, |(_, since)| *since);
        if failed.as_ref().is_none_or(|(logged, _)| *logged != reason) {
            let database = self.settings.display();
            tracing::warn!(
                "the database at {database} does not answer: {}",
                reason.escape_debug()
            );
            *failed = Some((reason, since));
        }
    }
}
