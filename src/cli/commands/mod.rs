//! The subcommands: in each file its arguments and what it does.

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

/// The app with that label.
fn find_app(label: &str) -> anyhow::Result<&'static str> {
    match APPS.into_iter().find(|app| *app == label) {
        Some(app) => Ok(app),
        None => bail!(no_such_app(label)),
    }
}

/// Those apps, or all when none is named; `None`, and a line for each that does not exist, when there is such a one.
fn find_apps(labels: &[String]) -> Option<Vec<&'static str>> {
    let unknown: Vec<_> = labels
        .iter()
        .filter(|label| !APPS.contains(&label.as_str()))
        .collect();
    unknown
        .iter()
        .for_each(|label| eprintln!("{}", no_such_app(label)));
    let is_wanted = |app: &&str| labels.is_empty() || labels.iter().any(|label| label == app);
    unknown
        .is_empty()
        .then(|| APPS.into_iter().filter(is_wanted).collect())
}

/// The one migration of an app whose name begins so; `None` when none does.
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

/// Django's words for an app that does not exist.
fn no_such_app(label: &str) -> String {
    format!("No installed app with label '{label}'.")
}
