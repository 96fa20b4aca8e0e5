//! A PostgreSQL server for this run alone: its files in a fresh folder, on a free port of the loopback address, ended
//! when the run ends, however it ends.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tempfile::TempDir;

/// The server. The child is a shell that holds it; it ends the server as soon as its standard input is closed.
pub struct Postgres {
    pub port: u16,
    _keeper: Child,
}

/// Starts the server at the first call.
pub fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(start)
}

impl Postgres {
    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

#[expect(
    clippy::zombie_processes,
    reason = "the shell outlives the run by a moment, to clean up after it"
)]
fn start() -> Postgres {
    let programs = programs();
    let (folder, user) = own_folder();
    let folder = folder.keep();
    let data = folder.join("data");
    let port = free_port();
    let script = r#"
        $USER_PREFIX "$PROGRAMS/initdb" -D "$DATA" -A trust -U postgres -E UTF8 --locale=C --no-sync >"$FOLDER/initdb.log" 2>&1
        $USER_PREFIX "$PROGRAMS/postgres" -D "$DATA" -p "$PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
            -c fsync=off -c max_connections=300 >"$FOLDER/postgres.log" 2>&1 &
        server=$!
        read -r _
        kill -INT $server
        wait $server
        rm -rf "$FOLDER"
    "#;
    let keeper = Command::new("sh")
        .args(["-c", script])
        .env("USER_PREFIX", user.join(" "))
        .env("PROGRAMS", &programs)
        .env("DATA", &data)
        .env("FOLDER", &folder)
        .env("PORT", port.to_string())
        .current_dir("/")
        // Out of reach of a CONTROL-C on the terminal: the keeper ends by its input, and cleans up.
        .process_group(0)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..600 {
        let ready = Command::new(programs.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status();
        if ready.is_ok_and(|status| status.success()) {
            return Postgres {
                port,
                _keeper: keeper,
            };
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = fs::read_to_string(folder.join("postgres.log")).unwrap_or_default();
    panic!("PostgreSQL did not start:\n{log}");
}

/// A folder that the server may write, and the words before a command that run it as the server's user: PostgreSQL
/// refuses to run as root, and then it runs as the user that Debian's package has made.
pub fn own_folder() -> (TempDir, &'static [&'static str]) {
    let folder = tempfile::Builder::new()
        .prefix("polls-postgres-")
        .tempdir()
        .unwrap();
    let is_root = fs::metadata("/proc/self")
        .map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
        .unwrap();
    if !is_root {
        return (folder, &[]);
    }
    let owned = Command::new("chown")
        .arg("postgres")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(
        owned.success(),
        "there is no user postgres: install the package postgresql (scripts/test does it)"
    );
    let user = &[
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
    ];
    (folder, user)
}

/// A port without a listener.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The folder with initdb and postgres: Debian keeps them off the PATH.
#[expect(
    clippy::disallowed_methods,
    reason = "PATH is no setting of the program"
)]
pub fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    versions.sort();
    versions.retain(|folder| folder.join("initdb").exists());
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let elsewhere = std::env::split_paths(&on_path)
        .find(|folder: &PathBuf| Path::new(folder).join("initdb").exists());
    versions
        .pop()
        .or(elsewhere)
        .expect("PostgreSQL is not installed: run scripts/test, which installs it")
}
