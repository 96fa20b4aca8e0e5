use std::process::ExitCode;

use chrono::Utc;

use crate::{cli::context::Context, db::Purpose, sessions};

/// Delete the sessions that have expired. Can be run as a cron job.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Deletes the rows of expired sessions.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let db = context.connect(Purpose::Command).await?;
        let tx = db.begin().await?;
        let deleted = sessions::clear_expired(&tx, Utc::now()).await?;
        tx.commit().await?;
        if context.verbosity >= 2 {
            context.print(format_args!("Deleted {deleted} session(s).\n"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
