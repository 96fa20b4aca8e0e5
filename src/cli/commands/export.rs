use std::process::ExitCode;

use sea_orm::{EntityTrait, QueryFilter};

use crate::{
    cli::context::Context,
    entities::question,
    polls_app::export::{ExportError, ExportFormat, write},
};

/// Write questions with their choices and votes, as CSV or JSON.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The format.
    #[arg(long, default_value = "csv", value_parser = ["csv", "json"])]
    format: String,
    /// Only these questions, by their keys.
    #[arg(value_name = "QUESTION")]
    questions: Vec<i32>,
}

impl Args {
    /// Writes the questions to standard output.
    ///
    /// # Errors
    /// When there is no such question, the database cannot be reached, or standard output cannot be written.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let db = context.connect_to_read().await?;
        if !self.questions.is_empty() {
            let ids = self.questions.iter().copied();
            let found = question::Entity::find().filter(question::COLUMN.id.is_in(ids));
            let found = found.all(&db).await?;
            let is_missing = |id: &&i32| found.iter().all(|question| question.id != **id);
            if let Some(id) = self.questions.iter().find(is_missing) {
                anyhow::bail!("There is no question {id}.");
            }
        }
        let format = ExportFormat::parse(&self.format).expect("clap checks it");
        let written = write(&db, &self.questions, format, &mut context.out).await;
        match written {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(ExportError::Database(error)) => Err(error.into()),
            Err(ExportError::Output(error)) => Err(error.into()),
        }
    }
}
