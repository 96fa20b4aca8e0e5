use std::{io::Write, process::ExitCode};

use anyhow::Context as _;

use crate::{
    cli::{context::Context, prompt},
    db::Purpose,
    flush,
};

/// Remove all data from the database, without the tables and the record of the migrations.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask for confirmation.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
}

impl Args {
    /// Empties the tables after a confirmation, and creates content types and permissions again.
    ///
    /// # Errors
    /// When the database cannot be reached, a table does not exist, or rows of another application refer to the data.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        // A missing file of SQLite is not created.
        if let Some(path) = context.settings.database.missing_file() {
            anyhow::bail!(
                "There is no database {}. Run `polls migrate` first.",
                path.display()
            );
        }
        let db = context.connect(Purpose::Command).await?;
        let name = context.settings.database.display();
        if !self.noinput {
            let question = format!(
                "You have requested a flush of the database.\n\
                 This will IRREVERSIBLY DESTROY all data currently in the \"{name}\" database,\n\
                 and return each table to an empty state.\n\
                 Are you sure you want to do this?\n\n    Type 'yes' to continue, or 'no' to cancel: "
            );
            if prompt::line(&question).await? != "yes" {
                writeln!(context.out, "Flush cancelled.")?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        let flushed = flush::flush(&db).await;
        flushed.with_context(|| format!("Database {name} couldn't be flushed"))?;
        Ok(ExitCode::SUCCESS)
    }
}
