//! All declared settings with their values, for `diffsettings`.

use secrecy::ExposeSecret;
use url::Url;

use super::{
    cache, database,
    environment::Environment,
    general, log, other_sites,
    security::{self, SecuritySettings},
    server::{self, ServerOptions},
    variable::{DefaultValue, Variable},
};

/// The text in place of a secret, as on Django's debug page (`cleansed_substitute`).
const MASK: &str = "********************";

/// A declared setting.
#[derive(Debug)]
pub struct DeclaredVariable {
    /// Its name.
    pub name: &'static str,
    /// Its value, masked if it is a secret; `None` if it is the default.
    pub value: Option<String>,
    /// The default, or its description.
    pub default: &'static str,
    /// Whether Django has a setting of this name.
    pub is_django: bool,
}

/// The variables of this program, without the options of the server.
pub(super) fn own() -> impl Iterator<Item = Variable> {
    let groups = [
        security::VARIABLES,
        general::VARIABLES,
        database::VARIABLES,
        cache::VARIABLES,
        other_sites::VARIABLES,
        log::VARIABLES,
        server::options::VARIABLES,
    ];
    groups.into_iter().flatten().copied()
}

/// All declared settings.
///
/// # Errors
/// When a value is not UTF-8, or an option of the server is invalid.
pub(super) fn variables(environment: &Environment) -> anyhow::Result<Vec<DeclaredVariable>> {
    let django = SecuritySettings::django_variables();
    let all = own().chain(django).map(|variable| {
        let value = value(environment, &variable)?;
        anyhow::Ok(declared(variable, value))
    });
    let mut all = all.collect::<Result<Vec<_>, _>>()?;
    let options = ServerOptions::values(environment)?;
    all.extend(
        options
            .into_iter()
            .map(|(variable, value)| declared(variable, value)),
    );
    Ok(all)
}

fn declared(variable: Variable, value: Option<String>) -> DeclaredVariable {
    let is_default =
        |value: &String| matches!(variable.default, DefaultValue::Value(text) if text == value);
    DeclaredVariable {
        name: variable.name,
        value: value.filter(|value| !is_default(value)),
        default: variable.default.text(),
        is_django: is_of_django(variable.name),
    }
}

/// Whether Django's `global_settings` has the name.
fn is_of_django(name: &str) -> bool {
    let shared = [
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "ALLOWED_HOSTS",
        "CSRF_TRUSTED_ORIGINS",
        "USE_X_FORWARDED_HOST",
        "DEBUG",
        "TIME_ZONE",
        "STATIC_URL",
        "STATIC_ROOT",
    ];
    shared.contains(&name)
        || SecuritySettings::django_variables().any(|variable| variable.name == name)
}

fn value(environment: &Environment, variable: &Variable) -> anyhow::Result<Option<String>> {
    let name = variable.name;
    Ok(match name {
        "SECRET_KEY"
        | "SECRET_KEY_FALLBACKS"
        | "DATABASE_PASSWORD"
        | "DATABASE_PASSWORD_PREVIOUS"
        | "POSTGRES_PASSWORD"
        | "CACHE_PASSWORD" => {
            let secret = environment.secret(name)?;
            let secret = secret.filter(|secret| !secret.expose_secret().is_empty());
            secret.map(|_| MASK.to_owned())
        }
        _ if name.ends_with("_URL") || name.ends_with("_ENDPOINT") => {
            environment.get(name)?.map(without_password)
        }
        _ => environment.get(name)?.map(str::to_owned),
    })
}

fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some(MASK)) {
            Ok(()) => url.into(),
            Err(()) => MASK.to_owned(),
        },
        // What looks like a password may be a part of another kind.
        Err(_) if url.contains('@') => MASK.to_owned(),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_defaults_are_left_out() {
        let environment = Environment::from_iter([
            ("SECRET_KEY", "0Ei3nVd8yq4hTzr1KxLw"),
            ("DATABASE_URL", "postgres://polls:hidden@db/polls"),
            ("CACHE_URL", "redis://:hidden@cache:6379/0"),
            ("DATABASE_PASSWORD", "hidden"),
            ("CACHE_PASSWORD", "hidden"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hidden@h:4318"),
            ("TIME_ZONE", "UTC"),
            ("ALLOWED_HOSTS", "polls.example"),
            ("KEEPALIVE", "5"),
            ("TIMEOUT", "30"),
        ]);
        let all = variables(&environment).unwrap();
        let shown = |name: &str| {
            let variable = all.iter().find(|variable| variable.name == name);
            variable
                .unwrap_or_else(|| panic!("no {name}"))
                .value
                .as_deref()
        };
        assert_eq!(shown("SECRET_KEY"), Some(MASK));
        assert_eq!(shown("DATABASE_PASSWORD"), Some(MASK));
        assert_eq!(
            shown("DATABASE_URL"),
            Some("postgres://polls:********************@db/polls")
        );
        assert_eq!(
            shown("CACHE_URL"),
            Some("redis://:********************@cache:6379/0")
        );
        assert_eq!(shown("TIME_ZONE"), None);
        assert_eq!(shown("ALLOWED_HOSTS"), Some("polls.example"));
        assert_eq!(shown("KEEPALIVE"), Some("5"));
        assert_eq!(shown("GRACEFUL_TIMEOUT"), None);
        assert!(!format!("{all:?}").contains("hidden"));
    }
}
