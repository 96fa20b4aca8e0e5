//! What replicas share besides the database.

use anyhow::{anyhow, bail};
use redis::IntoConnectionInfo;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::env;

/// - `CACHE_URL`: `redis://[user:password@]host[:port][/number]`, a Redis server that the replicas share; default none.
/// - `CACHE_PASSWORD` or `CACHE_PASSWORD_FILE`: the password, instead of one in the address.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Where it is, password included.
    pub url: SecretString,
}

impl CacheSettings {
    /// Reads the variables above; without an address there is no cache.
    ///
    /// # Errors
    /// A sentence that names the variable at fault and never the password.
    pub fn from_env() -> anyhow::Result<Option<Self>> {
        let Some(url) = env::var("CACHE_URL")? else {
            return Ok(None);
        };
        let mut url =
            Url::parse(&url).map_err(|error| anyhow!("CACHE_URL cannot be read: {error}."))?;
        if url.scheme() != "redis" {
            bail!(
                "CACHE_URL has the unknown scheme {:?}: use redis://.",
                url.scheme()
            );
        }
        if url.host_str().is_none_or(str::is_empty) {
            bail!("CACHE_URL names no host.");
        }
        if let Some(password) = env::secret("CACHE_PASSWORD")? {
            url.set_password(Some(password.expose_secret()))
                .map_err(|()| anyhow!("CACHE_URL cannot take a password."))?;
        }
        // What the library says may repeat the address.
        url.as_str().into_connection_info().map_err(|_| {
            anyhow!("CACHE_URL is not redis://[user:password@]host[:port][/number].")
        })?;
        Ok(Some(Self {
            url: String::from(url).into(),
        }))
    }

    /// The address for people to read: without password and parameters.
    pub fn display(&self) -> String {
        let shown = Url::parse(self.url.expose_secret()).map(|mut url| {
            url.set_query(None);
            // An address with a host can be without a password.
            let _ = url.set_password(None);
            url.to_string()
        });
        shown.unwrap_or_default()
    }
}
