use std::{path::Path, process::ExitCode};

use super::find_apps;
use crate::{cli::context::Context, migrations::drift};

/// Compare the entities with what the migrations produce; write a migration for each difference.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these apps.
    apps: Vec<String>,
    /// Write nothing; exit status 1 when there are differences.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// Writes a migration for each app whose entities differ from its migrations. With `--check` it writes nothing and exits with 1
    /// if there is a difference; for an unknown app it exits with 2.
    ///
    /// # Errors
    /// When a file exists already or cannot be written.
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let Some(apps) = find_apps(&self.apps) else {
            return Ok(ExitCode::from(2));
        };
        let changed: Vec<_> = apps
            .into_iter()
            .map(|app| (app, drift::of_app(app)))
            .collect();
        if changed.iter().all(|(_, changes)| changes.is_empty()) {
            if context.is_verbose() {
                match self.apps.as_slice() {
                    [app] => writeln!(context.out, "No changes detected in app '{app}'")?,
                    [] => writeln!(context.out, "No changes detected")?,
                    apps => writeln!(
                        context.out,
                        "No changes detected in apps '{}'",
                        apps.join("', '")
                    )?,
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        for (app, changes) in changed.iter().filter(|(_, changes)| !changes.is_empty()) {
            let file = drift::migration_file(app, changes);
            if context.is_verbose() {
                writeln!(context.out, "Migrations for '{app}':\n  {}", file.path)?;
                for change in changes {
                    writeln!(context.out, "    {change}")?;
                }
            }
            if !self.check {
                file.write(Path::new("."))?;
            }
        }
        if self.check {
            return Ok(ExitCode::FAILURE);
        }
        writeln!(
            context.out,
            "Complete each file, and add it to the list in its app's mod.rs."
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
