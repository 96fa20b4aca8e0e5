//! The command line: one subcommand per file in `commands`, with the texts of Django's `manage.py`.

mod commands;
mod context;
mod log;
mod prompt;
pub mod seed;
mod signals;
mod subcommands;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use clap::{CommandFactory, Parser, Subcommand};
use sea_orm::DbErr;

use crate::{
    db::{is_missing_table, is_standby, is_storage},
    settings::{Environment, LogSettings, Settings},
};
use commands::{
    changepassword, check, clearsessions, collectstatic, completions, createsuperuser, dbshell,
    diffsettings, dumpdata, export, flush, healthcheck, inspect, inspectdb, loaddata,
    makemigrations, man, migrate, recount, runserver, showmigrations, sqlflush, sqlmigrate,
    sqlsequencereset,
};
use context::{Context, Stdout, error_chain, is_closed_stdout, print_error};
use log::Log;

/// The Cloud Django polls deployment as one program: pages, migrations, management commands and server.
#[derive(Debug, Parser)]
#[command(name = "polls", version, max_term_width = 100)]
struct Cli {
    /// Verbosity: 0 no output, 1 normal output, 2 more, 3 all.
    #[arg(short, long, global = true, help_heading = "Global options", value_name = "LEVEL", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
    verbosity: u8,
    /// Do not colour the output and the log.
    #[arg(long, global = true, help_heading = "Global options")]
    no_color: bool,
    /// Read settings from this file instead of .env in the working directory.
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "PATH"
    )]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Runserver(Box<runserver::Args>),
    Migrate(migrate::Args),
    Showmigrations(showmigrations::Args),
    Sqlmigrate(sqlmigrate::Args),
    Makemigrations(makemigrations::Args),
    Createsuperuser(createsuperuser::Args),
    Changepassword(changepassword::Args),
    Seed(commands::seed::Args),
    Dumpdata(dumpdata::Args),
    Loaddata(loaddata::Args),
    Flush(flush::Args),
    Sqlflush(sqlflush::Args),
    Sqlsequencereset(sqlsequencereset::Args),
    Clearsessions(clearsessions::Args),
    Recount(recount::Args),
    Export(export::Args),
    Shell(commands::shell::Args),
    Dbshell(dbshell::Args),
    Inspectdb(inspectdb::Args),
    Inspect(inspect::Args),
    Collectstatic(collectstatic::Args),
    Diffsettings(diffsettings::Args),
    Check(check::Args),
    Healthcheck(healthcheck::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the program. An error is one line on standard error and exit status 1; a closed pipe is no error.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| subcommands::nearest_first(error).exit());
    match run(cli) {
        Ok(code) => code,
        Err(error) if is_closed_stdout(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = match error.downcast_ref::<prompt::Cancelled>() {
                Some(cancelled) => format!("\n{cancelled}"),
                None => format!("CommandError: {}{}", error_chain(&error), hint(&error)),
            };
            print_error(text);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut out: Box<dyn Write + Send> = Box::new(Stdout);
    // These two need no settings: packagers call them where there are none.
    let Some(command) = cli.command else {
        subcommands::print(&mut out)?;
        return Ok(ExitCode::SUCCESS);
    };
    let command = match command {
        Command::Completions(args) => return args.run(Cli::command(), &mut out),
        Command::Man(args) => return args.run(Cli::command(), &mut out),
        command => command,
    };
    let environment = Environment::load(cli.env_file.as_deref())?;
    let is_server = matches!(command, Command::Runserver(_));
    let command = match command {
        Command::Healthcheck(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("cannot start the tokio runtime")?;
            return runtime.block_on(args.run(&environment, &mut out, cli.verbosity > 0));
        }
        command => command,
    };
    let log = Log::start(&LogSettings::read(&environment)?, cli.no_color, is_server)?;
    let settings = match &command {
        Command::Runserver(args) => args.settings(&environment)?,
        _ => Settings::read(&environment)?,
    };
    log.set_filter(&settings.log.filter)?;
    let mut context = Context {
        environment,
        settings,
        log,
        verbosity: cli.verbosity,
        is_coloured: !cli.no_color && AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        databases: Vec::new(),
        out,
        print_error: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(context.settings.server.threads)
        .enable_all()
        .build()
        .context("cannot start the tokio runtime and its threads")?;
    let code = runtime.block_on(async {
        if let Some(traces) = &context.log.traces {
            traces.start();
        }
        let code = command.run(&mut context).await;
        context.close().await;
        code
    });
    if let Some(traces) = &context.log.traces {
        traces.shutdown();
    }
    // The thread of a prompt may still be reading a line.
    runtime.shutdown_background();
    let code = code?;
    if let Some(error) = context.print_error {
        return Err(error.into());
    }
    context.out.flush()?;
    Ok(code)
}

impl Command {
    async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Runserver(args) => args.run(context).await,
            Self::Migrate(args) => args.run(context).await,
            Self::Showmigrations(args) => args.run(context).await,
            Self::Sqlmigrate(args) => args.run(context),
            Self::Makemigrations(args) => args.run(context),
            Self::Createsuperuser(args) => args.run(context).await,
            Self::Changepassword(args) => args.run(context).await,
            Self::Seed(args) => args.run(context).await,
            Self::Dumpdata(args) => args.run(context).await,
            Self::Loaddata(args) => args.run(context).await,
            Self::Flush(args) => args.run(context).await,
            Self::Sqlflush(args) => args.run(context),
            Self::Sqlsequencereset(args) => args.run(context),
            Self::Clearsessions(args) => args.run(context).await,
            Self::Recount(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
            Self::Shell(args) => args.run(context).await,
            Self::Dbshell(args) => args.run(context),
            Self::Inspectdb(args) => args.run(context).await,
            Self::Inspect(args) => args.run(context).await,
            Self::Collectstatic(args) => args.run(context).await,
            Self::Diffsettings(args) => args.run(context),
            Self::Check(args) => args.run(context).await,
            Self::Healthcheck(_) | Self::Completions(_) | Self::Man(_) => {
                unreachable!("these run without a context")
            }
        }
    }
}

/// How to fix an error of the database, if known; appended to the message.
fn hint(error: &anyhow::Error) -> &'static str {
    let mut causes = error.chain();
    match causes.find_map(|cause| cause.downcast_ref::<DbErr>()) {
        Some(error) if is_missing_table(error) => ": run `polls migrate` first",
        Some(error) if is_standby(error) => ": the server is a standby, and none takes changes",
        Some(error) if is_storage(error) => {
            ": the disk is full, or the database's file is read-only or in a folder that does not exist"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn the_list_by_app_has_all_subcommands() {
        let command = super::Cli::command();
        let mut all: Vec<_> = command
            .get_subcommands()
            .map(|command| command.get_name())
            .collect();
        let by_app = super::subcommands::BY_APP
            .iter()
            .flat_map(|(_, commands)| commands.iter());
        let mut listed: Vec<_> = by_app.copied().collect();
        all.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, all);
    }
}
