//! What answers tell browsers for their own protections, under Django's names and with Django's meanings.

use anyhow::{anyhow, bail};
use regex::Regex;

use super::env;

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

/// - `SECURE_SSL_REDIRECT`: whether clients over plain HTTP are sent to HTTPS; default no.
/// - `SECURE_SSL_HOST`: to which name; default the one they came to.
/// - `SECURE_REDIRECT_EXEMPT`: regular expressions, separated by commas, of paths (without the first slash) that are not.
/// - `SECURE_HSTS_SECONDS`: how long browsers shall use HTTPS only; default 0, not at all.
/// - `SECURE_HSTS_INCLUDE_SUBDOMAINS`, `SECURE_HSTS_PRELOAD`: default no.
/// - `SECURE_CONTENT_TYPE_NOSNIFF`: default yes.
/// - `SECURE_REFERRER_POLICY`: policies, separated by commas; default `same-origin`, `None` for none.
/// - `SECURE_CROSS_ORIGIN_OPENER_POLICY`: default `same-origin`, `None` for none.
/// - `X_FRAME_OPTIONS`: `DENY` or `SAMEORIGIN`; default `DENY`.
#[derive(Debug, Clone)]
pub struct HeaderSettings {
    /// Whether clients over plain HTTP are sent to HTTPS.
    pub ssl_redirect: bool,
    /// To which name.
    pub ssl_host: Option<String>,
    /// Which paths are not.
    pub redirect_exempt: Vec<Regex>,
    /// How long browsers shall use HTTPS only, in seconds.
    pub hsts_seconds: u32,
    /// The names below the site's too.
    pub hsts_include_subdomains: bool,
    /// Whether browsers' makers may know it in advance.
    pub hsts_preload: bool,
    /// Whether browsers must not sniff content types.
    pub content_type_nosniff: bool,
    /// What other sites hear of where a client comes from.
    pub referrer_policy: Option<String>,
    /// What windows of other sites can do with ours.
    pub cross_origin_opener_policy: Option<String>,
    /// Whether pages may be shown in frames: `DENY` or `SAMEORIGIN`.
    pub x_frame_options: &'static str,
}

impl Default for HeaderSettings {
    fn default() -> Self {
        Self {
            ssl_redirect: false,
            ssl_host: None,
            redirect_exempt: Vec::new(),
            hsts_seconds: 0,
            hsts_include_subdomains: false,
            hsts_preload: false,
            content_type_nosniff: true,
            referrer_policy: Some("same-origin".to_owned()),
            cross_origin_opener_policy: Some("same-origin".to_owned()),
            x_frame_options: "DENY",
        }
    }
}

impl HeaderSettings {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the variable at fault; for the policies, with the id of Django's check for it.
    pub fn from_env() -> anyhow::Result<Self> {
        let default = Self::default();
        let exempt: Vec<String> = env::list("SECURE_REDIRECT_EXEMPT")?.unwrap_or_default();
        let exempt = exempt.iter().map(|pattern| {
            Regex::new(pattern).map_err(|_| {
                anyhow!("SECURE_REDIRECT_EXEMPT has the entry {pattern:?}, which is no regular expression.")
            })
        });
        let ssl_host = env::var("SECURE_SSL_HOST")?;
        let is_host = |host: &String| {
            url::Url::parse(&format!("https://{host}/"))
                .is_ok_and(|url| url.path() == "/" && url.username().is_empty())
        };
        if let Some(host) = ssl_host.as_ref().filter(|host| !is_host(host)) {
            bail!("SECURE_SSL_HOST must be a name, perhaps with a port, not {host:?}.");
        }
        Ok(Self {
            ssl_redirect: env::flag("SECURE_SSL_REDIRECT")?,
            ssl_host,
            redirect_exempt: exempt.collect::<anyhow::Result<_>>()?,
            hsts_seconds: env::parsed("SECURE_HSTS_SECONDS", "a number of seconds")?.unwrap_or(0),
            hsts_include_subdomains: env::flag("SECURE_HSTS_INCLUDE_SUBDOMAINS")?,
            hsts_preload: env::flag("SECURE_HSTS_PRELOAD")?,
            content_type_nosniff: env::optional_flag("SECURE_CONTENT_TYPE_NOSNIFF")?
                .unwrap_or(default.content_type_nosniff),
            referrer_policy: policy(
                "SECURE_REFERRER_POLICY",
                "security.E023",
                &REFERRER_POLICIES,
                default.referrer_policy,
            )?,
            cross_origin_opener_policy: policy(
                "SECURE_CROSS_ORIGIN_OPENER_POLICY",
                "security.E024",
                &OPENER_POLICIES,
                default.cross_origin_opener_policy,
            )?,
            x_frame_options: match env::var("X_FRAME_OPTIONS")?.as_deref() {
                None | Some("DENY") => "DENY",
                Some("SAMEORIGIN") => "SAMEORIGIN",
                Some(other) => bail!("X_FRAME_OPTIONS must be DENY or SAMEORIGIN, not {other:?}."),
            },
        })
    }
}

/// Policies, separated by commas, each of which has to be known.
fn policy(
    variable: &str,
    id: &str,
    known: &[&str],
    default: Option<String>,
) -> anyhow::Result<Option<String>> {
    let policies = match env::list::<String>(variable)? {
        None => return Ok(default),
        Some(policies) if policies == ["None"] => return Ok(None),
        Some(policies) => policies,
    };
    match policies
        .iter()
        .find(|policy| !known.contains(&policy.as_str()))
    {
        Some(unknown) => bail!(
            "{variable} has the value {unknown:?} ({id}): use one of {}, or None.",
            known.join(", ")
        ),
        None => Ok(Some(policies.join(","))),
    }
}
