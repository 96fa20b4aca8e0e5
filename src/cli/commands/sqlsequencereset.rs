use std::{io::Write, process::ExitCode};

use sea_orm::DbBackend;

use super::find_app;
use crate::{
    apps,
    cli::context::{Context, print_error},
    fixtures::sequence_reset_sql,
};

/// Print the statements that set the sequences of keys to the highest keys, as Django's command does.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The apps.
    #[arg(required = true, value_name = "APP_LABEL")]
    apps: Vec<String>,
}

impl Args {
    /// Prints the statements for PostgreSQL; SQLite needs none. Needs no connection.
    ///
    /// # Errors
    /// When there is no such app, or standard output cannot be written.
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let mut statements = Vec::new();
        for label in &self.apps {
            let app = find_app(label)?;
            let tables = apps::models_of(app)
                .filter(|model| model.has_auto_key())
                .flat_map(apps::tables);
            let of_app: Vec<String> = match context.settings.database.backend {
                DbBackend::Postgres => tables.map(|table| sequence_reset_sql(&table)).collect(),
                _ => Vec::new(),
            };
            if of_app.is_empty() && context.is_verbose() {
                print_error("No sequences found.");
            }
            statements.extend(of_app);
        }
        if !statements.is_empty() {
            writeln!(context.out, "BEGIN;\n{}\nCOMMIT;", statements.join("\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
