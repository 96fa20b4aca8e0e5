use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use migration::APPS;

use super::no_such_app;
use crate::{cli::Context, migrations::drift};

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
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let unknown: Vec<_> = self
            .apps
            .iter()
            .filter(|app| !APPS.contains(&app.as_str()))
            .collect();
        if !unknown.is_empty() {
            unknown
                .iter()
                .for_each(|app| eprintln!("{}", no_such_app(app)));
            return Ok(ExitCode::from(2));
        }
        let wanted =
            |app: &&str| self.apps.is_empty() || self.apps.iter().any(|wanted| wanted == app);
        let changed: Vec<_> = APPS
            .into_iter()
            .filter(wanted)
            .map(|app| (app, drift::of_app(app)))
            .collect();
        if changed.iter().all(|(_, changes)| changes.is_empty()) {
            if context.is_talkative() {
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
            if context.is_talkative() {
                writeln!(context.out, "Migrations for '{app}':\n  {}", file.path)?;
                for change in changes {
                    writeln!(context.out, "    {change}")?;
                }
            }
            if !self.check {
                write_new(&file)?;
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

/// Writes a migration where none is yet.
fn write_new(file: &drift::MigrationFile) -> anyhow::Result<()> {
    let path = Path::new(&file.path);
    if !path.parent().is_some_and(Path::is_dir) {
        bail!(
            "the folder of {} is not here: run this in the source tree",
            file.path
        );
    }
    if path.exists() {
        bail!("{} is there already", file.path);
    }
    std::fs::write(path, &file.source).with_context(|| format!("{} cannot be written", file.path))
}
