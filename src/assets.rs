//! The templates and the files under `/static/`, which the build script embeds.

/// An embedded file.
#[derive(Debug)]
pub struct Asset {
    /// Its path below `assets/`.
    pub name: &'static str,
    /// The same with the digest before the extension.
    pub hashed: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// The first 6 bytes of the content's SHA-256, in hexadecimal.
    pub digest: &'static str,
    /// Its content.
    pub plain: &'static [u8],
    /// Its content compressed, for the types that compress.
    pub gzip: Option<&'static [u8]>,
    /// The same by Brotli.
    pub brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The address of an asset; in debug mode that of the file on disk.
pub fn url(name: &str, debug: bool) -> Option<String> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    Some(format!(
        "/static/{}",
        if debug { asset.name } else { asset.hashed }
    ))
}
