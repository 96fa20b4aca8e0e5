//! The deployment: PostgreSQL with a standby, Redis, three replicas and a load balancer.

use std::{fs, net::TcpStream, time::Duration};

use tempfile::TempDir;

use super::{
    engine::{Container, Network, SERVICES, Volume, docker},
    manifests::Manifests,
};
use crate::support::{
    app::PASSWORD,
    http::{get, metric, status, wait_until},
    voters::{Tally, Voters},
};

/// How long anything may take that is waited for.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// PostgreSQL alone.
pub struct Backend {
    pub primary: Container,
    pub manifests: Manifests,
    pub data: Volume,
    pub back: Network,
}

impl Backend {
    /// Starts it on an empty volume, as the server that has a standby.
    pub fn start() -> Self {
        let manifests = Manifests::render();
        let data = Volume::new("data");
        let args = manifests.pod("StatefulSet", "polls-backend", Some(&data));
        Self::with(manifests, data, &args)
    }

    /// Starts it on an empty volume, as the only server.
    pub fn alone() -> Self {
        let manifests = Manifests::render();
        let data = Volume::new("data");
        let args = manifests.alone("StatefulSet", "polls-backend", &data);
        Self::with(manifests, data, &args)
    }

    fn with(manifests: Manifests, data: Volume, args: &[String]) -> Self {
        let back = Network::new("back");
        let names = manifests.names("StatefulSet", "polls-backend");
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let primary = Container::start("polls-backend-0", &[(&back, &names)], args);
        wait_for_postgres(&primary);
        Self {
            primary,
            manifests,
            data,
            back,
        }
    }

    /// The Job that migrates, on its way.
    pub fn begin_to_migrate(&self) -> Container {
        let args = self.manifests.pod("Job", "polls-config", None);
        Container::start("migrate", &[(&self.back, &[])], &args)
    }

    /// Migrates.
    pub fn migrate(&self) {
        let job = self.begin_to_migrate();
        assert_eq!(docker(&["wait", &job.name]), "0", "{}", job.log());
    }
}

/// One pod of a workload, under the names of its Services.
fn service(
    manifests: &Manifests,
    network: &Network,
    kind: &str,
    name: &str,
    data: Option<&Volume>,
) -> Container {
    let names = manifests.names(kind, name);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let args = manifests.pod(kind, name, data);
    Container::start(&format!("{name}-0"), &[(network, &names)], &args)
}

/// Waits until the pod's probe succeeds.
pub fn wait_for_postgres(server: &Container) {
    wait_until(TIMEOUT, || {
        let probe = ["sh", "/etc/polls-postgres/probe.sh", "ready"];
        server.exec_with(&probe, "").status.success()
    });
}

/// Waits until votes go on being taken.
pub fn goes_on(voters: &Voters) {
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 100, TIMEOUT);
}

/// Asserts that no acknowledged vote is lost, and none is counted twice.
#[track_caller]
pub fn assert_all_counted(tally: &Tally, votes: i64) {
    let failed = tally.iter().filter(|(status, _)| **status != 302);
    let unknown: i64 = failed.map(|(_, count)| count).sum();
    let possible = tally[&302]..=tally[&302] + unknown;
    assert!(possible.contains(&votes), "{votes} votes, {tally:?}");
}

/// All of it. What stands first ends first.
pub struct Deployment {
    pub balancer: Container,
    pub web: Vec<Container>,
    pub redis: Container,
    pub standby: Container,
    _standby_data: Volume,
    pub backend: Backend,
    pub front: Network,
    _folder: TempDir,
}

