//! Docker: networks and containers that end with the test.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// What `scripts/e2e` has built.
pub const IMAGE: &str = "polls:e2e";
/// PostgreSQL, Redis and haproxy.
pub const SERVICES: &str = "polls-standin/services";

/// Runs the client; what it says, if it succeeds.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    let output = try_docker(args, "");
    assert!(
        output.status.success(),
        "docker {args:?}: {}\n(scripts/e2e prepares what these tests need)",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs the client with something to read.
pub fn try_docker(args: &[&str], input: &str) -> Output {
    let mut client = Command::new("docker")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("docker is not installed: run scripts/e2e");
    // The server may have closed the connection.
    let _ = client.stdin.take().unwrap().write_all(input.as_bytes());
    client.wait_with_output().unwrap()
}

/// A name that no other test has.
pub fn unique(label: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("polls-e2e-{}-{number}-{label}", std::process::id())
}

/// A network that reaches nothing else.
pub struct Network(pub String);

impl Network {
    pub fn new(label: &str) -> Self {
        let name = unique(label);
        docker(&["network", "create", "--internal", &name]);
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        try_docker(&["network", "rm", &self.0], "");
    }
}

/// A place for files that outlives its container.
pub struct Volume(pub String);

impl Volume {
    pub fn new(label: &str) -> Self {
        let name = unique(label);
        docker(&["volume", "create", &name]);
        Self(name)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        try_docker(&["volume", "rm", "-f", &self.0], "");
    }
}

/// A container, and how it is called on each of its networks.
pub struct Container {
    pub name: String,
    networks: BTreeMap<String, Vec<String>>,
}

impl Container {
    /// Starts one on some networks, under some names there.
    pub fn start(label: &str, networks: &[(&Network, &[&str])], args: &[String]) -> Self {
        let name = unique(label);
        let mut all = vec!["create".to_owned(), "--name".to_owned(), name.clone()];
        all.extend(["--hostname".to_owned(), label.to_owned()]);
        all.extend(["--network".to_owned(), "none".to_owned()]);
        all.extend_from_slice(args);
        docker(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut container = Self {
            name,
            networks: BTreeMap::new(),
        };
        docker(&["network", "disconnect", "none", &container.name]);
        for (network, aliases) in networks {
            container.connect(network, aliases);
        }
        docker(&["start", &container.name]);
        container
    }

    /// Joins a network, under these names.
    pub fn connect(&mut self, network: &Network, aliases: &[&str]) {
        let mut args = vec!["network", "connect"];
        for alias in aliases {
            args.extend(["--alias", alias]);
        }
        args.extend([network.0.as_str(), self.name.as_str()]);
        docker(&args);
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        self.networks.insert(network.0.clone(), aliases);
    }

    /// Is cut off from a network.
    pub fn disconnect(&mut self, network: &Network) {
        docker(&["network", "disconnect", &network.0, &self.name]);
    }

    /// Comes back to a network under its old names.
    pub fn reconnect(&mut self, network: &Network) {
        let aliases = self.networks[&network.0].clone();
        let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
        self.connect(network, &aliases);
    }

    /// What docker can do to it: `kill`, `pause`, `unpause`, `stop`, `start`.
    #[track_caller]
    pub fn act(&self, verb: &str) {
        docker(&[verb, &self.name]);
    }

    /// A command inside; what it says.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> String {
        docker(&[&["exec", &self.name], command].concat())
    }

    /// A command inside, with something to read.
    pub fn exec_with(&self, command: &[&str], input: &str) -> Output {
        try_docker(&[&["exec", "-i", &self.name], command].concat(), input)
    }

    /// What PostgreSQL answers.
    #[track_caller]
    pub fn sql(&self, query: &str) -> String {
        let psql = ["psql", "-h", "/tmp", "-U", "postgres", "-d", "polls"];
        self.exec(&[&psql[..], &["-v", "ON_ERROR_STOP=1", "-qAtc", query]].concat())
    }

    /// What PostgreSQL answers, if it does.
    pub fn try_sql(&self, query: &str) -> Option<String> {
        let psql = [
            "psql", "-h", "/tmp", "-U", "postgres", "-d", "polls", "-qAtc", query,
        ];
        let output = self.exec_with(&psql, "");
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(answer)
    }

    /// The folder of this machine that is mounted there.
    pub fn source_of(&self, destination: &str) -> String {
        let format = format!(
            "{{{{range .Mounts}}}}{{{{if eq .Destination \"{destination}\"}}}}{{{{.Source}}}}{{{{end}}}}{{{{end}}}}"
        );
        self.inspect(&format)
    }

    /// A field of `docker inspect`.
    pub fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "-f", format, &self.name])
    }

    /// Where a port of it is, as seen from this machine.
    pub fn address(&self, network: &Network, port: u16) -> String {
        let format = format!(
            "{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}",
            network.0
        );
        format!("{}:{port}", self.inspect(&format))
    }

    /// What it has said.
    pub fn log(&self) -> String {
        let output = try_docker(&["logs", &self.name], "");
        let (out, err) = (&output.stdout, &output.stderr);
        String::from_utf8_lossy(out).into_owned() + &*String::from_utf8_lossy(err)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let start = log.len().saturating_sub(3000);
            let start = (start..log.len()).find(|at| log.is_char_boundary(*at));
            eprintln!("== {}\n{}", self.name, &log[start.unwrap_or_default()..]);
        }
        try_docker(&["rm", "-f", "-v", &self.name], "");
    }
}
