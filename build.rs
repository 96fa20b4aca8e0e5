//! Generates `embedded.rs`: the templates, and the assets with digests of their content and compressed copies.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// The file types to compress; others are compressed already.
const COMPRESSIBLE: [&str; 4] = ["css", "js", "svg", "txt"];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo sets these variables for build scripts"
)]
fn main() -> io::Result<()> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = PathBuf::from(
        std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"),
    );
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=assets");

    let mut code =
        "/// The templates by name.\npub static TEMPLATES: &[(&str, &str)] = &[\n".to_owned();
    for (name, path) in files(&root.join("templates"))? {
        writeln!(code, "    ({name:?}, include_str!({path:?})),")
            .expect("writing to a String does not fail");
    }
    code += "];\n\n/// The assets.\npub static ASSETS: &[Asset] = &[\n";
    for (index, (name, path)) in files(&root.join("assets"))?.into_iter().enumerate() {
        let content = fs::read(&path)?;
        let digest: String = Sha256::digest(&content)[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (stem, extension) = name.rsplit_once('.').expect("an asset has an extension");
        let (mut gzip, mut brotli) = ("None".to_owned(), "None".to_owned());
        if COMPRESSIBLE.contains(&extension) {
            let file = out.join(format!("{index}.gz"));
            fs::write(&file, compress_gzip(&content)?)?;
            gzip = format!("Some(include_bytes!({file:?}))");
            let file = out.join(format!("{index}.br"));
            fs::write(&file, compress_brotli(&content)?)?;
            brotli = format!("Some(include_bytes!({file:?}))");
        }
        writeln!(
            code,
            "    Asset {{ name: {name:?}, hashed: \"{stem}.{digest}.{extension}\", content_type: {:?}, \
             digest: \"{digest}\", plain: include_bytes!({path:?}), gzip: {gzip}, brotli: {brotli} }},",
            content_type(extension),
        )
        .expect("writing to a String does not fail");
    }
    code += "];\n";
    fs::write(out.join("embedded.rs"), code)
}

/// All files in a folder and its subfolders: their paths relative to the folder and their full paths, sorted.
fn files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .expect("the path begins with the folder")
                    .to_string_lossy()
                    .into_owned();
                found.push((name, path));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn content_type(extension: &str) -> &'static str {
    match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        other => {
            panic!("unknown content type of assets with the extension .{other}: add it to build.rs")
        }
    }
}

fn compress_gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

fn compress_brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    brotli::BrotliCompress(
        &mut &*content,
        &mut compressed,
        &brotli::enc::BrotliEncoderParams::default(),
    )?;
    Ok(compressed)
}
