//! The cache that replicas share besides the database, and the pages that each process keeps in memory.

use anyhow::{anyhow, bail};
use redis::IntoConnectionInfo;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    environment::Environment,
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};

variables! {
    VARIABLES:
    /// `redis://[user:password@]host[:port][/number]`: a Redis server that the replicas share, for failed logins and for sessions read within the last 10 s. While it does not respond, the database is used instead
    CACHE_URL = Described("none");
    /// Its password, if it is not in the address; or `CACHE_PASSWORD_FILE`, a file with it
    CACHE_PASSWORD = Described("none");
    /// MiB for public pages that are served from memory, up to 1024; 0: none are
    PAGE_CACHE_SIZE = Value("4");
}

const MAX_PAGE_CACHE_SIZE: u64 = 1024;
const PAGE_CACHE_SIZES: &str = "a number of MiB from 0 to 1024";

/// The size of the pages in memory at most, in bytes.
///
/// # Errors
/// When the variable is no number in its range.
pub fn page_cache_size(environment: &Environment) -> anyhow::Result<u64> {
    let size: u64 = PAGE_CACHE_SIZE.parsed(environment, PAGE_CACHE_SIZES)?;
    if size > MAX_PAGE_CACHE_SIZE {
        bail!("PAGE_CACHE_SIZE must be {PAGE_CACHE_SIZES}, not {size}.");
    }
    Ok(size * 1024 * 1024)
}

/// The address of the cache.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// The address, password included.
    pub url: SecretString,
}

impl CacheSettings {
    /// Reads the variables above; without an address there is no cache.
    ///
    /// # Errors
    /// A sentence that names the invalid variable and never the password.
    pub fn read(environment: &Environment) -> anyhow::Result<Option<Self>> {
        let Some(url) = environment.get(CACHE_URL.name)? else {
            return Ok(None);
        };
        let mut url =
            Url::parse(url).map_err(|error| anyhow!("CACHE_URL cannot be read: {error}."))?;
        if url.scheme() != "redis" {
            bail!(
                "CACHE_URL has the unknown scheme {:?}: use redis://.",
                url.scheme()
            );
        }
        if url.host_str().is_none_or(str::is_empty) {
            bail!("CACHE_URL names no host.");
        }
        if let Some(password) = environment.secret(CACHE_PASSWORD.name)? {
            url.set_password(Some(password.expose_secret()))
                .map_err(|()| anyhow!("CACHE_URL cannot take a password."))?;
        }
        // The library's error may contain the address.
        url.as_str().into_connection_info().map_err(|_| {
            anyhow!("CACHE_URL is not redis://[user:password@]host[:port][/number].")
        })?;
        Ok(Some(Self {
            url: String::from(url).into(),
        }))
    }

    /// The address without password and parameters, for logs and messages.
    pub fn display(&self) -> String {
        let display = Url::parse(self.url.expose_secret()).map(|mut url| {
            url.set_query(None);
            // An address with a host can be without a password.
            let _ = url.set_password(None);
            url.to_string()
        });
        display.unwrap_or_default()
    }
}
