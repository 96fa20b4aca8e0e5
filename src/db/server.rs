//! A server of PostgreSQL: its identity, and the choice among several.

use std::{
    cmp::Reverse,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use prometheus_client::metrics::counter::Counter;
use sea_orm::{DbErr, RuntimeErr};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::failure::{is_login_refused, message, outage};
use crate::settings::{DatabaseSettings, display_host};

/// What a server is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes.
    Primary,
    /// Reads that may be stale.
    Standby,
}

/// A timeline of a database cluster. The one of a promoted standby is greater than that of the primary that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeline {
    /// The system identifier. Its upper 32 bits are the time of `initdb` in seconds (`BootStrapXLOG` in PostgreSQL's `xlog.c`), so
    /// that a cluster that was created later has a greater one.
    system: u64,
    /// The timeline's number (<https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES>).
    pub number: u32,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whether it is in recovery: read-only.
    pub is_standby: bool,
    /// The timeline that it writes; `None` for a standby, and where the role may not query it.
    pub timeline: Option<Timeline>,
    /// Its `cluster_name`, if it has one, and its address.
    pub name: String,
}

impl Identity {
    /// Queries it.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        type Row = (bool, Option<i64>, Option<String>, Option<String>, String);
        const QUERY: &str = "SELECT pg_is_in_recovery(), system_identifier, \
             CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END, \
             host(inet_server_addr()) || ':' || inet_server_port(), current_setting('cluster_name') FROM pg_control_system()";
        let row: Result<Row, sqlx::Error> = sqlx::query_as(QUERY).fetch_one(&mut *connection).await;
        let (is_standby, system, number, address, name) = match row {
            Ok(row) => row,
            // insufficient_privilege
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| code == "42501") =>
            {
                let query = sqlx::query_scalar("SELECT pg_is_in_recovery()");
                (
                    query.fetch_one(connection).await?,
                    None,
                    None,
                    None,
                    String::new(),
                )
            }
            Err(error) => return Err(error),
        };
        let number = number.and_then(|digits| u32::from_str_radix(&digits, 16).ok());
        let timeline = system.zip(number).map(|(system, number)| Timeline {
            system: system.cast_unsigned(),
            number,
        });
        let name = [name, address.unwrap_or_default()];
        let name: Vec<_> = name
            .iter()
            .filter(|part| !part.is_empty())
            .map(String::as_str)
            .collect();
        Ok(Self {
            is_standby,
            timeline,
            name: name.join(" at "),
        })
    }
}

/// A server that responds.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its address, with a password that it accepts.
    pub url: SecretString,
    /// What it says of itself.
    pub identity: Identity,
}

impl Timeline {
    /// Whether it is a later one of the same cluster.
    pub fn follows(self, other: Self) -> bool {
        self.system == other.system && self.number > other.number
    }
}

impl Server {
    /// Whether it is the same server in the same role, at the same address.
    pub fn is(&self, other: &Self) -> bool {
        self.identity == other.identity && self.url.expose_secret() == other.url.expose_secret()
    }
}

/// Why a server is not used.
#[derive(Debug)]
enum Refusal {
    /// It cannot be connected to.
    Error(DbErr),
    /// A newer timeline has been seen.
    Stale,
    /// Other servers are of another database cluster, and it is not the one in use.
    OtherCluster,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Stale => f.write_str(STALE),
            Self::OtherCluster => f.write_str(OTHER_CLUSTER),
        }
    }
}

/// The reason against servers of different clusters.
const OTHER_CLUSTER: &str = "the servers are of different database clusters";
/// The reason against a server that another one has replaced.
const STALE: &str = "it is a former primary: a newer timeline has been seen";

/// Why no server is used: of each the host and the reason.
#[derive(Debug)]
pub struct NoServer(Vec<(String, Refusal)>);

