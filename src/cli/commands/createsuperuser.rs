use std::{io::Write, process::ExitCode};

use anyhow::bail;
use chrono::Utc;
use unicode_normalization::UnicodeNormalization;

use crate::{
    auth::{
        hashers, users,
        validators::{
            UserAttributes, email_errors, password_errors, unusable_at_login, username_errors,
        },
    },
    cli::{
        context::{Context, print_error},
        prompt,
    },
    db::{Database, Purpose},
    settings::Environment,
};

/// Add a user with all permissions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
    With --noinput, DJANGO_SUPERUSER_USERNAME, DJANGO_SUPERUSER_EMAIL and DJANGO_SUPERUSER_PASSWORD replace the options \
    that are not given. Without a password, the user cannot log in until one is set.")]
pub struct Args {
    /// The name to log in with.
    #[arg(long)]
    username: Option<String>,
    /// The email address.
    #[arg(long)]
    email: Option<String>,
    /// Do not prompt for input.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
}

struct Superuser {
    username: String,
    email: String,
    /// `None` means an unusable password.
    password: Option<String>,
}

impl Args {
    /// Creates a superuser from options, variables and, on a terminal, answers to prompts.
    ///
    /// # Errors
    /// When the username is taken, a value is missing or invalid, or the database cannot be reached or written to.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        if !self.noinput && !prompt::stdin_is_terminal() {
            writeln!(
                context.out,
                "Superuser creation skipped due to not running in a TTY. You can run `polls createsuperuser` in your \
                 project to create one manually."
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        let db = context.connect(Purpose::Command).await?;
        let user = if self.noinput {
            self.read_options(&context.environment, &db).await?
        } else {
            self.prompt_all(&db).await?
        };
        let password = match user.password {
            Some(password) => {
                let iterations = context.settings.security.password_iterations;
                hashers::make_password(&password, iterations)
            }
            None => hashers::unusable_password(),
        };
        let tx = db.begin().await?;
        users::create_superuser(&tx, &user.username, &user.email, password, Utc::now()).await?;
        tx.commit().await?;
        context.print("Superuser created successfully.\n");
        Ok(ExitCode::SUCCESS)
    }

    /// The user from the options and the environment variables.
    async fn read_options(
        self,
        environment: &Environment,
        db: &Database,
    ) -> anyhow::Result<Superuser> {
        let variable = |name| anyhow::Ok(environment.get(name)?.map(str::to_owned));
        let or_variable = |option: Option<String>, name| match option {
            Some(option) => Ok(Some(option)),
            None => variable(name),
        };
        let Some(username) = or_variable(self.username, "DJANGO_SUPERUSER_USERNAME")? else {
            bail!("You must use --username with --noinput.");
        };
        if let Some(error) = username_error(db, &username).await? {
            bail!(error);
        }
        let email = match or_variable(self.email, "DJANGO_SUPERUSER_EMAIL")? {
            Some(email) => email,
            None => bail!("You must use --email with --noinput."),
        };
        let errors = email_errors(&email);
        if !errors.is_empty() {
            bail!(errors.join("; "));
        }
        let password = variable("DJANGO_SUPERUSER_PASSWORD")?;
        if let Some(error) = password.as_deref().and_then(unusable_at_login) {
            bail!(error);
        }
        Ok(Superuser {
            username,
            email,
            password,
        })
    }

    /// The user from the prompts.
    async fn prompt_all(self, db: &Database) -> anyhow::Result<Superuser> {
        let username = match self.username {
            Some(given) => match username_error(db, &given).await? {
                Some(error) if given.is_empty() => bail!(error),
                Some(error) => {
                    print_error(error);
                    ask_username(db).await?
                }
                None => given,
            },
            None => ask_username(db).await?,
        };
        let email = match self.email {
            Some(given) => match email_errors(&given).as_slice() {
                [] => given,
                errors => bail!(errors.join("; ")),
            },
            None => ask_email().await?,
        };
        let known = UserAttributes {
            username: &username,
            email: &email,
            ..UserAttributes::default()
        };
        let password = ask_password(&known).await?;
        Ok(Superuser {
            username,
            email,
            password: Some(password),
        })
    }
}

async fn ask_username(db: &Database) -> anyhow::Result<String> {
    let default = default_username(db).await?;
    let hint = default
        .as_ref()
        .map(|name| format!(" (leave blank to use '{name}')"))
        .unwrap_or_default();
    loop {
        let mut username = prompt::line(&format!("Username{hint}: ")).await?;
        if let (true, Some(default)) = (username.is_empty(), &default) {
            username.clone_from(default);
        }
        let errors = username_errors(&username);
        if !errors.is_empty() {
            print_error(format_args!("Error: {}", errors.join("; ")));
        } else if let Some(error) = username_error(db, &username).await? {
            print_error(error);
        } else {
            return Ok(username);
        }
    }
}

async fn ask_email() -> anyhow::Result<String> {
    loop {
        let email = prompt::line("Email address: ").await?;
        match email_errors(&email).as_slice() {
            [] => return Ok(email),
            errors => print_error(format_args!("Error: {}", errors.join("; "))),
        }
    }
}

async fn ask_password(known: &UserAttributes<'_>) -> anyhow::Result<String> {
    loop {
        let password = prompt::password("Password: ").await?;
        if prompt::password("Password (again): ").await? != password {
            print_error("Error: Your passwords didn't match.");
            continue;
        }
        if password.trim().is_empty() {
            print_error("Error: Blank passwords aren't allowed.");
            continue;
        }
        let errors = password_errors(&password, known);
        if errors.is_empty() {
            return Ok(password);
        }
        errors.iter().for_each(print_error);
        let answer =
            prompt::line("Bypass password validation and create user anyway? [y/N]: ").await?;
        if answer.eq_ignore_ascii_case("y") {
            return Ok(password);
        }
    }
}

/// The error of a username that is invalid or taken; `None` for a usable one.
async fn username_error(db: &Database, username: &str) -> anyhow::Result<Option<String>> {
    if users::find(db, &username.nfkc().collect::<String>())
        .await?
        .is_some()
    {
        return Ok(Some("Error: That username is already taken.".to_owned()));
    }
    if username.is_empty() {
        return Ok(Some("Username cannot be blank.".to_owned()));
    }
    let errors = username_errors(username);
    Ok((!errors.is_empty()).then(|| errors.join("; ")))
}

/// The name of the operating system's user, if it is valid and not taken (Django's `get_default_username`).
async fn default_username(db: &Database) -> anyhow::Result<Option<String>> {
    let Ok(name) = whoami::username() else {
        return Ok(None);
    };
    let name: String = name
        .nfkd()
        .filter(|c| c.is_ascii() && *c != ' ')
        .collect::<String>()
        .to_lowercase();
    let is_usable = username_errors(&name).is_empty() && users::find(db, &name).await?.is_none();
    Ok(is_usable.then_some(name))
}
