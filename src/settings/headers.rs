//! The settings of security headers and of the redirect to HTTPS, with Django's names and meanings.

use anyhow::{anyhow, bail};
use regex::Regex;

use super::{
    environment::{Environment, parse_list},
    variable::{
        DefaultValue::{Described, Value},
        Variable, variables,
    },
};

variables! {
    VARIABLES:
    /// Whether requests over plain HTTP are redirected to HTTPS
    SECURE_SSL_REDIRECT = Value("false");
    /// The host they are redirected to
    SECURE_SSL_HOST = Described("that of the request");
    /// Regular expressions, separated by commas, of paths (without the first slash) that are not redirected
    SECURE_REDIRECT_EXEMPT = Described("none");
    /// `max-age` of `Strict-Transport-Security`, in seconds; 0: no such header
    SECURE_HSTS_SECONDS = Value("0");
    /// Whether `Strict-Transport-Security` has `includeSubDomains`
    SECURE_HSTS_INCLUDE_SUBDOMAINS = Value("false");
    /// Whether `Strict-Transport-Security` has `preload`
    SECURE_HSTS_PRELOAD = Value("false");
    /// Whether responses have `X-Content-Type-Options: nosniff`
    SECURE_CONTENT_TYPE_NOSNIFF = Value("true");
    /// `Referrer-Policy`: policies, separated by commas, or `None` for no such header. Stricter than Django: an unknown policy stops the start
    SECURE_REFERRER_POLICY = Value("same-origin");
    /// `Cross-Origin-Opener-Policy`, or `None` for no such header. Stricter than Django: an unknown policy stops the start
    SECURE_CROSS_ORIGIN_OPENER_POLICY = Value("same-origin");
    /// `X-Frame-Options`: `DENY` or `SAMEORIGIN`
    X_FRAME_OPTIONS = Value("DENY");
}

const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];
const OPENER_POLICIES: [&str; 3] = ["same-origin", "same-origin-allow-popups", "unsafe-none"];

/// The security headers and the redirect to HTTPS.
#[derive(Debug, Clone)]
pub struct HeaderSettings {
    /// Whether requests over plain HTTP are redirected to HTTPS.
    pub ssl_redirect: bool,
    /// The host they are redirected to; `None`: that of the request.
    pub ssl_host: Option<String>,
    /// The paths that are not redirected.
    pub redirect_exempt: Vec<Regex>,
    /// `max-age` of `Strict-Transport-Security`, in seconds; 0: no such header.
    pub hsts_seconds: u32,
    /// Whether it has `includeSubDomains`.
    pub hsts_include_subdomains: bool,
    /// Whether it has `preload`.
    pub hsts_preload: bool,
    /// Whether responses have `X-Content-Type-Options: nosniff`.
    pub content_type_nosniff: bool,
    /// `Referrer-Policy`, if it is sent.
    pub referrer_policy: Option<String>,
    /// `Cross-Origin-Opener-Policy`, if it is sent.
    pub cross_origin_opener_policy: Option<String>,
    /// `X-Frame-Options`: `DENY` or `SAMEORIGIN`.
    pub x_frame_options: &'static str,
}

impl HeaderSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the invalid variable; for the policies, with the id of Django's check for it.
    pub(super) fn read(environment: &Environment) -> anyhow::Result<Self> {
        let exempt: Vec<String> = SECURE_REDIRECT_EXEMPT.list(environment)?;
        let exempt = exempt.iter().map(|pattern| {
            Regex::new(pattern).map_err(|_| {
                anyhow!("SECURE_REDIRECT_EXEMPT has the entry {pattern:?}, which is no regular expression.")
            })
        });
        let ssl_host = environment.get(SECURE_SSL_HOST.name)?;
        let is_host = |host: &str| {
            url::Url::parse(&format!("https://{host}/"))
                .is_ok_and(|url| url.path() == "/" && url.username().is_empty())
        };
        if let Some(host) = ssl_host.filter(|host| !is_host(host)) {
            bail!("SECURE_SSL_HOST must be a name, perhaps with a port, not {host:?}.");
        }
        Ok(Self {
            ssl_redirect: SECURE_SSL_REDIRECT.flag(environment)?,
            ssl_host: ssl_host.map(str::to_owned),
            redirect_exempt: exempt.collect::<anyhow::Result<_>>()?,
            hsts_seconds: SECURE_HSTS_SECONDS.parsed(environment, "a number of seconds")?,
            hsts_include_subdomains: SECURE_HSTS_INCLUDE_SUBDOMAINS.flag(environment)?,
            hsts_preload: SECURE_HSTS_PRELOAD.flag(environment)?,
            content_type_nosniff: SECURE_CONTENT_TYPE_NOSNIFF.flag(environment)?,
            referrer_policy: policy(
                SECURE_REFERRER_POLICY,
                "security.E023",
                &REFERRER_POLICIES,
                environment,
            )?,
            cross_origin_opener_policy: policy(
                SECURE_CROSS_ORIGIN_OPENER_POLICY,
                "security.E024",
                &OPENER_POLICIES,
                environment,
            )?,
            x_frame_options: match X_FRAME_OPTIONS.text(environment)? {
                "DENY" => "DENY",
                "SAMEORIGIN" => "SAMEORIGIN",
                other => bail!("X_FRAME_OPTIONS must be DENY or SAMEORIGIN, not {other:?}."),
            },
        })
    }
}

/// Policies, separated by commas, each of which must be in `known`; `None` for no header.
fn policy(
    variable: Variable,
    id: &str,
    known: &[&str],
    environment: &Environment,
) -> anyhow::Result<Option<String>> {
    let policies: Vec<String> = parse_list(variable.name, variable.text(environment)?)?;
    if policies == ["None"] {
        return Ok(None);
    }
    let is_unknown = |policy: &&String| !known.contains(&policy.as_str());
    match policies.iter().find(is_unknown) {
        Some(unknown) => bail!(
            "{} has the value {unknown:?} ({id}): use one of {}, or None.",
            variable.name,
            known.join(", ")
        ),
        None => Ok(Some(policies.join(","))),
    }
}
