//! The command line: one subcommand per file in `commands`, with the texts of Django's `manage.py`.

mod commands;
mod prompt;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    db::{Database, Purpose},
    settings::{LogSettings, Settings, load_env_file},
};
use commands::{
    changepassword, check, completions, createsuperuser, healthcheck, makemigrations, man, migrate,
    runserver, seed, showmigrations, sqlmigrate,
};

/// The Cloud Django polls deployment as one program: pages, migrations, management commands and server.
#[derive(Debug, Parser)]
#[command(name = "polls", version, max_term_width = 100)]
struct Cli {
    /// How much to say: 0 nothing, 1 the usual, 2 more, 3 everything.
    #[arg(short, long, global = true, value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    verbosity: u8,
    /// Do not colour the log.
    #[arg(long, global = true)]
    no_color: bool,
    /// Read settings from this file instead of .env in the working directory.
    #[arg(long, global = true, value_name = "PATH")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Runserver(runserver::Args),
    Migrate(migrate::Args),
    Showmigrations(showmigrations::Args),
    Sqlmigrate(sqlmigrate::Args),
    Makemigrations(makemigrations::Args),
    Createsuperuser(createsuperuser::Args),
    Changepassword(changepassword::Args),
    Seed(seed::Args),
    Check(check::Args),
    Healthcheck(healthcheck::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What every command works with.
struct Context {
    settings: Settings,
    /// The file that settings were read from, if any.
    env_file: Option<PathBuf>,
    verbosity: u8,
    /// What has been connected to, to be closed at the end: SQLite then brings its file up to date.
    databases: Vec<Database>,
    /// Standard output. Written to with `writeln!` and `?`, so that a closed pipe ends the command and does not panic.
    out: Box<dyn Write + Send>,
}

impl Context {
    /// Whether to say what is usually said.
    fn is_talkative(&self) -> bool {
        self.verbosity > 0
    }

    /// Connects to the database, or says why not and to what.
    async fn connect(&mut self, purpose: Purpose) -> anyhow::Result<Database> {
        let settings = &self.settings.database;
        let database = Database::connect(settings, purpose).await;
        let database = database
            .with_context(|| format!("the database at {} cannot be reached", settings.display()))?;
        self.databases.push(database.clone());
        Ok(database)
    }
}

/// Runs the program. A refused command is one line on standard error and exit status 1.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started");
    let result = runtime.block_on(run(cli));
    // A prompt may still be waiting for a line that nobody wants any more.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        if error.is::<prompt::Cancelled>() {
            eprintln!("\n{error}");
        } else {
            eprintln!("CommandError: {}", format!("{error:#}").replace('\n', " "));
        }
        ExitCode::FAILURE
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut out: Box<dyn Write + Send> = Box::new(io::stdout());
    // These two need no settings: packagers call them where there are none.
    match cli.command {
        Command::Completions(args) => return args.run(&mut out),
        Command::Man(args) => return args.run(&mut out),
        _ => {}
    }
    let env_file = load_env_file(cli.env_file.as_deref())?;
    start_log(&LogSettings::from_env()?, cli.no_color)?;
    let mut context = Context {
        settings: Settings::from_env()?,
        env_file,
        verbosity: cli.verbosity,
        databases: Vec::new(),
        out,
    };
    let code = match cli.command {
        Command::Runserver(args) => args.run(&mut context).await,
        Command::Migrate(args) => args.run(&mut context).await,
        Command::Showmigrations(args) => args.run(&mut context).await,
        Command::Sqlmigrate(args) => args.run(&mut context),
        Command::Makemigrations(args) => args.run(&mut context),
        Command::Createsuperuser(args) => args.run(&mut context).await,
        Command::Changepassword(args) => args.run(&mut context).await,
        Command::Seed(args) => args.run(&mut context).await,
        Command::Check(args) => args.run(&mut context).await,
        Command::Healthcheck(args) => args.run(&mut context).await,
        Command::Completions(_) | Command::Man(_) => unreachable!("have been run"),
    };
    for database in context.databases.drain(..) {
        database.close().await;
    }
    context.out.flush()?;
    code
}

fn start_log(settings: &LogSettings, no_color: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .map_err(|error| anyhow::anyhow!("RUST_LOG cannot be read: {error}."))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    if settings.json {
        log.json().init();
    } else {
        log.with_ansi(!no_color && io::stderr().is_terminal())
            .init();
    }
    Ok(())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
