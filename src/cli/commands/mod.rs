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

/// Django's words for an app that does not exist.
fn no_such_app(label: &str) -> String {
    format!("No installed app with label '{label}'.")
}
