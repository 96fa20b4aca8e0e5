//! The cookies, under Django's names and with Django's meanings.

use std::fmt;

use anyhow::bail;

use super::env;

/// How a cookie is written.
///
/// With the prefix `SESSION_COOKIE_` or `CSRF_COOKIE_`:
/// - `NAME`: default `sessionid` and `csrftoken`.
/// - `AGE`: seconds to keep it; default two weeks and 52 weeks.
/// - `DOMAIN`: for which domain, with all below it; default the site's name alone.
/// - `PATH`: default `/`.
/// - `SECURE`: whether it travels over HTTPS only; default if it was given over HTTPS.
/// - `HTTPONLY`: whether scripts cannot read it; default yes for the session, no for the CSRF token.
/// - `SAMESITE`: `Strict`, `Lax`, `None` or `False`; default `Lax`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// What it is called.
    pub name: String,
    /// How long it is kept, in seconds.
    pub age: i64,
    /// For which domain.
    pub domain: Option<String>,
    /// Below which path.
    pub path: String,
    /// Whether it travels over HTTPS only; `None`: if it was given over HTTPS.
    pub secure: Option<bool>,
    /// Whether scripts cannot read it.
    pub http_only: bool,
    /// Whether it comes along from other sites.
    pub same_site: Option<SameSite>,
}

/// Whether a cookie comes along with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the client follows a link.
    Lax,
    /// Always.
    None,
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        })
    }
}

impl CookieSettings {
    /// Django's defaults for a cookie, which scripts cannot read.
    pub fn new(name: &str, age: i64) -> Self {
        Self {
            name: name.to_owned(),
            age,
            domain: None,
            path: "/".to_owned(),
            secure: None,
            http_only: true,
            same_site: Some(SameSite::Lax),
        }
    }

    /// This cookie as the variables with a prefix have it.
    ///
    /// # Errors
    /// A sentence that names the variable at fault.
    pub fn from_env(self, prefix: &str) -> anyhow::Result<Self> {
        let variable = |name: &str| format!("{prefix}_{name}");
        let flag = |name: &str| env::optional_flag(&variable(name));
        // They are written into a header as they stand.
        let text = |name: &str, is_allowed: fn(char) -> bool| {
            let name = variable(name);
            match env::var(&name)? {
                Some(text) if !text.chars().all(is_allowed) => {
                    bail!("{name} has a character that no cookie may have: {text:?}.")
                }
                text => anyhow::Ok(text),
            }
        };
        let same_site = match env::var(&variable("SAMESITE"))?.as_deref() {
            None => self.same_site,
            Some("Strict") => Some(SameSite::Strict),
            Some("Lax") => Some(SameSite::Lax),
            Some("None") => Some(SameSite::None),
            Some("False" | "false") => None,
            Some(other) => {
                bail!("{prefix}_SAMESITE must be Strict, Lax, None or False, not {other:?}.")
            }
        };
        let is_plain = |c: char| c.is_ascii_graphic() && !",;\\\"".contains(c);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        Ok(Self {
            name: text("NAME", is_name)?.unwrap_or(self.name),
            age: env::parsed::<u32>(&variable("AGE"), "a number of seconds")?
                .map_or(self.age, i64::from),
            domain: text("DOMAIN", is_plain)?.or(self.domain),
            path: text("PATH", is_plain)?.unwrap_or(self.path),
            secure: flag("SECURE")?.or(self.secure),
            http_only: flag("HTTPONLY")?.unwrap_or(self.http_only),
            same_site,
        })
    }
}
