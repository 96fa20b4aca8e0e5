use std::{
    collections::BTreeSet,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use migration::{APPS, Direction, Graph, Migration, Operation};

use super::{find_app, find_migration};
use crate::{
    cli::context::{Context, MIGRATE_HEADING, MIGRATE_LABEL, SUCCESS},
    db::Purpose,
    migrations::{self, MigrationResult, Mode, Plan, Target, drift},
};

/// Bring the database to the state of the migrations, or of one of them. Safe when several processes run it at once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this app, and what it depends on.
    app: Option<String>,
    /// To the state right after this migration (the beginning of its name will do), or `zero`.
    name: Option<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    plan: bool,
    /// Do nothing; exit status 1 when something would be done.
    #[arg(long)]
    check: bool,
    /// Record the migrations as applied or unapplied without running them.
    #[arg(long)]
    fake: bool,
    /// Record an app's first migration without running it if all its tables exist.
    #[arg(long)]
    fake_initial: bool,
    /// Wait until the database can be reached, by default for 300 seconds, instead of failing at once.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "300")]
    wait: Option<u32>,
    /// Accepted for compatibility with Django: the command never prompts.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
}

impl Args {
    /// Applies or unapplies migrations, each in a transaction.
    ///
    /// # Errors
    /// When the target is unknown or ambiguous, the history is inconsistent, a migration fails, or the database cannot be reached.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let graph = Graph::new();
        let app = self.app.as_deref().map(find_app).transpose()?;
        let targets = self.targets(&graph, app)?;
        if let Some(seconds) = self.wait {
            context
                .wait_for_database(Duration::from_secs(seconds.into()))
                .await?;
        }
        // A dry run does not change the journal mode of an SQLite file either.
        let is_dry_run = self.plan || self.check;
        let db = if is_dry_run {
            context.connect_to_read().await?
        } else {
            context.connect(Purpose::Migrations).await?
        };
        let applied = migrations::applied(&db).await?;
        if let Some((migration, parent)) = migrations::inconsistency(&graph, &applied) {
            bail!(
                "Migration {migration} is applied before its dependency {parent} on database 'default'."
            );
        }
        let plan = migrations::plan(&graph, &applied, &targets);
        if self.plan {
            print_plan(&plan, &mut context.out)?;
        }
        if is_dry_run {
            return Ok(if self.check && !plan.is_empty() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        let (label, targets) = self.describe(app, &targets);
        context.print(format_args!(
            "{}\n{}{targets}\n",
            context.styled("Operations to perform:", MIGRATE_HEADING),
            context.styled(format_args!("  {label}: "), MIGRATE_LABEL),
        ));
        let heading = context.styled("Running migrations:", MIGRATE_HEADING);
        context.print(format_args!("{heading}\n"));
        migrations::ensure_history_table(&db).await?;
        if plan.is_empty() {
            context.print("  No migrations to apply.\n");
            context.print(drift_notice());
        }
        if plan
            .iter()
            .any(|(_, direction)| *direction == Direction::Backwards)
        {
            // Django's line for rendering its model states, which scripts may search for.
            let done = context.styled(" DONE", SUCCESS);
            context.print(format_args!("  Rendering model states...{done}\n"));
        }
        let mode = match (self.fake, self.fake_initial) {
            (true, _) => Mode::Fake,
            (false, true) => Mode::FakeInitial,
            (false, false) => Mode::Run,
        };
        for (migration, direction) in plan {
            step(context, &db, migration, direction, mode).await?;
        }
        if mode != Mode::Fake {
            for missing in migrations::restore(&db).await? {
                let ok = context.styled(" OK", SUCCESS);
                context.print(format_args!("  Creating {missing} again...{ok}\n"));
            }
        }
        migrations::create_missing_rows(&db).await?;
        Ok(ExitCode::SUCCESS)
    }

    fn targets(&self, graph: &Graph, app: Option<&'static str>) -> anyhow::Result<Vec<Target>> {
        let (Some(app), Some(name)) = (app, &self.name) else {
            return Ok(graph
                .leaves(app)
                .into_iter()
                .map(Target::Migration)
                .collect());
        };
        if name == "zero" {
            return Ok(vec![Target::Zero(app)]);
        }
        let migration = find_migration(graph, app, name)?;
        let unknown = || format!("Cannot find a migration matching '{name}' from app '{app}'.");
        Ok(vec![Target::Migration(migration.with_context(unknown)?)])
    }

    /// The operation and its targets, as Django describes them.
    fn describe(&self, app: Option<&str>, targets: &[Target]) -> (&'static str, String) {
        match (targets, &self.name) {
            ([Target::Zero(app)], _) => ("Unapply all migrations", (*app).to_owned()),
            ([Target::Migration(target)], Some(_)) => (
                "Target specific migration",
                format!("{}, from {}", target.name, target.app),
            ),
            _ => {
                let all: BTreeSet<&str> = app.map_or_else(|| APPS.into(), |app| [app].into());
                let all: Vec<_> = all.into_iter().collect();
                ("Apply all migrations", all.join(", "))
            }
        }
    }
}

/// Runs one migration and prints its result.
async fn step(
    context: &mut Context,
    db: &crate::db::Database,
    migration: &'static Migration,
    direction: Direction,
    mode: Mode,
) -> anyhow::Result<()> {
    let (verb, done) = match direction {
        Direction::Forwards => ("Applying", " ALREADY APPLIED"),
        Direction::Backwards => ("Unapplying", " ALREADY UNAPPLIED"),
    };
    context.print(format_args!("  {verb} {migration}..."));
    let start = Instant::now();
    let result = migrations::run(db, migration, direction, mode).await;
    let status = match &result {
        Ok(MigrationResult::Done) => " OK",
        Ok(MigrationResult::Faked) => " FAKED",
        Ok(MigrationResult::AlreadyDone) => done,
        Err(_) => "",
    };
    let elapsed = match (&result, context.verbosity) {
        (Ok(_), 2..) => format!(" ({:.3}s)", start.elapsed().as_secs_f64()),
        _ => String::new(),
    };
    let outcome = match &result {
        Ok(_) => context.styled(format_args!("{status}{elapsed}"), SUCCESS),
        Err(_) => String::new(),
    };
    context.print(format_args!("{outcome}\n"));
    result.map_err(|error| {
        anyhow::Error::from(error)
            .context(format!("{migration} failed, and nothing of it was kept"))
    })?;
    Ok(())
}

fn print_plan(plan: &Plan, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "Planned operations:")?;
    if plan.is_empty() {
        writeln!(out, "  No planned migration operations.")?;
    }
    for (migration, direction) in plan {
        writeln!(out, "{migration}")?;
        for operation in migration.operations {
            writeln!(out, "    {}", describe_operation(operation, *direction))?;
        }
    }
    Ok(())
}

/// The line of an operation in `--plan`, with the beginning of its documentation, if any.
fn describe_operation(operation: &Operation, direction: Direction) -> String {
    let description = operation.describe();
    match operation {
        Operation::RunPython { doc: "", .. } => description,
        Operation::RunPython { doc, .. } => {
            let action: String = format!(" -> {doc}").chars().take(39).collect();
            format!("{description}{action}…")
        }
        _ if direction == Direction::Backwards => format!("Undo {description}"),
        _ => description,
    }
}

/// Django's notice of entities that differ from the migrations; empty if there are none.
fn drift_notice() -> String {
    let changed = APPS
        .into_iter()
        .filter(|app| !drift::of_app(app).is_empty());
    let apps: Vec<_> = changed.map(|app| format!("'{app}'")).collect();
    if apps.is_empty() {
        return String::new();
    }
    format!(
        "  Your models in app(s): {} have changes that are not yet reflected in a migration, and so won't be applied.\n  \
         Run 'polls makemigrations' to make new migrations, and then re-run 'polls migrate' to apply them.\n",
        apps.join(", "),
    )
}