impl NoServer {
    /// The most important reason, without names and addresses.
    pub fn reason(&self) -> &'static str {
        let reasons = self.0.iter().map(|(_, refusal)| match refusal {
            Refusal::Stale => STALE,
            Refusal::OtherCluster => OTHER_CLUSTER,
            Refusal::Error(error) => outage(error),
        });
        let rank = |reason: &&str| [OTHER_CLUSTER, STALE].contains(reason);
        reasons.max_by_key(rank).unwrap_or_default()
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [(_, refusal)] => refusal.fmt(f),
            refusals => {
                let texts = refusals.iter().map(|(host, refusal)| match refusal {
                    // Without the kind of the error, which is the same for all.
                    Refusal::Error(error) => format!("{host}: {}", message(error)),
                    Refusal::Stale | Refusal::OtherCluster => format!("{host}: {refusal}"),
                });
                f.write_str(&texts.collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl From<NoServer> for DbErr {
    fn from(mut no_server: NoServer) -> Self {
        match (no_server.0.pop(), no_server.0.is_empty()) {
            (Some((_, Refusal::Error(error))), true) => error,
            (last, _) => {
                no_server.0.extend(last);
                Self::Conn(RuntimeErr::Internal(no_server.to_string()))
            }
        }
    }
}

/// The servers that respond.
#[derive(Debug)]
pub struct Found {
    /// The one to use.
    pub server: Server,
    /// The hosts of others that take changes, too: former primaries, and those of another cluster.
    pub other_primaries: Vec<String>,
}

/// The server to use, when each has been asked for `timeout` at most: the primary of the newest timeline, or a standby if that is
/// wanted; without one, a server of the other role. A primary older than `newest` is none; that of the newest timeline is recorded there.
/// Among several servers, those of another cluster than the one in use are none; before one is in use, none is if they differ.
///
/// # Errors
/// When no server can be used.
pub async fn find(
    settings: &DatabaseSettings,
    role: Role,
    newest: &Newest,
    timeout: Duration,
) -> Result<Found, NoServer> {
    let candidates = settings.candidates();
    let asked = candidates.iter().map(|urls| async move {
        let host = display_host(&urls[0]);
        let server = tokio::time::timeout(timeout, ask(urls)).await;
        let late = |_| {
            Err(DbErr::Conn(RuntimeErr::Internal(
                "no answer in time".to_owned(),
            )))
        };
        (host, server.unwrap_or_else(late))
    });
    let (mut servers, mut refusals) = (Vec::new(), Vec::new());
    let answers = join_all(asked).await;
    let system = |server: &Server| server.identity.timeline.map(|timeline| timeline.system);
    let mut systems: Vec<_> = answers
        .iter()
        .filter_map(|(_, answer)| system(answer.as_ref().ok()?))
        .collect();
    systems.extend(
        newest
            .get()
            .filter(|_| answers.len() > 1)
            .map(|known| known.system),
    );
    let are_different = systems.windows(2).any(|two| two[0] != two[1]);
    let known = newest.get().map(|known| known.system);
    for (host, answer) in answers {
        match answer {
            Err(error) => refusals.push((host, Refusal::Error(error))),
            Ok(server)
                if are_different && system(&server).is_some_and(|own| known != Some(own)) =>
            {
                refusals.push((host, Refusal::OtherCluster));
            }
            Ok(server) if newest.check(&server.identity).is_err() => {
                refusals.push((host, Refusal::Stale));
            }
            Ok(server) => servers.push((host, server)),
        }
    }
    let rank = |(_, server): &(String, Server)| {
        let is_wanted = server.identity.is_standby == (role == Role::Standby);
        (is_wanted, server.identity.timeline)
    };
    // Of equal ones the first.
    servers.sort_by_key(|server| Reverse(rank(server)));
    let mut servers = servers.into_iter();
    let Some((_, server)) = servers.next() else {
        return Err(NoServer(refusals));
    };
    let primaries = servers.filter(|(_, server)| !server.identity.is_standby);
    let refused = refusals
        .into_iter()
        .filter(|(_, refusal)| !matches!(refusal, Refusal::Error(_)));
    let other_primaries = primaries
        .map(|(host, _)| host)
        .chain(refused.map(|(host, _)| host));
    Ok(Found {
        other_primaries: other_primaries.collect(),
        server,
    })
}

/// Connects to a server at one of its addresses, which differ in the password, and queries its identity.
async fn ask(urls: &[SecretString]) -> Result<Server, DbErr> {
    let failed = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let mut urls = urls.iter().peekable();
    loop {
        let url = urls.next().expect("there is one address at least");
        let options: PgConnectOptions = url.expose_secret().parse().map_err(failed)?;
        let options = without_brackets(options);
        let mut connection = match options.connect().await.map_err(failed) {
            Err(error) if is_login_refused(&error) && urls.peek().is_some() => continue,
            connection => connection?,
        };
        let mut identity = Identity::of(&mut connection).await.map_err(failed)?;
        if identity.name.is_empty() {
            identity.name = options.get_host().to_owned();
        }
        drop(connection.close().await);
        let url = url.clone();
        return Ok(Server { url, identity });
    }
}

/// sqlx takes the brackets around an IPv6 address for a part of it.
pub fn without_brackets(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => {
            let address = address.to_owned();
            options.host(&address)
        }
        None => options,
    }
}

/// The newest timeline that has been seen.
#[derive(Debug, Clone, Default)]
pub struct Newest {
    timeline: Arc<Mutex<Option<Timeline>>>,
    stale: Counter,
}

impl Newest {
    /// One that counts the servers which it refuses.
    pub fn counting(stale: Counter) -> Self {
        Self {
            timeline: Arc::default(),
            stale,
        }
    }

    /// The timeline, if one has been seen.
    fn get(&self) -> Option<Timeline> {
        *self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what a server says of itself.
    ///
    /// # Errors
    /// When it is a former primary.
    pub fn check(&self, identity: &Identity) -> Result<(), sqlx::Error> {
        let newest = self.timeline.lock();
        let mut newest = newest.unwrap_or_else(PoisonError::into_inner);
        if identity.timeline.is_some() && identity.timeline < *newest {
            self.stale.inc();
            return Err(sqlx::Error::Protocol(STALE.to_owned()));
        }
        *newest = (*newest).max(identity.timeline);
        Ok(())
    }
}
