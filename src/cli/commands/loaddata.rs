use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use chrono::Utc;
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::{ConnectionTrait, DbBackend};

use super::{find_app, find_models};
use crate::{
    cli::context::{Context, print_error},
    db::Purpose,
    fixtures::{Format, LoadOptions, Loaded, Loader, Source, split_name},
};

/// Compressed fixtures have one of these extensions after that of the format.
const COMPRESSIONS: [&str; 3] = ["", ".gz", ".xz"];

/// Load fixtures into the database, all in one transaction.
///
/// An object whose key exists replaces the stored one. References are checked at the end. If anything is wrong, the place in the
/// file is named, and nothing of the fixtures is kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Paths of fixtures, with or without their extensions; `-` is standard input.
    #[arg(required = true, value_name = "FIXTURE")]
    fixtures: Vec<String>,
    /// Only look for fixtures in the folder `fixtures` of this app.
    #[arg(long, value_name = "APP_LABEL")]
    app: Option<String>,
    /// Leave out models and fields that do not exist.
    #[arg(short, long, visible_alias = "ignore")]
    ignorenonexistent: bool,
    /// Leave out an app or a model; may be given several times.
    #[arg(short, long, value_name = "APP_LABEL[.MODEL]")]
    exclude: Vec<String>,
    /// The format of standard input: json, jsonl or yaml.
    #[arg(long)]
    format: Option<String>,
}

impl Args {
    /// Loads the fixtures.
    ///
    /// # Errors
    /// When a fixture does not exist, is not of its format or has an invalid object, or the database cannot be reached or
    /// written to.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let options = LoadOptions {
            ignore_nonexistent: self.ignorenonexistent,
            excluded: find_models(&self.exclude)?,
            zone: context.settings.time_zone,
            now: Utc::now(),
        };
        if let Some(app) = &self.app {
            find_app(app)?;
        }
        let mut found = Vec::new();
        for label in &self.fixtures {
            found.extend(self.find(label)?);
        }
        let db = context.connect(Purpose::Command).await?;
        if db.get_database_backend() == DbBackend::Sqlite {
            // The transaction locks out other writers, and must not wait for input.
            let copied = found.into_iter().map(|(source, format)| {
                let name = source.name();
                let copied = source.copied();
                copied
                    .map(|copied| (copied, format))
                    .with_context(|| format!("{name} cannot be read"))
            });
            found = copied.collect::<Result<_, _>>()?;
        }
        let tx = db.begin().await?;
        let mut loader = Loader::begin(&tx, options).await?;
        let mut total = Loaded::default();
        let progress = progress(context);
        let fixtures = found.len();
        for (source, format) in found {
            let name = source.name();
            if context.verbosity >= 2 {
                context.print(format_args!("Installing {format} fixture '{name}'.\n"));
            }
            let before = total.objects;
            let loading = loader.load(source, format, |objects| {
                progress.set_position((before + objects) as u64);
            });
            let loaded = tokio::select! {
                loaded = loading => loaded,
                _ = tokio::signal::ctrl_c() => bail!("cancelled: nothing has been loaded"),
            };
            let loaded = loaded.inspect_err(|_| progress.finish_and_clear())?;
            if loaded.objects == 0 {
                print_error(format_args!(
                    "RuntimeWarning: No fixture data found for '{name}'. (File format may be invalid.)"
                ));
            }
            total.objects += loaded.objects;
            total.stored += loaded.stored;
        }
        loader.end().await?;
        tx.commit().await?;
        progress.finish_and_clear();
        let Loaded { objects, stored } = total;
        let of = if objects == stored {
            String::new()
        } else {
            format!(" (of {objects})")
        };
        context.print(format_args!(
            "Installed {stored} object(s){of} from {fixtures} fixture(s)\n"
        ));
        Ok(ExitCode::SUCCESS)
    }

    /// The files of a fixture in the folders of Django's search.
    fn find(&self, label: &str) -> anyhow::Result<Vec<(Source, Format)>> {
        let known = |name: &str| {
            name.parse::<Format>()
                .map_err(|()| anyhow!("Problem installing fixture '{label}': {name} is not a known serialization format."))
        };
        if label == "-" {
            let format = self.format.as_deref();
            let format = format.context("--format must be specified when reading from stdin.")?;
            return Ok(vec![(Source::Stdin, known(format)?)]);
        }
        let given = Path::new(label);
        let (name, format) = split_name(given);
        let is_compressed = matches!(
            given.extension().and_then(|extension| extension.to_str()),
            Some("gz" | "xz")
        );
        let formats = match format {
            Some(Ok(format)) => vec![format],
            Some(Err(extension)) => return Err(known(&extension).unwrap_err()),
            None => Format::ALL.to_vec(),
        };
        let folder = given.parent().unwrap_or(Path::new(""));
        let mut files = Vec::new();
        for base in self.folders(given.is_absolute()) {
            let mut found = BTreeSet::new();
            for format in &formats {
                for compression in COMPRESSIONS {
                    if is_compressed && (compression.is_empty() || !label.ends_with(compression)) {
                        continue;
                    }
                    let path = base
                        .join(folder)
                        .join(format!("{name}.{format}{compression}"));
                    // Also pipes, which are no regular files.
                    if path.exists() && !path.is_dir() {
                        found.insert((path, format.to_string()));
                    }
                }
            }
            if found.len() > 1 {
                let folder = base.join(folder);
                bail!(
                    "Multiple fixtures named '{name}' in '{}'. Aborting.",
                    folder.display()
                );
            }
            for (path, format) in found {
                files.push((Source::File(path), known(&format)?));
            }
        }
        if files.is_empty() {
            bail!("No fixture named '{name}' found.");
        }
        Ok(files)
    }

    /// The folders of fixtures: those of the apps that exist in the working directory, and this itself.
    fn folders(&self, is_absolute: bool) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if !is_absolute {
            let is_wanted = |app: &&str| self.app.as_ref().is_none_or(|wanted| wanted == app);
            let apps = migration::APPS.into_iter().filter(is_wanted);
            folders.extend(apps.map(|app| Path::new(app).join("fixtures")));
        }
        folders.push(PathBuf::new());
        folders
    }
}

fn progress(context: &Context) -> ProgressBar {
    if !context.is_verbose() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("Processed {human_pos} object(s), {per_sec}");
    ProgressBar::no_length().with_style(style.expect("the template is well-formed"))
}
