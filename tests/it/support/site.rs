//! A deployment: the built binary in an empty folder, with a database of its own and nothing in the environment but what
//! the test gives.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rexpect::session::PtySession;

use sea_orm::{ConnectionTrait, Statement};

use super::{Backend, TestDatabase, app::PASSWORD};

pub const SECRET_KEY: &str = "0Ei3nVd8yq4hTzr1KxLw7uGb2mPfCsA9jRoYtNeQkIvUaXgM6BJ5";

pub struct Site {
    pub database: TestDatabase,
    environment: Vec<(String, String)>,
}

/// What a command said.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    /// With an empty database.
    pub async fn new(backend: Backend) -> Self {
        Self::on(TestDatabase::empty(backend).await)
    }

    /// With a migrated one.
    pub async fn migrated(backend: Backend) -> Self {
        Self::on(TestDatabase::migrated(backend).await)
    }

    pub fn on(database: TestDatabase) -> Self {
        let environment = [
            ("SECRET_KEY", SECRET_KEY),
            ("ALLOWED_HOSTS", "127.0.0.1"),
            ("DATABASE_URL", &database.url),
        ];
        let environment = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Self {
            database,
            environment,
        }
    }

    /// The same deployment with another variable; an empty value unsets it.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same deployment with a superuser `admin`, whose password is [`PASSWORD`].
    pub fn with_superuser(self) -> Self {
        let site = self.with("DJANGO_SUPERUSER_PASSWORD", PASSWORD);
        let name = ["--username", "admin", "--email", "admin@example.com"];
        let args = [&["createsuperuser", "--noinput"][..], &name].concat();
        CommandOutput::from(site.command_of(&args).output().unwrap()).success();
        site
    }

    /// Executes a statement on the database.
    pub async fn execute(&self, statement: &str) {
        let db = self.database.connect().await;
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared(statement).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
    }

    /// The number that a query gives.
    pub async fn number(&self, query: &str) -> i64 {
        let db = self.database.connect().await;
        let statement = Statement::from_string(db.get_database_backend(), query.to_owned());
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        let number = row.try_get_by_index(0).unwrap();
        db.close().await;
        number
    }

    pub fn folder(&self) -> &Path {
        self.database.folder.path()
    }

    pub fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        self.command_of(&args)
    }

    pub fn command_of(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polls"));
        command.args(args).current_dir(self.folder()).env_clear();
        command
            .envs(
                self.environment
                    .iter()
                    .filter(|(_, value)| !value.is_empty())
                    .cloned(),
            )
            .stdin(Stdio::null());
        command
    }

    /// A program of the system that runs ours: with our path and `after` behind its own arguments.
    pub fn command_by(&self, program: &str, before: &[&str], after: &[&str]) -> Command {
        let ours = self.command_of(&[]);
        let mut command = Command::new(program);
        command
            .args(before)
            .arg(ours.get_program())
            .args(after)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(
                ours.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        command
    }

    /// Runs a command to its end.
    pub fn run<const N: usize>(&self, args: [&str; N]) -> CommandOutput {
        CommandOutput::from(self.command(args).output().unwrap())
    }

    /// Runs a command with something on its standard input.
    pub fn run_with_input<const N: usize>(&self, args: [&str; N], input: &str) -> CommandOutput {
        let mut command = self.command(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        CommandOutput::from(child.wait_with_output().unwrap())
    }

    /// Runs a command on a terminal that echoes, as a person's does.
    pub fn terminal(&self, args: &[&str]) -> PtySession {
        self.terminal_script("exec \"$@\"", args)
    }

    /// Runs a shell script on such a terminal; its arguments are the command's words.
    pub fn terminal_script(&self, script: &str, args: &[&str]) -> PtySession {
        let script = format!("stty echo; {script}");
        let mut shell = self.command_by("sh", &["-c", &script, "sh"], args);
        shell.env("TERM", "xterm");
        rexpect::session::spawn_command(shell, Some(20_000)).unwrap()
    }

    /// Starts the server on a free port.
    pub fn serve(&self) -> Server {
        self.serve_on("127.0.0.1:0")
    }

    pub fn serve_on(&self, address: &str) -> Server {
        self.serve_with(&[address])
    }

    /// Starts the server with these arguments.
    pub fn serve_with(&self, args: &[&str]) -> Server {
        Server::start(&mut self.command_of(&[&["runserver"], args].concat()))
    }
}

impl Server {
    /// Starts a server, and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut startup_output = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !startup_output.contains("CONTROL-C") {
            assert_ne!(
                lines.read_line(&mut startup_output).unwrap(),
                0,
                "the server ended: {startup_output}{:?}",
                child.wait_with_output()
            );
        }
        // Of several, the first.
        let address = startup_output
            .split("://")
            .nth(1)
            .map(|rest| rest.split('/').next().unwrap().to_owned());
        Self {
            child: Some(child),
            log: String::new(),
            address: address.unwrap_or_default(),
            startup_output,
        }
    }
}

impl CommandOutput {
    pub fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts a refusal: exit status 1, nothing on standard output, and one line on standard error.
    #[track_caller]
    pub fn refused(self, line: &str) {
        assert_eq!(
            (self.code, self.stderr.as_str(), self.stdout.as_str()),
            (1, format!("CommandError: {line}\n").as_str(), "")
        );
    }
}

/// A running server. Killed with the test if the test does not end it.
pub struct Server {
    child: Option<Child>,
    /// What of the log has been read.
    log: String,
    pub address: String,
    pub startup_output: String,
}

impl Server {
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks for a page and gives the whole answer, head and body.
    pub fn get(&self, path: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        ))
    }

    /// Sends bytes, and gives all that comes back until the server closes.
    pub fn send(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    pub fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; gives what was said on standard error, and the exit status.
    pub fn wait(mut self) -> (String, Option<i32>) {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let rest = String::from_utf8(output.stderr).unwrap();
        (
            std::mem::take(&mut self.log) + rest.as_str(),
            output.status.code(),
        )
    }

    /// Reads the log up to the end of the line that holds a text; gives all that has been read.
    pub fn read_log_until(&mut self, text: &str) -> &str {
        let log = self.child.as_mut().unwrap().stderr.as_mut().unwrap();
        let mut byte = [0];
        while !(self.log.ends_with('\n') && self.log.lines().any(|line| line.contains(text))) {
            assert_eq!(
                log.read(&mut byte).unwrap(),
                1,
                "no {text:?} in {}",
                self.log
            );
            self.log.push(char::from(byte[0]));
        }
        &self.log
    }

    /// Forgets what has been read of the log.
    pub fn clear_log(&mut self) {
        self.log.clear();
    }

    /// Closes the reading end of standard error.
    pub fn close_log(&mut self) {
        drop(self.child.as_mut().unwrap().stderr.take());
    }

    pub fn stop(self) -> (String, Option<i32>) {
        self.signal("-TERM");
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
