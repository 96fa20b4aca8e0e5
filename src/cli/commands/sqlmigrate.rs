use std::process::ExitCode;

use anyhow::Context as _;
use migration::{DbBackend, Direction, Graph};

use super::{find_app, find_migration};
use crate::cli::context::{Context, print_error};

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
    /// Prints the SQL of a migration.
    ///
    /// # Errors
    /// When the app is unknown, or no migration or several match the name.
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let Self {
            app,
            name,
            backwards,
            database,
        } = self;
        let app = find_app(&app)?;
        let migration = find_migration(&Graph::new(), app, &name)?.with_context(|| {
            format!("Cannot find a migration matching '{name}' from app '{app}'. Is it in INSTALLED_APPS?")
        })?;
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
        if script.is_empty() && context.is_verbose() {
            print_error("No operations found.");
        }
        write!(context.out, "{script}")?;
        Ok(ExitCode::SUCCESS)
    }
}
