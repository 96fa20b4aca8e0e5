use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};

use crate::{
    auth::{
        hashers, users,
        validators::{UserAttributes, password_errors},
    },
    cli::{
        context::{Context, Stdout, print_error},
        prompt,
    },
    db::Purpose,
};

const MAX_TRIES: usize = 3;

/// Change a user's password.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The username; default the name of the operating system's user.
    username: Option<String>,
}

impl Args {
    /// Sets the password of a user, which is typed twice.
    ///
    /// # Errors
    /// When the user does not exist, standard input is no terminal, no valid password was typed in three attempts, or the database
    /// cannot be reached or written to.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let username = match self.username {
            Some(username) => username,
            None => whoami::username()
                .context("the operating system's user has no name: give a username")?,
        };
        let db = context.connect(Purpose::Command).await?;
        let user = users::find(&db, &username).await?;
        let user = user.with_context(|| format!("user '{username}' does not exist"))?;
        if !prompt::stdin_is_terminal() {
            bail!("a password can only be typed on a terminal.");
        }
        context.print(format_args!("Changing password for user '{username}'\n"));
        let password = ask_password(&(&user).into(), &username).await?;
        let iterations = context.settings.security.password_iterations;
        let password = hashers::make_password(&password, iterations);
        let tx = db.begin().await?;
        users::set_password(&tx, user.id, password).await?;
        tx.commit().await?;
        context.print(format_args!(
            "Password changed successfully for user '{username}'\n"
        ));
        Ok(ExitCode::SUCCESS)
    }
}

async fn ask_password(known: &UserAttributes<'_>, username: &str) -> anyhow::Result<String> {
    for _ in 0..MAX_TRIES {
        let password = prompt::password("Password: ").await?;
        if password.is_empty() {
            bail!("aborted");
        }
        if prompt::password("Password (again): ").await? != password {
            writeln!(Stdout, "Passwords do not match. Please try again.")?;
            continue;
        }
        match password_errors(&password, known).as_slice() {
            [] => return Ok(password),
            errors => errors.iter().for_each(print_error),
        }
    }
    bail!("Aborting password change for user '{username}' after {MAX_TRIES} attempts")
}
