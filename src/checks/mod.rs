//! The system checks of `check` and of the server's start, in the format of Django's.

mod deploy;
mod message;

use std::io::{self, Write};

use migration::DbBackend;
use sea_orm::{ConnectionTrait, DbErr, Statement};

pub use self::message::{Level, Message};
use crate::{
    admin,
    db::{Database, Purpose},
    migrations::{self, Missing},
    server::tls::Tls,
    settings::Settings,
    site::admin_site,
    templates::Templates,
};

/// The oldest PostgreSQL that is supported, as `server_version_num`.
const MIN_POSTGRES: i32 = 130_000;

/// A group of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Tag {
    /// The declarations of the admin: do their fields exist?
    Admin,
    /// The database: can it be reached, and is its version supported?
    Database,
    /// The migrations: have all been applied?
    Migrations,
    /// Security settings for a deployment on the internet; with --deploy only.
    Security,
    /// The settings: are they valid?
    Settings,
    /// The templates: do all compile?
    Templates,
}

/// Runs the checks of the given tags.
pub async fn run(settings: &Settings, tags: &[Tag]) -> Vec<Message> {
    let mut messages = Vec::new();
    if tags.contains(&Tag::Admin) {
        let errors = admin::check_models(&admin_site()).into_iter();
        messages.extend(errors.map(|(id, text)| Message::error(id, text, None)));
    }
    if tags.contains(&Tag::Settings) {
        check_settings(settings, &mut messages);
    }
    if tags.contains(&Tag::Templates) {
        check_templates(settings, &mut messages);
    }
    if tags.contains(&Tag::Security) {
        deploy::check_settings(settings, &mut messages);
    }
    if [Tag::Database, Tag::Migrations, Tag::Security]
        .iter()
        .any(|tag| tags.contains(tag))
    {
        check_database(settings, tags, &mut messages).await;
    }
    messages
}

/// Writes the messages in Django's format: to stderr, or to `out` that there are none, if `is_verbose`. False when a message has
/// `fail_level` or above.
///
/// # Errors
/// When `out` cannot be written to.
pub fn report(
    messages: &[Message],
    fail_level: Level,
    is_verbose: bool,
    out: &mut dyn Write,
) -> io::Result<bool> {
    let has_failed = messages.iter().any(|message| message.level >= fail_level);
    let count = match messages.len() {
        0 => "no issues".to_owned(),
        1 => "1 issue".to_owned(),
        n => format!("{n} issues"),
    };
    let summary = format!("System check identified {count} (0 silenced).");
    if messages.is_empty() {
        if is_verbose {
            writeln!(out, "{summary}")?;
        }
        return Ok(true);
    }
    let mut text = "System check identified some issues:\n".to_owned();
    for (level, heading) in [(Level::Error, "ERRORS"), (Level::Warning, "WARNINGS")] {
        let mut of_level = messages
            .iter()
            .filter(|message| message.level == level)
            .peekable();
        if of_level.peek().is_some() {
            text += &format!("\n{heading}:\n");
        }
        for message in of_level {
            text += &format!("?: ({}) {}\n", message.id, message.text);
            if let Some(hint) = message.hint {
                text += &format!("\tHINT: {hint}\n");
            }
        }
    }
    let kind = if has_failed { "SystemCheckError: " } else { "" };
    // A closed stderr must not change the exit status.
    let _ = writeln!(io::stderr(), "{kind}{text}\n{summary}");
    Ok(!has_failed)
}

fn check_settings(settings: &Settings, messages: &mut Vec<Message>) {
    if !settings.debug && settings.security.has_weak_key() {
        // Django's text, except for its advice about Django's own key generator.
        let text = "Your SECRET_KEY has less than 50 characters, less than 5 unique characters, or it's prefixed with \
                    'django-insecure-' indicating that it was generated automatically. Please generate a long and \
                    random value, otherwise many security-critical features will be vulnerable to attack.";
        messages.push(Message::warning("security.W009", text.to_owned(), None));
    }
    if let Some(files) = &settings.server.tls
        && let Err(error) = Tls::load(files)
    {
        let text = format!("TLS cannot be spoken: {error:#}.");
        let hint = "Give CERTFILE and KEYFILE files as PEM that belong together.";
        messages.push(Message::error("polls.E004", text, Some(hint)));
    }
    if settings.security.allowed_hosts.is_empty() {
        let text = "ALLOWED_HOSTS must not be empty in deployment.".to_owned();
        messages.push(Message::warning(
            "security.W020",
            text,
            Some("`runserver` refuses to start without it."),
        ));
    }
}

fn check_templates(settings: &Settings, messages: &mut Vec<Message>) {
    for error in Templates::new(&settings.static_url, settings.debug).check() {
        messages.push(Message::error(
            "polls.E001",
            format!("A template does not compile: {error}."),
            None,
        ));
    }
}

async fn check_database(settings: &Settings, tags: &[Tag], messages: &mut Vec<Message>) {
    if let Some(file) = settings.database.missing_file() {
        // Connecting would create it.
        let text = format!("The database {} does not exist yet.", file.display());
        messages.push(Message::warning(
            "polls.W002",
            text,
            Some("Run 'polls migrate' to create it."),
        ));
        return;
    }
    let unreachable = |error: DbErr| {
        let text = format!(
            "The database at {} cannot be reached: {error}.",
            settings.database.display()
        );
        Message::error("polls.E002", text, Some("Check DATABASE_URL."))
    };
    match Database::connect(&settings.database, Purpose::Command).await {
        Ok(db) => {
            if let Err(error) = query_database(&db, tags, messages).await {
                messages.push(unreachable(error));
            }
            db.close().await;
        }
        Err(error) => messages.push(unreachable(error)),
    }
}

async fn query_database(
    db: &Database,
    tags: &[Tag],
    messages: &mut Vec<Message>,
) -> Result<(), DbErr> {
    if tags.contains(&Tag::Database) && db.get_database_backend() == DbBackend::Postgres {
        let query = "SELECT current_setting('server_version_num')::int4 AS version";
        let row = db
            .query_one_raw(Statement::from_string(DbBackend::Postgres, query))
            .await?;
        let version: i32 = row.map_or(Ok(0), |row| row.try_get("", "version"))?;
        if version < MIN_POSTGRES {
            let text = format!(
                "PostgreSQL {} is older than what polls works with.",
                version / 10_000
            );
            messages.push(Message::error(
                "polls.E003",
                text,
                Some("Upgrade it to PostgreSQL 13 or later."),
            ));
        }
    }
    if tags.contains(&Tag::Database) {
        for missing in migrations::missing(db).await? {
            let (id, text) = match missing {
                Missing::Index { name, .. } => (
                    "polls.W022",
                    format!("The index {name} is missing, and long lists are slow without it."),
                ),
                Missing::Triggers => (
                    "polls.W023",
                    "The triggers that notify of changes are missing, disabled or changed, and no page is served from memory."
                        .to_owned(),
                ),
            };
            let hint = Some("Run 'polls migrate' to create what is missing again.");
            messages.push(Message::warning(id, text, hint));
        }
    }
    if tags.contains(&Tag::Security) {
        deploy::check_database(db, messages).await?;
    }
    if tags.contains(&Tag::Migrations) {
        let unapplied = migrations::unapplied(db).await?;
        if !unapplied.is_empty() {
            let text = format!("{} migration(s) have not been applied.", unapplied.len());
            messages.push(Message::warning(
                "polls.W001",
                text,
                Some("Run 'polls migrate' to apply them."),
            ));
        }
    }
    Ok(())
}
