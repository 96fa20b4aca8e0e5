use std::{collections::BTreeSet, io::Write, process::ExitCode, time::Instant};

use anyhow::bail;
use migration::{APPS, Direction, Graph, Lookup, Migration, Operation};

use super::no_such_app;
use crate::{
    cli::Context,
    db::Purpose,
    migrations::{self, Mode, Outcome, Plan, Target, drift},
};

/// Bring the database to the state of the migrations, or of one of them. Safe when many start it at once.
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
    /// Record an app's first migration without running it where all its tables are there.
    #[arg(long)]
    fake_initial: bool,
    /// Accepted for Django's sake: no question is ever asked.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
}

impl Args {
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let graph = Graph::new();
        let app = self.app()?;
        let targets = self.targets(&graph, app)?;
        let db = context.connect(Purpose::Migrations).await?;
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
        if self.check || self.plan {
            return Ok(if self.check && !plan.is_empty() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
        if context.is_talkative() {
            writeln!(
                context.out,
                "Operations to perform:\n  {}",
                self.describe(app, &targets)
            )?;
            writeln!(context.out, "Running migrations:")?;
        }
        migrations::ensure_books(&db).await?;
        if plan.is_empty() && context.is_talkative() {
            writeln!(context.out, "  No migrations to apply.")?;
            notice_drift(&mut context.out)?;
        }
        if plan
            .iter()
            .any(|(_, direction)| *direction == Direction::Backwards)
            && context.is_talkative()
        {
            // Django renders its models here; ours need no rendering, but scripts may look for the line.
            writeln!(context.out, "  Rendering model states... DONE")?;
        }
        let mode = match (self.fake, self.fake_initial) {
            (true, _) => Mode::Fake,
            (false, true) => Mode::FakeInitial,
            (false, false) => Mode::Run,
        };
        for (migration, direction) in plan {
            step(context, &db, migration, direction, mode).await?;
        }
        migrations::create_missing_rows(&db).await?;
        Ok(ExitCode::SUCCESS)
    }

    fn app(&self) -> anyhow::Result<Option<&'static str>> {
        let Some(label) = &self.app else {
            return Ok(None);
        };
        match APPS.into_iter().find(|app| app == label) {
            None => bail!(no_such_app(label)),
            app => Ok(app),
        }
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
        match graph.find(app, name) {
            Lookup::Found(migration) => Ok(vec![Target::Migration(migration)]),
            Lookup::None => bail!("Cannot find a migration matching '{name}' from app '{app}'."),
            Lookup::Ambiguous => {
                bail!(
                    "More than one migration matches '{name}' in app '{app}'. Please be more specific."
                )
            }
        }
    }

    fn describe(&self, app: Option<&str>, targets: &[Target]) -> String {
        match (targets, &self.name) {
            ([Target::Zero(app)], _) => format!("Unapply all migrations: {app}"),
            ([Target::Migration(target)], Some(_)) => {
                format!(
                    "Target specific migration: {}, from {}",
                    target.name, target.app
                )
            }
            _ => {
                let all: BTreeSet<&str> = app.map_or_else(|| APPS.into(), |app| [app].into());
                format!(
                    "Apply all migrations: {}",
                    all.into_iter().collect::<Vec<_>>().join(", ")
                )
            }
        }
    }
}

/// Runs one migration and says how it went.
async fn step(
    context: &mut Context,
    db: &crate::db::Database,
    migration: &'static Migration,
    direction: Direction,
    mode: Mode,
) -> anyhow::Result<()> {
    let (verb, done) = match direction {
        Direction::Forwards => ("Applying", "ALREADY APPLIED"),
        Direction::Backwards => ("Unapplying", "ALREADY UNAPPLIED"),
    };
    if context.is_talkative() {
        write!(context.out, "  {verb} {migration}...")?;
        context.out.flush()?;
    }
    let start = Instant::now();
    let result = migrations::run(db, migration, direction, mode).await;
    if context.is_talkative() {
        let word = match &result {
            Ok(Outcome::Done) => " OK",
            Ok(Outcome::Faked) => " FAKED",
            Ok(Outcome::DoneElsewhere) => &format!(" {done}"),
            Err(_) => "",
        };
        let elapsed = match (&result, context.verbosity) {
            (Ok(_), 2..) => format!(" ({:.3}s)", start.elapsed().as_secs_f64()),
            _ => String::new(),
        };
        writeln!(context.out, "{word}{elapsed}")?;
    }
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

/// An operation as `--plan` shows it, with the beginning of its documentation where it has one.
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

/// Says when the entities have moved on without the migrations.
fn notice_drift(out: &mut dyn Write) -> anyhow::Result<()> {
    let apps: Vec<_> = APPS
        .into_iter()
        .filter(|app| !drift::of_app(app).is_empty())
        .map(|app| format!("'{app}'"))
        .collect();
    if !apps.is_empty() {
        writeln!(
            out,
            "  Your models in app(s): {} have changes that are not yet reflected in a migration, and so won't be \
             applied.\n  Run 'polls makemigrations' to make new migrations, and then re-run 'polls migrate' to apply them.",
            apps.join(", "),
        )?;
    }
    Ok(())
}
