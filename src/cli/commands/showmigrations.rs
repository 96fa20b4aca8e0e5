use std::process::ExitCode;

use migration::{APPS, Graph, Migration};

use super::no_such_app;
use crate::{
    cli::Context,
    db::Purpose,
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
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
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
        let db = context.connect(Purpose::Command).await?;
        let applied = migrations::applied(&db).await?;
        if self.plan {
            self.print_plan(context, &applied)?
        } else {
            self.print_list(context, &applied)?
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print_list(&self, context: &mut Context, applied: &Applied) -> anyhow::Result<()> {
        let graph = Graph::new();
        let mut apps: Vec<&str> = APPS.into_iter().filter(|app| self.wants(app)).collect();
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

    fn print_plan(&self, context: &mut Context, applied: &Applied) -> anyhow::Result<()> {
        let graph = Graph::new();
        // The plan of one app holds what it depends on, too.
        let mut plan = graph.full_plan();
        if !self.apps.is_empty() {
            let leaves = APPS
                .into_iter()
                .filter(|app| self.wants(app))
                .flat_map(|app| graph.leaves(Some(app)));
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

    fn wants(&self, app: &str) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|wanted| wanted == app)
    }
}

fn mark(applied: &Applied, migration: &Migration) -> &'static str {
    if applied.contains(migration) {
        "[X]"
    } else {
        "[ ]"
    }
}
