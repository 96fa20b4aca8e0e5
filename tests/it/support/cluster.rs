//! A PostgreSQL server for one test, which the test may stop, pause and start again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::postgres::{free_port, own_folder, programs};

pub struct Cluster {
    data: PathBuf,
    _folder: Option<TempDir>,
    user: &'static [&'static str],
    pub port: u16,
    server: Option<Child>,
    options: Vec<String>,
}

impl Cluster {
    /// Makes one and starts it, with options as `max_connections=10`.
    pub fn new(options: &[&str]) -> Self {
        let (folder, user) = own_folder();
        let data = folder.path().join("data");
        Self::at(data, Some(folder), user, options)
    }

    /// Makes one whose files are in a world-writable folder.
    pub fn in_folder(folder: &Path, options: &[&str]) -> Self {
        let (_, user) = own_folder();
        Self::at(folder.join("data"), None, user, options)
    }

    fn at(
        data: PathBuf,
        folder: Option<TempDir>,
        user: &'static [&'static str],
        options: &[&str],
    ) -> Self {
        let mut cluster = Self {
            data,
            _folder: folder,
            user,
            port: free_port(),
            server: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        let made = cluster
            .command("initdb")
            .arg("-D")
            .arg(&cluster.data)
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        cluster.start();
        cluster
    }

    /// Makes a standby of it, which streams its log, and starts it.
    pub fn standby(&self) -> Self {
        let (folder, user) = own_folder();
        let mut standby = Self {
            data: folder.path().join("data"),
            _folder: Some(folder),
            user,
            port: free_port(),
            server: None,
            options: self.options.clone(),
        };
        let copied = standby
            .command("pg_basebackup")
            .arg("-D")
            .arg(&standby.data)
            .args([
                "-d",
                &self.url(),
                "-R",
                "-c",
                "fast",
                "-X",
                "stream",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
        standby.start();
        standby
    }

    /// Makes a standby the primary of a new timeline.
    pub fn promote(&self) {
        let promoted = self
            .command("pg_ctl")
            .args(["promote", "-w", "-D"])
            .arg(&self.data)
            .output()
            .unwrap();
        assert!(promoted.status.success(), "{promoted:?}");
    }

    /// Replaces `pg_hba.conf`, which is read when the server starts and by `pg_reload_conf()`.
    pub fn write_hba(&self, text: &str) {
        fs::write(self.data.join("pg_hba.conf"), text).unwrap();
    }

    pub fn url(&self) -> String {
        url(self.port)
    }

    fn command(&self, program: &str) -> Command {
        let program = programs().join(program);
        let mut command = match self.user {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.current_dir("/");
        command
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&mut self) {
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()])
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        let server = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn();
        self.server = Some(server.unwrap());
        for _ in 0..600 {
            let ready = Command::new(programs().join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("PostgreSQL did not start");
    }

    /// Starts the server again if it has ended by itself.
    pub fn start_again_if_ended(&mut self) {
        let server = self.server.as_mut().expect("it was started");
        if server.try_wait().unwrap().is_some() {
            self.start();
        }
    }

    /// Its log, with the options `logging_collector=on` and `log_filename=log`.
    pub fn log(&self) -> String {
        fs::read_to_string(self.data.join("log/log")).unwrap()
    }

    /// Ends the server: with `-INT` in order, with `-QUIT` as in a crash.
    pub fn stop(&mut self, signal: &str) {
        if let Some(mut server) = self.server.take() {
            send(signal, server.id());
            server.wait().unwrap();
        }
    }

    /// Lets all of its processes stand still.
    pub fn pause(&self) {
        self.signal_all("-STOP");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let server = self.server.as_ref().unwrap().id();
        let children = format!("/proc/{server}/task/{server}/children");
        for child in fs::read_to_string(children).unwrap().split_whitespace() {
            send(signal, child.parse().unwrap());
        }
        send(signal, server);
    }
}

/// The address of the database on a port of this machine.
pub fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

fn send(signal: &str, process: u32) {
    // A child may have ended meanwhile.
    let _ = Command::new("kill")
        .args([signal, &process.to_string()])
        .stderr(Stdio::null())
        .status();
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.resume();
            self.stop("-QUIT");
        }
    }
}
