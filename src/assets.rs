//! The templates and static files, which the build script embeds.

/// An embedded static file.
#[derive(Debug)]
pub struct Asset {
    /// Its path relative to `assets/`: `admin/style.css`.
    pub name: &'static str,
    /// The same with the digest before the extension: `admin/style.0123456789ab.css`.
    pub hashed: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// The first 6 bytes of the content's SHA-256, in hexadecimal.
    pub digest: &'static str,
    /// Its content.
    pub plain: &'static [u8],
    /// Its content compressed with gzip; `None` for file types that are compressed already.
    pub gzip: Option<&'static [u8]>,
    /// Its content compressed with Brotli; `None` as for `gzip`.
    pub brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The URL of a static file below `static_url`, with its digest unless in debug mode; `None` if the file does not exist.
pub fn url(static_url: &str, name: &str, debug: bool) -> Option<String> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    let name = if debug { asset.name } else { asset.hashed };
    Some(format!("{static_url}{name}"))
}
