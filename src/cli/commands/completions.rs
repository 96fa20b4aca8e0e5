use std::{io::Write, process::ExitCode};

use clap_complete::Shell;

/// Print a script that completes commands and options in a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

impl Args {
    /// Prints the completion script of a shell.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn run(self, mut command: clap::Command, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        // The generator panics when it cannot write: let it write to memory.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "polls", &mut script);
        out.write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
