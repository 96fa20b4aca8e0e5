//! The context of a command: settings, output, databases.

use std::{
    fmt::Display,
    io::{self, Write},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;

use super::log::Log;
use crate::{
    db::{self, Database, Purpose},
    settings::{DatabaseSettings, Environment, Settings},
};

/// Django's `SUCCESS`.
pub const SUCCESS: Style = AnsiColor::Green.on_default().bold();
/// Django's `MIGRATE_HEADING`.
pub const MIGRATE_HEADING: Style = AnsiColor::Cyan.on_default().bold();
/// Django's `MIGRATE_LABEL`.
pub const MIGRATE_LABEL: Style = Style::new().bold();

/// The timeout for closing a database.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before the database is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The settings, log, output and databases of a command.
pub struct Context {
    /// The environment variables and those of the `.env` file.
    pub environment: Environment,
    /// The settings.
    pub settings: Settings,
    /// The log, whose filter a reload changes.
    pub log: Log,
    /// Django's `--verbosity`, 0 to 3.
    pub verbosity: u8,
    /// Whether standard output shows colours.
    pub is_coloured: bool,
    /// The open databases, which are closed at the end: SQLite then checkpoints its WAL.
    pub databases: Vec<Database>,
    /// Standard output. Written to with `writeln!` and `?`, so that a closed pipe ends the command and does not panic.
    pub out: Box<dyn Write + Send>,
    /// The first error of [`Context::print`], which is reported when the command has ended.
    pub print_error: Option<io::Error>,
}

impl Context {
    /// Whether to print the usual output (verbosity 1 or more).
    pub fn is_verbose(&self) -> bool {
        self.verbosity > 0
    }

    /// Prints the progress of work that continues even when the output is closed.
    pub fn print(&mut self, text: impl Display) {
        if self.is_verbose() {
            let printed = write!(self.out, "{text}").and_then(|()| self.out.flush());
            if let Err(error) = printed {
                self.print_error.get_or_insert(error);
            }
        }
    }

    /// A text in a style of Django's (`django/utils/termcolors.py`, the dark palette), where colours are shown.
    pub fn styled(&self, text: impl Display, style: Style) -> String {
        if self.is_coloured {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }

    /// Connects to the database.
    ///
    /// # Errors
    /// With the address and the reason, when the database cannot be reached.
    pub async fn connect(&mut self, purpose: Purpose) -> anyhow::Result<Database> {
        let settings = self.settings.database.clone();
        self.connect_to(&settings, purpose).await
    }

    /// Connects to the database to read it. A file of SQLite that does not exist is not created: it is an empty database.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_to_read(&mut self) -> anyhow::Result<Database> {
        let mut settings = self.settings.database.clone();
        if settings.missing_file().is_some() {
            settings = settings.in_memory();
        }
        self.connect_to(&settings, Purpose::Command).await
    }

    /// Waits until a connection to the database that can change it succeeds, and logs why it does not.
    ///
    /// # Errors
    /// With the last reason, when none has succeeded within `timeout`.
    pub async fn wait_for_database(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        let mut logged = None;
        loop {
            let error = match Database::connect(&self.settings.database, Purpose::Migrations).await
            {
                Ok(database) => {
                    database.close().await;
                    return Ok(());
                }
                Err(error) => error,
            };
            let address = self.settings.database.display();
            if Instant::now() + RETRY_PAUSE >= deadline {
                let seconds = timeout.as_secs();
                return Err(error).with_context(|| {
                    format!("the database at {address} cannot be reached for {seconds} s")
                });
            }
            let reason = error.to_string();
            if logged.as_ref() != Some(&reason) {
                tracing::warn!(
                    "waiting for the database at {address}: {}",
                    reason.escape_debug()
                );
                logged = Some(reason);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn connect_to(
        &mut self,
        settings: &DatabaseSettings,
        purpose: Purpose,
    ) -> anyhow::Result<Database> {
        let database = Database::connect(settings, purpose).await;
        let database = database
            .with_context(|| format!("the database at {} cannot be reached", settings.display()))?;
        self.databases.push(database.clone());
        Ok(database)
    }

    /// Closes the connections. Waits at most 2 s per database for statements that are still executed.
    pub async fn close(&mut self) {
        for database in self.databases.drain(..) {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, database.close()).await;
        }
    }
}

/// Standard output. Its errors say that they are of standard output.
#[derive(Debug)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().map_err(of_stdout)
    }
}

/// An error of writing to standard output.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
struct StdoutError(io::Error);

fn of_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), StdoutError(error))
}

/// Whether the reader of standard output has closed it. Sockets have errors of the same kind.
pub fn is_closed_stdout(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        let is_stdout = error
            .get_ref()
            .is_some_and(|inner| inner.is::<StdoutError>());
        is_stdout && error.kind() == io::ErrorKind::BrokenPipe
    })
}

/// Prints a line on standard error. If that is closed or full, the command continues: its exit status tells the result.
pub fn print_error(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// An error with its causes, on one line. A cause is left out if the text before it contains it.
pub fn error_chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        // The driver adds the line of PostgreSQL's source.
        let reported = cause.downcast_ref().and_then(db::reported);
        let cause = reported.map_or_else(|| cause.to_string(), str::to_owned);
        if !text.contains(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
        if reported.is_some() {
            break;
        }
    }
    text.replace('\n', " ")
}
