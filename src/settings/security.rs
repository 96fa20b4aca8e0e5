//! The secret key, and the proxies and hosts that are trusted.

use std::{net::IpAddr, str::FromStr};

use anyhow::bail;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{cookies::CookieSettings, env, headers::HeaderSettings};
use crate::signing::Keys;

/// Rounds of PBKDF2 for new password hashes: Django 5.2's.
const PASSWORD_ITERATIONS: u32 = 1_000_000;

/// The key of a site in debug mode that has none of its own.
const DEBUG_KEY: &str = "django-insecure-polls-debug-mode-only";
const MIN_KEY_LENGTH: usize = 16;
const LOCALHOST: [&str; 3] = [".localhost", "127.0.0.1", "[::1]"];

/// - `SECRET_KEY` or `SECRET_KEY_FILE`: signs what clients carry; required unless `DEBUG` is on, 16 characters at
///   least.
/// - `SECRET_KEY_FALLBACKS`: older keys, separated by commas, whose signatures are still accepted.
/// - `ALLOWED_HOSTS`: the names the site answers to, separated by commas: exact, `.suffix` with all below it, or `*`;
///   required unless `DEBUG` is on, which allows the names of this machine.
/// - `CSRF_TRUSTED_ORIGINS`: other sites whose forms are taken, as `https://example.com` or `https://*.example.com`.
/// - `TRUSTED_PROXIES`: addresses or networks whose `X-Forwarded-Proto` and `X-Forwarded-For` are trusted; default loopback.
/// - `USE_X_FORWARDED_HOST`: whether their `X-Forwarded-Host` is trusted too; default no.
/// - `CSRF_HEADER_NAME`: the header in which scripts send the token, as Django writes it; default `HTTP_X_CSRFTOKEN`.
/// - `SESSION_EXPIRE_AT_BROWSER_CLOSE`, `SESSION_SAVE_EVERY_REQUEST`: default no.
/// - `DATA_UPLOAD_MAX_MEMORY_SIZE`: the largest body, in bytes; default 2621440.
/// - `DATA_UPLOAD_MAX_NUMBER_FIELDS`: the most fields of a form; default 1000.
#[derive(Debug, Clone)]
pub struct SecuritySettings {
    /// The keys that sign sessions, messages and tokens.
    pub keys: Keys,
    /// Rounds of PBKDF2 for new hashes. Tests lower them; no variable does.
    pub password_iterations: u32,
    /// The names the site answers to.
    pub allowed_hosts: Vec<String>,
    /// Other sites whose forms are taken.
    pub csrf_trusted_origins: Vec<String>,
    /// Networks whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether their `X-Forwarded-Host` is.
    pub use_x_forwarded_host: bool,
    /// The header in which scripts send the CSRF token.
    pub csrf_header: String,
    /// The session's cookie.
    pub session_cookie: CookieSettings,
    /// Whether a session ends with the browser.
    pub session_expire_at_browser_close: bool,
    /// Whether each request gives a session its whole time again.
    pub session_save_every_request: bool,
    /// The CSRF token's cookie.
    pub csrf_cookie: CookieSettings,
    /// What answers tell browsers.
    pub headers: HeaderSettings,
    /// The largest body, in bytes.
    pub data_upload_max_memory_size: usize,
    /// The most fields of a form.
    pub data_upload_max_number_fields: usize,
}

/// Django's default for `DATA_UPLOAD_MAX_MEMORY_SIZE`, in bytes.
pub const MAX_BODY: usize = 2_621_440;
/// Django's default for `DATA_UPLOAD_MAX_NUMBER_FIELDS`.
pub const MAX_FIELDS: usize = 1000;

/// Django's default cookie for sessions: kept for two weeks.
pub fn session_cookie() -> CookieSettings {
    CookieSettings::new("sessionid", 1_209_600)
}

/// Django's default cookie for CSRF tokens: kept for a year of 52 weeks, and there for scripts to read.
pub fn csrf_cookie() -> CookieSettings {
    CookieSettings {
        http_only: false,
        ..CookieSettings::new("csrftoken", 31_449_600)
    }
}

