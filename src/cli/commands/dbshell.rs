use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use url::Url;

use crate::cli::context::Context;

/// Run the command-line client of the database: `psql` or `sqlite3`.
///
/// The password is passed in the environment, so that it is not in the list of processes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Arguments of the client, after `--`.
    #[arg(last = true)]
    parameters: Vec<OsString>,
}

impl Args {
    /// Replaces this process by the client.
    ///
    /// # Errors
    /// When the client is not installed.
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let settings = &context.settings.database;
        let (program, mut command);
        if let Some(file) = settings.sqlite_file() {
            program = "sqlite3";
            command = Command::new(program);
            command.arg(file).args(self.parameters);
        } else {
            program = "psql";
            let candidates = settings.candidates();
            let url = Url::parse(candidates[0][0].expose_secret());
            let url = url.context("DATABASE_URL cannot be read")?;
            command = Command::new(program);
            if let Some(password) = url.password() {
                let password = percent_decode_str(password)
                    .decode_utf8_lossy()
                    .into_owned();
                command.env("PGPASSWORD", password);
            }
            // The primary, unless another one is wanted.
            if candidates.len() > 1 && !context.environment.is_set("PGTARGETSESSIONATTRS") {
                command.env("PGTARGETSESSIONATTRS", "read-write");
            }
            let query = url.query().map(|query| format!("?{query}"));
            let address = format!("{}{}", settings.display(), query.unwrap_or_default());
            command.args(self.parameters).arg(address);
        }
        let error = command.exec();
        if error.kind() == io::ErrorKind::NotFound {
            bail!("You appear not to have the '{program}' program installed or on your path.");
        }
        Err(error).with_context(|| format!("{program} cannot be started"))
    }
}