impl Deployment {
    /// Starts it, migrates, adds the example polls and the superuser `admin`.
    pub fn start() -> Self {
        let backend = Backend::start();
        let (manifests, back) = (&backend.manifests, &backend.back);
        let standby_data = Volume::new("standby");
        let standby = service(
            manifests,
            back,
            "StatefulSet",
            "polls-standby",
            Some(&standby_data),
        );
        let redis = service(manifests, back, "Deployment", "polls-redis", None);
        backend.migrate();
        wait_for_postgres(&standby);
        let front = Network::new("front");
        let web: Vec<_> = (1..=3)
            .map(|number| replica(&backend, &front, number))
            .collect();
        let superuser = format!(
            "DJANGO_SUPERUSER_USERNAME=admin\nDJANGO_SUPERUSER_EMAIL=admin@example.com\nDJANGO_SUPERUSER_PASSWORD={PASSWORD}\n"
        );
        for (command, input) in [
            (&["polls", "seed"][..], ""),
            (
                &[
                    "polls",
                    "--env-file",
                    "/dev/stdin",
                    "createsuperuser",
                    "--noinput",
                ],
                &superuser,
            ),
        ] {
            let output = web[0].exec_with(command, input);
            assert!(output.status.success(), "{output:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let balancer = balancer(&front, &folder);
        let deployment = Self {
            balancer,
            web,
            redis,
            standby,
            _standby_data: standby_data,
            backend,
            front,
            _folder: folder,
        };
        for web in &deployment.web {
            deployment.wait_until_ready(web);
            wait_until(TIMEOUT, || {
                let is_in_use = |name| deployment.metric(web, name) > 0.0;
                is_in_use("polls_replica_in_use") && is_in_use("polls_cache_in_use")
            });
        }
        wait_until(TIMEOUT, || is_served(&deployment.address(), "/polls/"));
        deployment
    }

    /// The address of the load balancer.
    pub fn address(&self) -> String {
        self.balancer.address(&self.front, 8080)
    }

    /// Where one replica is.
    pub fn address_of(&self, web: &Container) -> String {
        web.address(&self.front, 8000)
    }

    /// Starts another replica; the load balancer is configured for six.
    pub fn add_replica(&mut self, number: usize) {
        self.web.push(replica(&self.backend, &self.front, number));
        self.wait_until_ready(self.web.last().unwrap());
    }

    /// Whether a replica is ready.
    pub fn is_ready(&self, web: &Container) -> bool {
        is_served(&self.address_of(web), "/readyz")
    }

    pub fn wait_until_ready(&self, web: &Container) {
        wait_until(TIMEOUT, || self.is_ready(web));
    }

    pub fn metric(&self, web: &Container, name: &str) -> f64 {
        metric(&web.address(&self.front, 9000), name)
    }

    /// How often the choice has been voted for that all vote for.
    pub fn votes(&self) -> i64 {
        votes_at(&self.backend.primary)
    }
}

/// The same at one server.
pub fn votes_at(server: &Container) -> i64 {
    let query = "SELECT votes FROM polls_app_choice WHERE id = 1";
    server.sql(query).parse().unwrap()
}

/// Whether a page is served; a container that has just been started may not listen yet.
fn is_served(address: &str, path: &str) -> bool {
    TcpStream::connect(address).is_ok() && status(&get(address, path, "")) == 200
}

fn replica(backend: &Backend, front: &Network, number: usize) -> Container {
    let args = backend.manifests.pod("Deployment", "polls", None);
    let name = format!("web-{number}");
    Container::start(&name, &[(front, &[&name]), (&backend.back, &[])], &args)
}

/// Balances the load among the replicas that are ready.
fn balancer(front: &Network, folder: &TempDir) -> Container {
    let mut config = "defaults\n mode http\n timeout connect 2s\n timeout client 60s\n timeout server 60s\n option redispatch\n \
                      retries 3\n\
                      resolvers docker\n nameserver docker 127.0.0.11:53\n hold valid 1s\n hold nx 1s\n hold timeout 1s\n \
                      timeout resolve 1s\n timeout retry 1s\n\
                      frontend visitors\n bind :8080\n default_backend polls\n\
                      backend polls\n balance roundrobin\n option forwardfor\n option httpchk GET /readyz\n \
                      default-server check inter 500ms fall 2 rise 1 resolvers docker init-addr none\n"
        .to_owned();
    for number in 1..=6 {
        config += &format!(" server web-{number} web-{number}:8000\n");
    }
    fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
    let args = [
        "--read-only",
        "--volume",
        &format!("{}:/etc/balancer:ro", folder.path().display()),
        SERVICES,
        "haproxy",
        "-W",
        "-db",
        "-f",
        "/etc/balancer/haproxy.cfg",
    ];
    Container::start("balancer", &[(front, &[])], &args.map(str::to_owned))
}
