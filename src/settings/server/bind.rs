//! Addresses to listen at.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Bind {
    /// An IP address or host name, and a port.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Bind {
    /// Whether the system chooses the port (port 0).
    pub(super) fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(text) if text.ends_with(":0"))
    }

    /// Resolves a host name: the addresses of [`Bind::Tcp`], none of a Unix socket.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    pub async fn resolve(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let Self::Tcp(text) = self else {
            return Ok(Vec::new());
        };
        let unknown = || format!("\"{text}\" cannot be resolved");
        let found: Vec<_> = tokio::net::lookup_host(text)
            .await
            .with_context(unknown)?
            .collect();
        if found.is_empty() {
            bail!(unknown());
        }
        Ok(found)
    }
}

/// The error has Django's text.
impl FromStr for Bind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                bail!("\"{text}\" names no socket: write unix:PATH");
            }
            return Ok(Self::Unix(path.into()));
        }
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        // Colons of an IPv6 address stand in brackets.
        let is_name = |name: &str| {
            let is_ipv6 = name.starts_with('[') && name.ends_with(']');
            !name.is_empty() && (is_ipv6 || !name.contains(':'))
        };
        if is_port(text) {
            return Ok(Self::Tcp(format!("127.0.0.1:{text}")));
        }
        let is_pair = text
            .rsplit_once(':')
            .is_some_and(|(name, port)| is_name(name) && is_port(port));
        if !is_pair {
            bail!("\"{text}\" is not a valid port number or address:port pair");
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Bind {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Bind> for String {
    fn from(bind: Bind) -> Self {
        bind.to_string()
    }
}

/// The mode of a file, as `660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Digits", into = "String")]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok();
        mode.filter(|mode| *mode <= 0o777)
            .map(Self)
            .ok_or("write three octal digits, as 660")
    }
}

/// From text or, in a file, also from a number whose decimal digits are the octal ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Digits {
    Text(String),
    Number(u32),
}

impl TryFrom<Digits> for Mode {
    type Error = &'static str;

    fn try_from(digits: Digits) -> Result<Self, Self::Error> {
        match digits {
            Digits::Text(text) => text.parse(),
            Digits::Number(number) => number.to_string().parse(),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:o}", mode.0)
    }
}
