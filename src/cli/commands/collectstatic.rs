use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    assets::ASSETS,
    cli::{context::Context, prompt},
    signing::hex,
};

/// The file with the hashed names (`ManifestFilesMixin.manifest_name`).
const MANIFEST: &str = "staticfiles.json";

/// Write the static files into the folder `STATIC_ROOT`, for a web server or a CDN that serves `STATIC_URL`.
///
/// Each file is written under its own name and under one with a digest of its content, both also compressed (`.gz`, `.br`), with
/// a manifest as Django's `ManifestStaticFilesStorage` writes it. Pages refer to the names with a digest, which can be cached for
/// ever.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask before files are overwritten.
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
    /// Delete all files in the folder first.
    #[arg(short, long)]
    clear: bool,
    /// Only say what would be done.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A file to write.
struct StaticFile<'a> {
    name: String,
    content: &'a [u8],
}

impl Args {
    /// Writes the files that do not have their content yet.
    ///
    /// # Errors
    /// When `STATIC_ROOT` is not set, or a file cannot be written or deleted.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let Some(root) = context.settings.static_root.clone() else {
            bail!(
                "You're using the staticfiles app without having set the STATIC_ROOT setting to a filesystem path."
            );
        };
        if !self.noinput && !self.dry_run && has_files(&root)? {
            let action = if self.clear { "delete" } else { "overwrite" };
            let question = format!(
                "\nYou have requested to collect static files at the destination\nlocation as specified in your \
                 settings:\n\n    {}\n\nThis will {action} existing files!\nAre you sure you want to do this?\n\n\
                 Type 'yes' to continue, or 'no' to cancel: ",
                root.display()
            );
            if prompt::line(&question).await? != "yes" {
                bail!("Collecting static files cancelled.");
            }
        }
        if self.clear && root.is_dir() {
            self.clear(context, &root)?;
        }
        let manifest = manifest();
        let (mut copied, mut unmodified) = (0, 0);
        for StaticFile { name, content } in files(&manifest) {
            let path = root.join(&name);
            if fs::read(&path).is_ok_and(|stored| stored == content) {
                unmodified += 1;
                continue;
            }
            copied += 1;
            if context.verbosity >= 2 || self.dry_run {
                let pretending = if self.dry_run {
                    "Pretending to copy"
                } else {
                    "Copying"
                };
                context.print(format_args!("{pretending} '{name}'\n"));
            }
            if !self.dry_run {
                write(&path, content)
                    .with_context(|| format!("{} cannot be written", path.display()))?;
            }
        }
        let unmodified = match unmodified {
            0 => String::new(),
            count => format!(", {count} unmodified"),
        };
        let files = if copied == 1 {
            "static file"
        } else {
            "static files"
        };
        context.print(format_args!(
            "\n{copied} {files} copied to '{}'{unmodified}.\n",
            root.display()
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn clear(&self, context: &mut Context, root: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let path = entry.path();
            if context.verbosity >= 2 || self.dry_run {
                let pretending = if self.dry_run {
                    "Pretending to delete"
                } else {
                    "Deleting"
                };
                context.print(format_args!("{pretending} '{}'\n", path.display()));
            }
            if self.dry_run {
                continue;
            }
            let deleted = if entry.file_type()?.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            deleted.with_context(|| format!("{} cannot be deleted", path.display()))?;
        }
        Ok(())
    }
}

fn has_files(root: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(root) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", root.display())),
    }
}

/// All files; those that pages refer to are written before the manifest.
fn files(manifest: &str) -> Vec<StaticFile<'_>> {
    let mut files = Vec::new();
    for asset in ASSETS {
        for name in [asset.name, asset.hashed] {
            let encodings = [
                ("", Some(asset.plain)),
                (".gz", asset.gzip),
                (".br", asset.brotli),
            ];
            files.extend(encodings.into_iter().filter_map(|(suffix, content)| {
                Some(StaticFile {
                    name: format!("{name}{suffix}"),
                    content: content?,
                })
            }));
        }
    }
    files.push(StaticFile {
        name: MANIFEST.to_owned(),
        content: manifest.as_bytes(),
    });
    files
}

/// The manifest in the format of Django's, version 1.1.
fn manifest() -> String {
    let paths: serde_json::Map<_, _> = ASSETS
        .iter()
        .map(|asset| (asset.name.to_owned(), asset.hashed.into()))
        .collect();
    let digest = hex(&Sha256::digest(json!(paths).to_string()));
    json!({"paths": paths, "version": "1.1", "hash": &digest[..12]}).to_string()
}

/// Writes a file under another name first, so that a web server never sends a part of it.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path)
}
