//! The settings of cookies, with Django's names and meanings.

use std::fmt;

use anyhow::bail;

use super::{
    environment::Environment,
    variable::{
        DefaultValue::{Described, Value},
        Variable,
    },
};

/// The variables of a cookie.
pub(super) struct CookieVariables {
    name: Variable,
    age: Variable,
    domain: Variable,
    path: Variable,
    secure: Variable,
    http_only: Variable,
    same_site: Variable,
}

/// Declares the variables with a prefix, which differ in three defaults.
macro_rules! cookie_variables {
    ($prefix:literal, $cookie:literal, $age:literal, $http_only:literal) => {
        CookieVariables {
            name: cookie_variables!($prefix "_NAME", Value($cookie), "The name of the cookie"),
            age: cookie_variables!($prefix "_AGE", Value($age), "Seconds until the cookie expires"),
            domain: cookie_variables!(
                $prefix "_DOMAIN",
                Described("the site's host alone"),
                "The domain of the cookie, with all its subdomains"
            ),
            path: cookie_variables!($prefix "_PATH", Value("/"), "The path of the cookie"),
            secure: cookie_variables!(
                $prefix "_SECURE",
                Described("for responses over HTTPS"),
                "Whether the cookie is sent over HTTPS only. Stricter than Django's, which is off"
            ),
            http_only: cookie_variables!(
                $prefix "_HTTPONLY", Value($http_only), "Whether scripts cannot read the cookie"
            ),
            same_site: cookie_variables!(
                $prefix "_SAMESITE", Value("Lax"), "`Strict`, `Lax`, `None`, or `False` for no attribute"
            ),
        }
    };
    ($prefix:literal $name:literal, $default:expr, $help:literal) => {
        Variable {
            name: concat!($prefix, $name),
            default: $default,
            help: $help,
        }
    };
}

/// The session's cookie: for two weeks.
pub(super) const SESSION_COOKIE: CookieVariables =
    cookie_variables!("SESSION_COOKIE", "sessionid", "1209600", "true");
/// The CSRF token's cookie: for a year of 52 weeks, and readable by scripts.
pub(super) const CSRF_COOKIE: CookieVariables =
    cookie_variables!("CSRF_COOKIE", "csrftoken", "31449600", "false");

impl CookieVariables {
    /// All of them, in the order of the documentation.
    pub(super) fn all(&self) -> [Variable; 7] {
        [
            self.name,
            self.age,
            self.domain,
            self.path,
            self.secure,
            self.http_only,
            self.same_site,
        ]
    }
}

/// The attributes of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// Its name.
    pub name: String,
    /// Seconds until it expires.
    pub age: i64,
    /// `Domain`; without it the cookie is for the site's host alone.
    pub domain: Option<String>,
    /// `Path`.
    pub path: String,
    /// `Secure`; `None`: on responses over HTTPS.
    pub secure: Option<bool>,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `SameSite`, if it is sent.
    pub same_site: Option<SameSite>,
    /// `Partitioned`: in a frame of another site, it is a cookie of that site's pages.
    pub partitioned: bool,
}

/// Whether a browser sends a cookie with requests from other sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
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
            partitioned: false,
        }
    }

    /// Reads the variables of a cookie.
    ///
    /// # Errors
    /// A sentence that names the invalid variable.
    pub(super) fn read(
        variables: &CookieVariables,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        // They are written into a header unescaped.
        let check = |variable: Variable, text: &str, is_allowed: fn(char) -> bool| {
            if !text.chars().all(is_allowed) {
                let name = variable.name;
                bail!("{name} has a character that no cookie may have: {text:?}.");
            }
            Ok(text.to_owned())
        };
        let is_plain = |c: char| c.is_ascii_graphic() && !",;\\\"".contains(c);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let same_site = variables.same_site;
        let same_site = match same_site.text(environment)? {
            "Strict" => Some(SameSite::Strict),
            "Lax" => Some(SameSite::Lax),
            "None" => Some(SameSite::None),
            "False" | "false" => None,
            other => {
                let name = same_site.name;
                bail!("{name} must be Strict, Lax, None or False, not {other:?}.")
            }
        };
        let age: u32 = variables.age.parsed(environment, "a number of seconds")?;
        let domain = environment.get(variables.domain.name)?;
        Ok(Self {
            name: check(variables.name, variables.name.text(environment)?, is_name)?,
            age: age.into(),
            domain: domain
                .map(|domain| check(variables.domain, domain, is_plain))
                .transpose()?,
            path: check(variables.path, variables.path.text(environment)?, is_plain)?,
            secure: environment.flag(variables.secure.name)?,
            http_only: variables.http_only.flag(environment)?,
            same_site,
            partitioned: false,
        })
    }
}
