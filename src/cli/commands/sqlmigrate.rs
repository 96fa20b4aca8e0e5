use std::process::ExitCode;

use anyhow::bail;
use migration::{APPS, DbBackend, Direction, Graph, Lookup};

use super::no_such_app;
use crate::cli::Context;

/// Print the statements of a migration. Needs no connection.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The app's label.
    app: String,
    /// The migration's name; its beginning will do.
    name: String,
    /// The statements that unapply it.
    #[arg(long)]
    backwards: bool,
    /// For which kind of database; default the configured one.
    #[arg(long)]
    database: Option<Dialect>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Dialect {
    Postgres,
    Sqlite,
}

impl Args {
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let Self {
            app,
            name,
            backwards,
            database,
        } = self;
        if !APPS.contains(&app.as_str()) {
            bail!(no_such_app(&app));
        }
        let migration = match Graph::new().find(&app, &name) {
            Lookup::Found(migration) => migration,
            Lookup::None => {
                bail!(
                    "Cannot find a migration matching '{name}' from app '{app}'. Is it in INSTALLED_APPS?"
                )
            }
            Lookup::Ambiguous => {
                bail!(
                    "More than one migration matches '{name}' in app '{app}'. Please be more specific."
                )
            }
        };
        let backend = match database {
            Some(Dialect::Postgres) => DbBackend::Postgres,
            Some(Dialect::Sqlite) => DbBackend::Sqlite,
            None => context.settings.database.backend,
        };
        let script = migration
            .sql(
                backend,
                if backwards {
                    Direction::Backwards
                } else {
                    Direction::Forwards
                },
            )
            .script();
        if script.is_empty() && context.is_talkative() {
            eprintln!("No operations found.");
        }
        write!(context.out, "{script}")?;
        Ok(ExitCode::SUCCESS)
    }
}
