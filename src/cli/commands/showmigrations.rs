use std::process::ExitCode;

use migration::{Graph, Migration};

use super::find_apps;
use crate::{
    cli::context::Context,
    migrations::{self, Applied},
};

/// Show the migrations and which of them have been applied.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these apps.
    apps: Vec<String>,
    /// App by app, in order of names; this is the default.
    #[arg(short, long, conflicts_with = "plan")]
    list: bool,
    /// In the order in which they are applied; with --verbosity 2, with what each depends on.
    #[arg(short, long)]
    plan: bool,
}

impl Args {
    /// Prints the migrations with the applied ones marked. Exits with 2 for an unknown app.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let Some(apps) = find_apps(&self.apps) else {
            return Ok(ExitCode::from(2));
        };
        let db = context.connect_to_read().await?;
        let applied = migrations::applied(&db).await?;
        if self.plan {
            self.print_plan(&apps, context, &applied)?
        } else {
            print_list(apps, context, &applied)?
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print_plan(
        &self,
        apps: &[&str],
        context: &mut Context,
        applied: &Applied,
    ) -> anyhow::Result<()> {
        let graph = Graph::new();
        // The plan of one app includes its dependencies.
        let mut plan = graph.full_plan();
        if !self.apps.is_empty() {
            let leaves = apps.iter().flat_map(|app| graph.leaves(Some(app)));
            let needed: Vec<_> = leaves
                .flat_map(|leaf| graph.forwards_plan(leaf.key()))
                .map(Migration::key)
                .collect();
            plan.retain(|migration| needed.contains(&migration.key()));
        }
        for migration in plan {
            let parents: Vec<_> = graph
                .parents(migration.key())
                .map(|(app, name)| format!("{app}.{name}"))
                .collect();
            let parents = match context.verbosity {
                2.. if !parents.is_empty() => format!(" ... ({})", parents.join(", ")),
                _ => String::new(),
            };
            writeln!(
                context.out,
                "{}  {migration}{parents}",
                mark(applied, migration)
            )?;
        }
        Ok(())
    }
}

fn print_list(mut apps: Vec<&str>, context: &mut Context, applied: &Applied) -> anyhow::Result<()> {
    let graph = Graph::new();
    apps.sort_unstable();
    for app in apps {
        writeln!(context.out, "{app}")?;
        for migration in graph.of_app(app) {
            let time = match applied.time(migration) {
                Some(time) if context.verbosity >= 2 => {
                    time.format(" (applied at %Y-%m-%d %H:%M:%S)").to_string()
                }
                _ => String::new(),
            };
            writeln!(
                context.out,
                " {} {}{time}",
                mark(applied, migration),
                migration.name
            )?;
        }
    }
    Ok(())
}

fn mark(applied: &Applied, migration: &Migration) -> &'static str {
    if applied.contains(migration) {
        "[X]"
    } else {
        "[ ]"
    }
}
