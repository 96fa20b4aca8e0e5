//! The subcommands: one file each, with its arguments and `run`.

pub mod changepassword;
pub mod check;
pub mod clearsessions;
pub mod collectstatic;
pub mod completions;
pub mod createsuperuser;
pub mod dbshell;
pub mod diffsettings;
pub mod dumpdata;
pub mod export;
pub mod flush;
pub mod healthcheck;
pub mod inspect;
pub mod inspectdb;
pub mod loaddata;
pub mod makemigrations;
pub mod man;
pub mod migrate;
pub mod recount;
pub mod runserver;
pub mod seed;
pub mod shell;
pub mod showmigrations;
pub mod sqlflush;
pub mod sqlmigrate;
pub mod sqlsequencereset;

use anyhow::{Context as _, bail};
use migration::{APPS, Graph, Lookup, Migration};

use super::context::print_error;
use crate::apps::{self, Model};

/// The app with that label.
fn find_app(label: &str) -> anyhow::Result<&'static str> {
    match apps::app(label) {
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

/// The model with a label such as `polls_app.Choice`.
///
/// # Errors
/// Django's text, when there is no such app or model.
fn find_model(label: &str) -> anyhow::Result<&'static Model> {
    if let Some((app, _)) = label.split_once('.') {
        find_app(app)?;
    }
    apps::model(label).with_context(|| format!("Unknown model: {label}"))
}

/// The models of these labels of apps and models.
///
/// # Errors
/// Django's text, when there is no such app or model.
fn find_models(labels: &[String]) -> anyhow::Result<Vec<&'static Model>> {
    let mut models: Vec<&'static Model> = Vec::new();
    for label in labels {
        if label.contains('.') {
            models.push(find_model(label)?);
        } else {
            models.extend(apps::models_of(find_app(label)?));
        }
    }
    Ok(models)
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
