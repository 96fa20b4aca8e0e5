//! The secret key, the hosts and proxies that are trusted, cookies, and limits on forms.

use std::{net::IpAddr, str::FromStr};

use anyhow::bail;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    cookies::{CSRF_COOKIE, CookieSettings, SESSION_COOKIE},
    environment::Environment,
    headers::{self, HeaderSettings},
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};
use crate::signing::Keys;

/// Rounds of PBKDF2 for new password hashes: Django 5.2's.
const PASSWORD_ITERATIONS: u32 = 1_000_000;

/// The key in debug mode when `SECRET_KEY` is not set.
const DEBUG_KEY: &str = "django-insecure-polls-debug-mode-only";
const MIN_KEY_LENGTH: usize = 16;
const LOCALHOST: [&str; 3] = [".localhost", "127.0.0.1", "[::1]"];

variables! {
    VARIABLES:
    /// Signs sessions, messages and tokens, as in Django; 16 characters at least, 50 random ones to be safe; or `SECRET_KEY_FILE`, a file with it. Required unless `DEBUG` is on
    SECRET_KEY = Described("none");
    /// Older keys, separated by commas, whose signatures are still accepted
    SECRET_KEY_FALLBACKS = Described("none");
    /// The host names of the site, separated by commas: exact, `.suffix` with its subdomains, or `*`. Health checks may use any
    ALLOWED_HOSTS = Described("none; in debug mode this machine's names");
    /// Other origins whose forms are accepted, separated by commas: `https://example.com`, `https://*.example.com`
    CSRF_TRUSTED_ORIGINS = Described("none");
    /// Whether the `X-Forwarded-Host` of trusted proxies is trusted
    USE_X_FORWARDED_HOST = Value("false");
}

variables! {
    LIMITS_AND_SESSIONS:
    /// The header in which scripts send the CSRF token, as Django writes it
    CSRF_HEADER_NAME = Value("HTTP_X_CSRFTOKEN");
    /// Whether a session ends with the browser
    SESSION_EXPIRE_AT_BROWSER_CLOSE = Value("false");
    /// Whether each request renews a session's whole time
    SESSION_SAVE_EVERY_REQUEST = Value("false");
    /// The largest request body, in bytes
    DATA_UPLOAD_MAX_MEMORY_SIZE = Value("2621440");
    /// Fields in a form, at most
    DATA_UPLOAD_MAX_NUMBER_FIELDS = Value("1000");
}

/// The secret key, the hosts and proxies that are trusted, cookies, and limits on forms.
#[derive(Debug, Clone)]
pub struct SecuritySettings {
    /// The keys that sign sessions, messages and tokens.
    pub keys: Keys,
    /// Rounds of PBKDF2 for new hashes. Tests lower them; no variable does.
    pub password_iterations: u32,
    /// The host names of the site: exact, `.suffix` or `*`.
    pub allowed_hosts: Vec<String>,
    /// Other origins whose forms are accepted.
    pub csrf_trusted_origins: Vec<String>,
    /// Networks of the proxies whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether their `X-Forwarded-Host` is trusted.
    pub use_x_forwarded_host: bool,
    /// The header in which scripts send the CSRF token, in lower case.
    pub csrf_header: String,
    /// The session's cookie.
    pub session_cookie: CookieSettings,
    /// Whether a session ends with the browser.
    pub session_expire_at_browser_close: bool,
    /// Whether each request renews a session's whole time.
    pub session_save_every_request: bool,
    /// The CSRF token's cookie.
    pub csrf_cookie: CookieSettings,
    /// The security headers and the redirect to HTTPS.
    pub headers: HeaderSettings,
    /// The largest request body, in bytes.
    pub data_upload_max_memory_size: usize,
    /// Fields in a form, at most.
    pub data_upload_max_number_fields: usize,
}

impl SecuritySettings {
    /// Django's settings of the same names, in the order of the documentation.
    pub(super) fn django_variables() -> impl Iterator<Item = Variable> {
        let cookies = SESSION_COOKIE.all().into_iter().chain(CSRF_COOKIE.all());
        let others = headers::VARIABLES.iter().chain(LIMITS_AND_SESSIONS);
        others.copied().chain(cookies)
    }

    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the invalid variable.
    pub(super) fn read(
        environment: &Environment,
        debug: bool,
        forwarded_allow_ips: &[Network],
    ) -> anyhow::Result<Self> {
        let secret_key = match environment.secret(SECRET_KEY.name)? {
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
        let fallbacks: Vec<String> = SECRET_KEY_FALLBACKS.list(environment)?;
        let fallbacks = fallbacks.into_iter().map(SecretString::from).collect();
        let allowed_hosts: Vec<String> = ALLOWED_HOSTS.list(environment)?;
        if let Some(host) = allowed_hosts.iter().find(|host| !is_host_pattern(host)) {
            bail!(
                "ALLOWED_HOSTS has the entry {host:?}: write a name without scheme, port and path, .suffix, or *."
            );
        }
        let csrf_trusted_origins: Vec<String> = CSRF_TRUSTED_ORIGINS.list(environment)?;
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
            use_x_forwarded_host: USE_X_FORWARDED_HOST.flag(environment)?,
            csrf_header: csrf_header(CSRF_HEADER_NAME.text(environment)?)?,
            session_cookie: CookieSettings::read(&SESSION_COOKIE, environment)?,
            session_expire_at_browser_close: SESSION_EXPIRE_AT_BROWSER_CLOSE.flag(environment)?,
            session_save_every_request: SESSION_SAVE_EVERY_REQUEST.flag(environment)?,
            csrf_cookie: CookieSettings::read(&CSRF_COOKIE, environment)?,
            headers: HeaderSettings::read(environment)?,
            data_upload_max_memory_size: DATA_UPLOAD_MAX_MEMORY_SIZE
                .parsed(environment, "a number of bytes")?,
            data_upload_max_number_fields: DATA_UPLOAD_MAX_NUMBER_FIELDS
                .parsed(environment, "a number")?,
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

/// The networks of trusted proxies that the option gives; loopback when it gives none.
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

/// The name of a header from its key in Django's `request.META`.
fn csrf_header(name: &str) -> anyhow::Result<String> {
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

/// Whether a text is a host name or address, `.suffix`, or `*`.
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

/// The loopback networks.
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
