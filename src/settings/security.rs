//! The secret key, and whom the server believes.

use anyhow::bail;
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};

use super::env;
use crate::{auth::hashers::ITERATIONS, signing::Keys};

/// The key of a site in debug mode that has none of its own.
const DEBUG_KEY: &str = "django-insecure-polls-debug-mode-only";
const MIN_KEY_LENGTH: usize = 16;
const LOCALHOST: [&str; 3] = [".localhost", "127.0.0.1", "[::1]"];

/// - `SECRET_KEY` or `SECRET_KEY_FILE`: signs what visitors carry; required unless `DEBUG` is on, 16 characters at
///   least.
/// - `SECRET_KEY_FALLBACKS`: older keys, separated by commas, whose signatures are still believed.
/// - `ALLOWED_HOSTS`: the names the site answers to, separated by commas: exact, `.suffix` with all below it, or `*`;
///   required unless `DEBUG` is on, which allows the names of this machine.
/// - `CSRF_TRUSTED_ORIGINS`: other sites whose forms are taken, as `https://example.com` or `https://*.example.com`.
/// - `TRUSTED_PROXIES`: addresses or networks whose `X-Forwarded-Proto` and `X-Forwarded-For` are believed; default loopback.
#[derive(Debug, Clone)]
pub struct SecuritySettings {
    /// Sign what visitors carry.
    pub keys: Keys,
    /// Rounds of PBKDF2 for new hashes. Tests lower them; no variable does.
    pub password_iterations: u32,
    /// The names the site answers to.
    pub allowed_hosts: Vec<String>,
    /// Other sites whose forms are taken.
    pub csrf_trusted_origins: Vec<String>,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl SecuritySettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env(debug: bool) -> anyhow::Result<Self> {
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
        let trusted_proxies = match env::list::<Network>("TRUSTED_PROXIES")? {
            Some(networks) => networks.into_iter().map(|network| network.0).collect(),
            None => loopback(),
        };
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
            password_iterations: ITERATIONS,
            allowed_hosts,
            csrf_trusted_origins,
            trusted_proxies,
        })
    }

    /// Whether the key is weak by Django's measure (check `security.W009`).
    pub fn has_weak_key(&self) -> bool {
        let key = self.keys.current.expose_secret();
        let distinct: std::collections::BTreeSet<char> = key.chars().collect();
        key.chars().count() < 50 || distinct.len() < 5 || key.starts_with("django-insecure-")
    }
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
struct Network(IpNet);

impl std::str::FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text
            .parse()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        network
            .map(Self)
            .map_err(|_| "it is no address and no network")
    }
}
