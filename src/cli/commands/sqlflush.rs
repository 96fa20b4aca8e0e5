use std::{io::Write, process::ExitCode};

use crate::{cli::context::Context, flush};

/// Print the statements that remove all data from the tables, as Django's command does.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Prints the statements that `flush` executes. Needs no connection.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        writeln!(context.out, "BEGIN;")?;
        for statement in flush::statements(context.settings.database.backend) {
            writeln!(context.out, "{statement}")?;
        }
        writeln!(context.out, "COMMIT;")?;
        Ok(ExitCode::SUCCESS)
    }
}
