//! The subcommands: one file each, with its arguments and `run`.

pub mod changepassword;
pub mod check;
pub mod completions;
pub mod createsuperuser;
pub mod healthcheck;
pub mod makemigrations;
pub mod man;
pub mod migrate;
pub mod runserver;
pub mod seed;
pub mod showmigrations;
pub mod sqlmigrate;

use anyhow::bail;
use migration::{APPS, Graph, Lookup, Migration};

use super::context::print_error;

/// The app with that label.
fn find_app(label: &str) -> anyhow::Result<&'static str> {
    match APPS.into_iter().find(|app| *app == label) {
        Some(app) => Ok(app),
        None => bail!(no_such_app(label)),
    }
}

/// The apps with these labels, or all without labels. Prints a line for each unknown label, and then returns `None`.
fn find_apps(labels: &[String]) -> Option<Vec<&'static str>> {
    let unknown: Vec<_> = labels
        .iter()
        .filter(|label| !APPS.contains(&label.as_str()))
        .collect();
    unknown
        .iter()
        .for_each(|label| print_error(no_such_app(label)));
    let is_wanted = |app: &&str| labels.is_empty() || labels.iter().any(|label| label == app);
    unknown
        .is_empty()
        .then(|| APPS.into_iter().filter(is_wanted).collect())
}

/// The migration of an app whose name starts with `name`; `None` if there is none.
///
/// # Errors
/// When there are several.
fn find_migration(
    graph: &Graph,
    app: &str,
    name: &str,
) -> anyhow::Result<Option<&'static Migration>> {
    match graph.find(app, name) {
        Lookup::Found(migration) => Ok(Some(migration)),
        Lookup::None => Ok(None),
        Lookup::Ambiguous => {
            bail!(
                "More than one migration matches '{name}' in app '{app}'. Please be more specific."
            )
        }
    }
}

/// Django's message for an unknown app label.
fn no_such_app(label: &str) -> String {
    format!("No installed app with label '{label}'.")
}
