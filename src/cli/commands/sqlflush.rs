use std::{io::Write, process::ExitCode};

use crate::{cli::context::Context, flush, introspection};

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
        let tables: Vec<String> = introspection::known_tables().collect();
        for statement in flush::statements(context.settings.database.backend, &tables) {
            writeln!(context.out, "{statement}")?;
        }
        writeln!(context.out, "COMMIT;")?;
        Ok(ExitCode::SUCCESS)
    }
}
