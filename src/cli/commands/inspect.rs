use std::{collections::BTreeMap, io::Write, process::ExitCode};

use chrono::Utc;
use migration::{Direction, Graph};
use sea_orm::{DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{
    apps,
    auth::hashers,
    cli::context::{Context, MIGRATE_HEADING, SUCCESS},
    db::{self, Database},
    entities::{session, user},
    introspection,
    migrations::{self, Target},
    signing::Purpose,
};

/// Users and sessions per query.
const PAGE_SIZE: u64 = 1000;
/// Names listed at most.
const MAX_NAMES: usize = 20;

/// Look at a database of Django without changing it: what will work, and what `migrate` will change.
///
/// The exit status is 1 if something will not work; those lines begin with `!`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// What has been found.
#[derive(Default)]
struct Report {
    sections: Vec<(&'static str, Vec<String>)>,
    problems: usize,
}

impl Report {
    fn section(&mut self, title: &'static str) {
        self.sections.push((title, Vec::new()));
    }

    fn line(&mut self, line: impl Into<String>) {
        let section = self.sections.last_mut().expect("lines follow a title");
        section.1.push(line.into());
    }

    fn problem(&mut self, line: impl Into<String>) {
        self.problems += 1;
        self.line(format!("! {}", line.into()));
    }
}

impl Args {
    /// Reads the database and prints a report.
    ///
    /// # Errors
    /// When the database cannot be reached, or standard output cannot be written.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let db = context.connect_to_read().await?;
        let mut report = Report::default();
        if let Some(file) = context.settings.database.missing_file() {
            report.section("File");
            report.problem(format!("{} does not exist.", file.display()));
        }
        let tables = introspection::table_names(&db).await?;
        migrations_section(&db, &mut report).await?;
        tables_section(&db, &tables, &mut report).await?;
        if tables.iter().any(|table| table == "auth_user") {
            // Without one of its columns, which has been reported.
            if let Err(error) = users_section(&db, &mut report).await {
                report.problem(format!(
                    "The users cannot be read: {}.",
                    db::message(&error)
                ));
            }
        }
        if tables.iter().any(|table| table == "django_session") {
            sessions_section(&db, context, &mut report).await?;
        }
        references_section(&db, &mut report).await?;
        let address = context.settings.database.display();
        writeln!(context.out, "The database {address}")?;
        for (title, lines) in &report.sections {
            let title = context.styled(title, MIGRATE_HEADING);
            writeln!(context.out, "\n{title}")?;
            for line in lines {
                writeln!(context.out, "  {line}")?;
            }
        }
        let (result, code) = match report.problems {
            0 => (context.styled("No problems.", SUCCESS), ExitCode::SUCCESS),
            1 => (
                "1 problem: see the line with `!`.".to_owned(),
                ExitCode::FAILURE,
            ),
            count => (
                format!("{count} problems: see the lines with `!`."),
                ExitCode::FAILURE,
            ),
        };
        writeln!(context.out, "\n{result}")?;
        Ok(code)
    }
}

async fn migrations_section(db: &Database, report: &mut Report) -> Result<(), DbErr> {
    report.section("Migrations");
    let graph = Graph::new();
    let applied = migrations::applied(db).await?;
    if applied.is_empty() {
        report.line("None has been applied: the database is empty, or is not one of Django's.");
    }
    if let Some((migration, parent)) = migrations::inconsistency(&graph, &applied) {
        report.problem(format!(
            "{migration} is applied before its dependency {parent}: `migrate` refuses to run."
        ));
    }
    let targets: Vec<_> = graph
        .leaves(None)
        .into_iter()
        .map(Target::Migration)
        .collect();
    let plan = migrations::plan(&graph, &applied, &targets);
    let forwards = plan
        .iter()
        .filter(|(_, direction)| *direction == Direction::Forwards);
    let names: Vec<String> = forwards
        .map(|(migration, _)| migration.to_string())
        .collect();
    if names.is_empty() {
        report.line("`polls migrate` has nothing to apply.");
    } else {
        report.line("`polls migrate` will apply:");
        names
            .iter()
            .for_each(|name| report.line(format!("  {name}")));
    }
    let mut unknown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (app, name) in applied.unknown(&graph) {
        unknown.entry(app).or_default().push(name);
    }
    for (app, names) in unknown {
        if migration::APPS.contains(&app) {
            let names = names.join(", ");
            report.problem(format!(
                "{app} has migrations that this program does not have: {names}. What they changed is not used, and may be in the way."
            ));
        } else {
            report.line(format!(
                "The app {app} is unknown and left alone ({} migrations).",
                names.len()
            ));
        }
    }
    Ok(())
}

async fn tables_section(
    db: &Database,
    tables: &[String],
    report: &mut Report,
) -> Result<(), DbErr> {
    report.section("Tables");
    let (graph, applied) = (Graph::new(), migrations::applied(db).await?);
    let mut known = 0;
    for model in apps::models() {
        let found = introspection::describe(db, &model.table).await?;
        let is_applied = model.app != "polls"
            && applied.contains(
                graph
                    .roots(model.app)
                    .first()
                    .expect("each app has a first migration"),
            );
        for table in apps::tables(model) {
            let exists = tables.iter().any(|known| *known == table);
            match (is_applied, exists) {
                (true, false) => report.problem(format!(
                    "{table} does not exist, though the migration that creates it is recorded."
                )),
                (false, true) if model.app != "polls" => report.problem(format!(
                    "{table} exists, though the migration that creates it is not recorded: `migrate --fake-initial` records it."
                )),
                _ => {}
            }
        }
        if found.columns.is_empty() {
            continue;
        }
        known += 1;
        let mut expected: Vec<String> = model.columns().map(|field| field.column()).collect();
        expected.push(model.key.column());
        for column in &expected {
            if !found.columns.iter().any(|found| found.name == *column) {
                report.problem(format!("{} has no column {column}.", model.table));
            }
        }
        for column in found
            .columns
            .iter()
            .filter(|found| !expected.contains(&found.name))
        {
            let (table, name) = (&model.table, &column.name);
            // A column of Django 1.7, which a migration removes.
            if (table.as_str(), name.as_str()) == ("django_content_type", "name") {
                continue;
            }
            if column.is_null || column.has_default {
                report.line(format!("{table} has a column {name}, which is left alone."));
            } else {
                report.problem(format!(
                    "{table} has a column {name} that must have a value: objects cannot be added here."
                ));
            }
        }
    }
    report.line(format!(
        "{known} of the {} tables of models exist.",
        apps::models().len()
    ));
    let unknown: Vec<&str> = tables
        .iter()
        .map(String::as_str)
        .filter(|table| !introspection::is_known(table))
        .collect();
    if !unknown.is_empty() {
        report.line(format!("Unknown and left alone: {}.", unknown.join(", ")));
    }
    Ok(())
}

async fn users_section(db: &Database, report: &mut Report) -> Result<(), DbErr> {
    report.section("Users");
    let (mut count, mut unusable, mut last) = (0, 0, 0);
    let mut algorithms: BTreeMap<String, usize> = BTreeMap::new();
    let mut unreadable: Vec<String> = Vec::new();
    loop {
        let page: Vec<(i32, String, String)> = user::Entity::find()
            .select_only()
            .columns([
                user::Column::Id,
                user::Column::Username,
                user::Column::Password,
            ])
            .filter(user::COLUMN.id.gt(last))
            .order_by_asc(user::Column::Id)
            .limit(PAGE_SIZE)
            .into_tuple()
            .all(db)
            .await?;
        for (id, username, password) in &page {
            (count, last) = (count + 1, *id);
            if !hashers::is_usable(password) {
                unusable += 1;
                continue;
            }
            // What has no algorithm may be a password.
            let prefix = password.split('$').next();
            let prefix = prefix.filter(|_| hashers::is_encoded(password));
            let name = prefix.unwrap_or("unknown");
            *algorithms.entry(name.to_owned()).or_default() += 1;
            if hashers::algorithm(password).is_none() {
                unreadable.push(format!("{} ({name})", username.escape_debug()));
            }
        }
        if page.len() < PAGE_SIZE as usize {
            break;
        }
    }
    let algorithms: Vec<_> = algorithms
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    let algorithms = if algorithms.is_empty() {
        "none".to_owned()
    } else {
        algorithms.join(", ")
    };
    report.line(format!(
        "{count} users; passwords: {algorithms}; {unusable} without a usable password."
    ));
    if !unreadable.is_empty() {
        let more = match unreadable.len().saturating_sub(MAX_NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        unreadable.truncate(MAX_NAMES);
        report.problem(format!(
            "Passwords in a format that cannot be read, so that these users cannot log in until `polls changepassword` sets \
             others: {}{more}.",
            unreadable.join(", ")
        ));
    }
    Ok(())
}

async fn sessions_section(
    db: &Database,
    context: &Context,
    report: &mut Report,
) -> Result<(), DbErr> {
    report.section("Sessions");
    let newest = session::Entity::find()
        .filter(session::COLUMN.expire_date.gt(Utc::now()))
        .order_by_desc(session::Column::ExpireDate)
        .limit(PAGE_SIZE)
        .all(db)
        .await?;
    let keys = &context.settings.security.keys;
    let is_readable =
        |row: &&session::Model| keys.loads(&row.session_data, Purpose::Sessions).is_some();
    let readable = newest.iter().filter(is_readable).count();
    match newest.len() {
        0 => report.line("None is valid."),
        count if count == readable => {
            report.line(format!("{count} of the newest are valid, and this SECRET_KEY reads them all: their users stay logged in."));
        }
        count => report.problem(format!(
            "{} of the newest {count} valid sessions cannot be read with this SECRET_KEY: use Django's, or name it in \
             SECRET_KEY_FALLBACKS; otherwise their users have to log in again.",
            count - readable
        )),
    }
    Ok(())
}

async fn references_section(db: &Database, report: &mut Report) -> Result<(), DbErr> {
    let keys = introspection::foreign_keys_to_known(db).await?;
    if keys.is_empty() {
        return Ok(());
    }
    report.section("References of unknown tables");
    for key in keys {
        let (table, column, related) = (key.table_name(), &key.column, &key.related);
        let effect = if key.is_handled {
            "the database deletes or changes these rows with the referenced ones"
        } else if key.is_readable {
            "objects with such rows cannot be deleted here; the page lists the rows"
        } else {
            "objects with such rows cannot be deleted here; this role may not read the table"
        };
        report.line(format!("{table}.{column} refers to {related}: {effect}."));
    }
    Ok(())
}