impl SecuritySettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env(debug: bool, forwarded_allow_ips: &[Network]) -> anyhow::Result<Self> {
        let secret_key = match env::secret("SECRET_KEY")? {
            None if debug => DEBUG_KEY.into(),
            None => bail!(
                "SECRET_KEY is not set: give it 50 random characters (`openssl rand -base64 48` makes some), \
                 or set DEBUG=true while you try things out."
            ),
            Some(key) if !debug && key.expose_secret().chars().count() < MIN_KEY_LENGTH => {
                bail!(
                    "SECRET_KEY is shorter than {MIN_KEY_LENGTH} characters, which is too easy to guess."
                )
            }
            Some(key) => key,
        };
        let fallbacks: Vec<String> = env::list("SECRET_KEY_FALLBACKS")?.unwrap_or_default();
        let fallbacks = fallbacks.into_iter().map(SecretString::from).collect();
        let allowed_hosts: Vec<String> = env::list("ALLOWED_HOSTS")?.unwrap_or_default();
        if let Some(host) = allowed_hosts.iter().find(|host| !is_host_pattern(host)) {
            bail!(
                "ALLOWED_HOSTS has the entry {host:?}: write a name without scheme, port and path, .suffix, or *."
            );
        }
        let csrf_trusted_origins: Vec<String> =
            env::list("CSRF_TRUSTED_ORIGINS")?.unwrap_or_default();
        if let Some(origin) = csrf_trusted_origins
            .iter()
            .find(|origin| !is_origin(origin))
        {
            bail!(
                "CSRF_TRUSTED_ORIGINS has the entry {origin:?}: write it as https://example.com or \
                 https://*.example.com, without a path."
            );
        }
        let allowed_hosts = match (debug, allowed_hosts.is_empty()) {
            (true, true) => LOCALHOST.map(str::to_owned).to_vec(),
            _ => allowed_hosts,
        };
        Ok(Self {
            keys: Keys {
                current: secret_key,
                fallbacks,
            },
            password_iterations: PASSWORD_ITERATIONS,
            allowed_hosts,
            csrf_trusted_origins,
            trusted_proxies: trusted_proxies(forwarded_allow_ips),
            use_x_forwarded_host: env::flag("USE_X_FORWARDED_HOST")?,
            csrf_header: csrf_header()?,
            session_cookie: session_cookie().from_env("SESSION_COOKIE")?,
            session_expire_at_browser_close: env::flag("SESSION_EXPIRE_AT_BROWSER_CLOSE")?,
            session_save_every_request: env::flag("SESSION_SAVE_EVERY_REQUEST")?,
            csrf_cookie: csrf_cookie().from_env("CSRF_COOKIE")?,
            headers: HeaderSettings::from_env()?,
            data_upload_max_memory_size: env::parsed(
                "DATA_UPLOAD_MAX_MEMORY_SIZE",
                "a number of bytes",
            )?
            .unwrap_or(MAX_BODY),
            data_upload_max_number_fields: env::parsed(
                "DATA_UPLOAD_MAX_NUMBER_FIELDS",
                "a number",
            )?
            .unwrap_or(MAX_FIELDS),
        })
    }

    /// Whether the key is weak by Django's measure (check `security.W009`).
    pub fn has_weak_key(&self) -> bool {
        is_weak(&self.keys.current)
    }

    /// How many of the older keys are weak (check `security.W025`).
    pub fn weak_fallbacks(&self) -> Vec<usize> {
        let keys = self.keys.fallbacks.iter().enumerate();
        keys.filter(|(_, key)| is_weak(key))
            .map(|(index, _)| index)
            .collect()
    }
}

/// The networks of proxies that an option names; those of this machine when it names none.
pub fn trusted_proxies(forwarded_allow_ips: &[Network]) -> Vec<IpNet> {
    match forwarded_allow_ips {
        [] => loopback(),
        networks => networks.iter().map(|network| network.0).collect(),
    }
}

fn is_weak(key: &SecretString) -> bool {
    let key = key.expose_secret();
    let distinct: std::collections::BTreeSet<char> = key.chars().collect();
    key.chars().count() < 50 || distinct.len() < 5 || key.starts_with("django-insecure-")
}

/// The name of a header from Django's name for it among a request's variables.
fn csrf_header() -> anyhow::Result<String> {
    let Some(name) = env::var("CSRF_HEADER_NAME")? else {
        return Ok("x-csrftoken".to_owned());
    };
    let header = name.strip_prefix("HTTP_").unwrap_or_default();
    if header.is_empty()
        || !header
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        bail!("CSRF_HEADER_NAME must be written as HTTP_X_CSRFTOKEN, not {name:?}.");
    }
    Ok(header.replace('_', "-").to_ascii_lowercase())
}

/// Whether a text is a host's name or address, `.suffix`, or `*`.
fn is_host_pattern(text: &str) -> bool {
    let name = text.strip_prefix('.').unwrap_or(text);
    let is_address = name.starts_with('[') && name.ends_with(']');
    text == "*"
        || !name.is_empty()
            && (is_address
                || name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)))
}

/// Whether a text is a scheme and a host, perhaps with a port, or with `*.` before the host.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    let host = host.strip_prefix("*.").unwrap_or(host);
    let is_bare = !host.is_empty() && !host.contains(['*', '/', '?', '#', '@']);
    is_bare && url::Url::parse(&format!("{scheme}://{host}")).is_ok_and(|url| url.has_host())
}

/// The networks of this machine alone.
pub fn loopback() -> Vec<IpNet> {
    ["127.0.0.0/8", "::1/128"]
        .map(|network| network.parse().expect("is a network"))
        .to_vec()
}

/// A network, or a single address as the network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map(Self)
            .map_err(|_| "it is no address and no network (every address is 0.0.0.0/0 and ::/0)")
    }
}

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}
