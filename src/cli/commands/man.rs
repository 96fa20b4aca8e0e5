use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

/// Print the manual page, or write one per command into a folder.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder; without it, the main page is printed to standard output.
    folder: Option<PathBuf>,
}

impl Args {
    /// Writes the manual pages to a folder, or prints the one of `polls`.
    ///
    /// # Errors
    /// When a page cannot be written.
    pub fn run(self, command: clap::Command, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        match self.folder {
            Some(folder) => std::fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(command, &folder))
                .with_context(|| format!("the pages cannot be written to {}", folder.display()))?,
            None => clap_mangen::Man::new(command).render(&mut *out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
