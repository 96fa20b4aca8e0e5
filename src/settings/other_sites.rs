//! What other sites may do with pages of this one.

use anyhow::bail;
use url::Url;

use super::{
    environment::Environment,
    variable::{DefaultValue::Described, Variable, variables},
};

variables! {
    VARIABLES:
    /// The sites that may show `/polls/ID/embed/` in a frame: origins, separated by commas, as `https://www.example.com` or `https://*.example.com`; `*` for all
    EMBED_FRAME_ANCESTORS = Described("none");
    /// The sites whose scripts may read `/polls/api/v1/`: origins, separated by commas; `*` for all
    API_ALLOWED_ORIGINS = Described("none");
}

/// What other sites may do with pages of this one.
#[derive(Debug, Clone)]
pub struct OtherSites {
    /// The origins that may show the page of a question in a frame; `*` for all. A host may begin with `*.`.
    pub embed_frame_ancestors: Vec<String>,
    /// The origins whose scripts may read the API; `*` for all.
    pub api_allowed_origins: Vec<String>,
}

impl OtherSites {
    /// Reads the variables above.
    ///
    /// # Errors
    /// A sentence that names the invalid variable.
    pub(super) fn read(environment: &Environment) -> anyhow::Result<Self> {
        Ok(Self {
            embed_frame_ancestors: origins(EMBED_FRAME_ANCESTORS, environment, true)?,
            api_allowed_origins: origins(API_ALLOWED_ORIGINS, environment, false)?,
        })
    }
}

/// The origins of a list, or `*`. A host may begin with `*.` if `has_wildcards`.
fn origins(
    variable: Variable,
    environment: &Environment,
    has_wildcards: bool,
) -> anyhow::Result<Vec<String>> {
    let origins: Vec<String> = variable.list(environment)?;
    for origin in &origins {
        let plain = match has_wildcards {
            true => origin.replacen("://*.", "://", 1),
            false => origin.clone(),
        };
        let is_origin = Url::parse(&plain).is_ok_and(|url| {
            ["http", "https"].contains(&url.scheme())
                && !plain.contains('*')
                && url.origin().ascii_serialization() == plain
        });
        if origin != "*" && !is_origin {
            bail!(
                "{} has the entry {origin:?}, which is no origin: use a scheme and a host, perhaps with a port, as \
                 https://www.example.com, or * for all.",
                variable.name
            );
        }
    }
    Ok(origins)
}
