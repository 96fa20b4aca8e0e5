//! Debug mode, the time zone, and the static files.

use std::path::PathBuf;

use anyhow::bail;
use chrono_tz::Tz;
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
    /// Developer mode: templates and assets are read from the folders `templates` and `assets`, again when they change
    DEBUG = Value("false");
    /// The time zone in which times are shown and entered: `Europe/Berlin`, …
    TIME_ZONE = Value("UTC");
    /// Where pages find the static files: a path or the address of a CDN, with a slash at its end. The server itself has them below `/static/`; elsewhere a web server has to serve what `collectstatic` writes
    STATIC_URL = Value("/static/");
    /// The folder that `collectstatic` writes the static files to
    STATIC_ROOT = Described("none");
}

/// Developer mode.
///
/// # Errors
/// When the variable is neither true nor false.
pub(super) fn debug(environment: &Environment) -> anyhow::Result<bool> {
    DEBUG.flag(environment)
}

/// The time zone of the site.
///
/// # Errors
/// When it is unknown.
pub(super) fn time_zone(environment: &Environment) -> anyhow::Result<Tz> {
    TIME_ZONE.parsed(environment, "the name of a time zone, as Europe/Berlin")
}

/// The folder that `collectstatic` writes to.
///
/// # Errors
/// When the variable is not UTF-8.
pub(super) fn static_root(environment: &Environment) -> anyhow::Result<Option<PathBuf>> {
    Ok(environment.get(STATIC_ROOT.name)?.map(PathBuf::from))
}

/// Where pages find the static files.
///
/// # Errors
/// When it is neither a path nor an address, or has no slash at its end.
pub(super) fn static_url(environment: &Environment) -> anyhow::Result<String> {
    let url = STATIC_URL.text(environment)?;
    let is_address = Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    let is_path = url.starts_with('/') && !url.starts_with("//");
    let is_plain = url
        .chars()
        .all(|letter| letter.is_ascii_graphic() && !"\"'<>;,?#".contains(letter));
    if !url.ends_with('/') || !is_plain || !(is_address || is_path) {
        bail!(
            "STATIC_URL must be a path or an address with a slash at its end, as /static/ or https://cdn.example.com/polls/, \
             not {url:?}."
        );
    }
    Ok(url.to_owned())
}
