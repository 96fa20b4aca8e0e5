//! Addresses of PostgreSQL, as libpq has them
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>).

use std::num::NonZeroU16;

use anyhow::{anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// The known parameters.
const PARAMETERS: [&str; 7] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "application_name",
    "options",
];

/// The addresses of the servers that the value of `variable` names: one for each of its hosts, which are separated by commas.
/// `password` replaces the one in it.
///
/// # Errors
/// When it is invalid; the sentence does not contain it, since it may hold a password.
pub(super) fn postgres_urls(
    variable: &str,
    url: &str,
    password: Option<&SecretString>,
) -> anyhow::Result<Vec<SecretString>> {
    let urls = split_hosts(url);
    let one = |url: &String| postgres_url(variable, url, password);
    urls.iter().map(one).collect()
}

/// The address with each of its hosts.
fn split_hosts(url: &str) -> Vec<String> {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let rest = &url[start..];
    let end = start + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let hosts_start = start + url[start..end].rfind('@').map_or(0, |at| at + 1);
    let hosts = url[hosts_start..end].split(',');
    hosts
        .map(|host| format!("{}{host}{}", &url[..hosts_start], &url[end..]))
        .collect()
}

fn postgres_url(
    variable: &str,
    url: &str,
    password: Option<&SecretString>,
) -> anyhow::Result<SecretString> {
    let mut parsed = Url::parse(url).map_err(|error| {
        anyhow!("{variable} cannot be read: {error} (in a password, write / as %2F, @ as %40, # as %23, ? as %3F).")
    })?;
    if parsed.host_str().is_none_or(str::is_empty) && !url.contains("host=") {
        bail!("{variable} names no host.");
    }
    // A slash in a password ends what is read as the host, and the password would be taken for a path.
    if parsed.path().contains('@') {
        bail!(
            "{variable} has a password with a special character: write / as %2F, @ as %40, # as %23, ? as %3F."
        );
    }
    if parsed.path().trim_start_matches('/').is_empty() {
        bail!(
            "{variable} names no database: add it behind the host, as in postgres://user@host/name."
        );
    }
    // The library would name an unknown parameter in the log, value included.
    if let Some((name, _)) = parsed
        .query_pairs()
        .find(|(name, _)| !PARAMETERS.contains(&&**name))
    {
        bail!("{variable} has the parameter {name:?}, which is not known.");
    }
    if let Some(password) = password {
        parsed
            .set_password(Some(password.expose_secret()))
            .map_err(|()| anyhow!("{variable} cannot take a password."))?;
    }
    parsed
        .as_str()
        .parse::<sqlx::postgres::PgConnectOptions>()
        .map_err(|_| anyhow!("{variable} has a parameter that PostgreSQL does not know."))?;
    Ok(String::from(parsed).into())
}

/// A valid address with another password.
pub(super) fn with_password(url: &SecretString, password: &SecretString) -> SecretString {
    let Ok(mut parsed) = Url::parse(url.expose_secret()) else {
        return url.clone();
    };
    // One without a host, of a Unix socket, has no place for it, and stays as it is.
    let _ = parsed.set_password(Some(password.expose_secret()));
    String::from(parsed).into()
}

/// Valid addresses that differ in their hosts as one, without password and parameters.
pub(super) fn display_postgres(urls: &[SecretString]) -> String {
    let urls: Vec<_> = urls
        .iter()
        .filter_map(|url| Url::parse(url.expose_secret()).ok())
        .collect();
    let hosts: Vec<_> = urls.iter().map(host_and_port).collect();
    let (user, path) = urls
        .first()
        .map_or(("", ""), |url| (url.username(), url.path()));
    let user = if user.is_empty() {
        String::new()
    } else {
        format!("{user}@")
    };
    format!("postgres://{user}{}{path}", hosts.join(","))
}

/// The host of a valid address, and its port, if it has one.
pub fn display_host(url: &SecretString) -> String {
    Url::parse(url.expose_secret()).map_or_else(|_| String::new(), |url| host_and_port(&url))
}

fn host_and_port(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    format!("{host}{}", port.unwrap_or_default())
}

/// The address of the Service `polls-backend`, whose host and port Kubernetes puts into the environment.
///
/// # Errors
/// When the host is none.
pub(super) fn service_url(
    host: &str,
    port: NonZeroU16,
    user: &str,
    database: &str,
) -> anyhow::Result<String> {
    // A bare IPv6 address needs its brackets.
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let mut url = Url::parse(&format!("postgres://{host}:{port}/"))
        .map_err(|error| anyhow!("POLLS_BACKEND_SERVICE_HOST cannot be read: {error}."))?;
    url.set_path(database);
    url.set_username(user)
        .map_err(|()| anyhow!("POLLS_BACKEND_SERVICE_HOST names no host."))?;
    Ok(url.into())
}
