use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use flate2::{Compression, write::GzEncoder};
use indicatif::ProgressBar;
use lzma_rust2::{XzOptions, XzWriter};
use migration::Kind;
use sea_orm::ConnectionTrait;

use super::{find_app, find_model, find_models};
use crate::{
    apps::{self, Model},
    cli::context::{Context, print_error},
    db::is_missing_table,
    fixtures::{self, DumpOptions, Format, Serializer},
};

/// Write the contents of the database as a fixture, as Django's command does.
///
/// Without a label, all models of Django's apps. The tables of our own app, which Django does not know, have the label `polls`
/// and are written only if it is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these apps or models.
    #[arg(value_name = "APP_LABEL[.MODEL]")]
    labels: Vec<String>,
    /// The format: json, jsonl or yaml.
    #[arg(long, default_value = "json")]
    format: String,
    /// The number of spaces per level; without it, JSON is one line.
    #[arg(long, value_name = "SPACES", value_parser = clap::value_parser!(u8))]
    indent: Option<u8>,
    /// Leave out an app or a model; may be given several times.
    #[arg(short, long, value_name = "APP_LABEL[.MODEL]")]
    exclude: Vec<String>,
    /// Refer to objects by their natural keys, if they have one.
    #[arg(long)]
    natural_foreign: bool,
    /// Leave out the primary keys of objects that have a natural key.
    #[arg(long)]
    natural_primary: bool,
    /// Accepted for compatibility with Django: no model leaves objects out.
    #[arg(short, long)]
    all: bool,
    /// Only the objects with these keys, separated by commas; for one model.
    #[arg(long, value_name = "KEYS")]
    pks: Option<String>,
    /// Write to this file, compressed if its name ends with `.gz` or `.xz`.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

impl Args {
    /// Writes the objects of one state of the database. A file appears when it is complete.
    ///
    /// # Errors
    /// When a label or a format is unknown, the database cannot be reached, or the output cannot be written.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let models = self.models()?;
        let options = self.options(&models)?;
        let Ok(format) = self.format.parse::<Format>() else {
            bail!("Unknown serialization format: {}", self.format);
        };
        let db = context.connect_to_read().await?;
        let snapshot = db.begin_snapshot().await?;
        let failed = "Unable to serialize database";
        let mut progress = ProgressBar::hidden();
        if self.output.is_some() && context.is_verbose() {
            let mut total = 0;
            for model in &models {
                total += fixtures::count(&snapshot, model, &options)
                    .await
                    .context(failed)?;
            }
            progress = ProgressBar::new(total);
        }
        let mut output = match &self.output {
            Some(path) => Output::create(path)?,
            None => Output::Stdout(BufWriter::new(&mut *context.out)),
        };
        let indent = self.indent.map(usize::from);
        let mut serializer = Serializer::begin(format, indent, &mut output)?;
        for model in models {
            let dumped = fixtures::dump(&snapshot, model, &options, |object| {
                progress.inc(1);
                serializer.write(object)
            });
            dumped.await.map_err(|error| match error {
                fixtures::DumpError::Output(error) => anyhow::Error::from(error),
                fixtures::DumpError::Database(error) => anyhow::Error::from(error).context(failed),
            })?;
        }
        serializer.end()?;
        output.finish()?;
        progress.finish_and_clear();
        if self.labels.is_empty() && context.is_verbose() && has_options(&snapshot).await? {
            print_error(
                "The polls' options, voters and votes by day are not in this fixture, which Django can read: `polls dumpdata polls` writes them.",
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The models in the order of the fixture.
    fn models(&self) -> anyhow::Result<Vec<&'static Model>> {
        if self.pks.is_some() && !matches!(self.labels.as_slice(), [label] if label.contains('.')) {
            bail!("You can only use --pks option with one model");
        }
        let excluded = find_models(&self.exclude)?;
        // By app, in the order of the labels: the models that were named, or all.
        let mut by_app: Vec<(&str, Option<Vec<&'static Model>>)> = Vec::new();
        if self.labels.is_empty() {
            let apps = migration::APPS.into_iter().filter(|app| *app != "polls");
            by_app.extend(apps.map(|app| (app, None)));
        }
        for label in &self.labels {
            let app = find_app(label.split('.').next().unwrap_or_default())?;
            let position = by_app.iter().position(|(known, _)| *known == app);
            if !label.contains('.') {
                match position {
                    Some(position) => by_app[position].1 = None,
                    None => by_app.push((app, None)),
                }
                continue;
            }
            let model = find_model(label)?;
            match position.map(|position| &mut by_app[position].1) {
                Some(Some(models)) if models.iter().all(|known| known.name != model.name) => {
                    models.push(model);
                }
                Some(_) => {}
                None => by_app.push((app, Some(vec![model]))),
            }
        }
        let models = by_app
            .into_iter()
            .flat_map(|(app, models)| models.unwrap_or_else(|| apps::models_of(app).collect()));
        let is_excluded =
            |model: &&'static Model| excluded.iter().any(|other| other.table == model.table);
        let mut models: Vec<_> = models.collect();
        if self.natural_foreign {
            models = fixtures::sort_dependencies(models);
        }
        models.retain(|model| !is_excluded(model));
        Ok(models)
    }

    fn options(&self, models: &[&'static Model]) -> anyhow::Result<DumpOptions> {
        let mut keys = Vec::new();
        if let (Some(pks), Some(model)) = (&self.pks, models.first()) {
            for pk in pks.split(',').map(str::trim) {
                keys.push(if matches!(model.key.kind, Kind::Char(_)) {
                    pk.into()
                } else {
                    let number = pk.parse::<i64>().map_err(|_| {
                        let key = model.key.column();
                        anyhow!("Unable to serialize database: Field '{key}' expected a number but got '{pk}'.")
                    });
                    number?.into()
                });
            }
        }
        Ok(DumpOptions {
            natural_foreign: self.natural_foreign,
            natural_primary: self.natural_primary,
            keys,
        })
    }
}

/// Whether polls have options, which only fixtures with the label `polls` have.
async fn has_options(db: &impl ConnectionTrait) -> anyhow::Result<bool> {
    let model = find_model("polls.questionoptions")?;
    let count = fixtures::count(db, model, &DumpOptions::default()).await;
    match count {
        // Its migration is not applied.
        Err(error) if is_missing_table(&error) => Ok(false),
        count => Ok(count? > 0),
    }
}

/// Where a fixture goes.
enum Output<'a> {
    Stdout(BufWriter<&'a mut (dyn Write + Send)>),
    File(Finished, BufWriter<File>),
    Gzip(Finished, GzEncoder<BufWriter<File>>),
    Xz(Finished, Box<XzWriter<BufWriter<File>>>),
}

/// A file that gets its name when it is complete.
struct Finished {
    /// Its name while it is written, if that is another one: pipes and devices are written to directly.
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Drop for Finished {
    /// Removes the file of a dump that has failed.
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The error of the dump is reported.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

impl Output<'_> {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let mut path = path.to_owned();
        if let Some(extension @ ("bz2" | "lzma" | "zip")) = extension {
            path.set_extension("");
            let name = path.file_name().unwrap_or_default().display().to_string();
            print_error(format_args!(
                "RuntimeWarning: Unsupported file extension (.{extension}). Fixtures saved in '{name}'."
            ));
        }
        // Through a symbolic link, as when the file is written itself.
        let path = path.canonicalize().unwrap_or(path);
        let present = path.metadata().ok();
        let is_special = present.as_ref().is_some_and(|present| !present.is_file());
        let temporary = (!is_special).then(|| {
            let mut name = path.clone().into_os_string();
            name.push(".part");
            PathBuf::from(name)
        });
        let created = temporary.as_ref().unwrap_or(&path);
        let cannot_be_written = || format!("{} cannot be written", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let permissions = present.filter(|_| temporary.is_some());
        let permissions = permissions.map(|present| present.permissions());
        if permissions.is_some() {
            // No one else reads it before it has the permissions of the file that it replaces.
            options.mode(0o600);
        }
        let file = options.open(created).with_context(cannot_be_written)?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)
                .with_context(cannot_be_written)?;
        }
        let file = BufWriter::new(file);
        let finished = Finished { temporary, path };
        Ok(match extension {
            Some("gz") => Self::Gzip(finished, GzEncoder::new(file, Compression::default())),
            Some("xz") => Self::Xz(
                finished,
                Box::new(XzWriter::new(file, XzOptions::default())?),
            ),
            _ => Self::File(finished, file),
        })
    }

    fn finish(self) -> io::Result<()> {
        let (mut finished, file) = match self {
            Self::Stdout(mut out) => return out.flush(),
            Self::File(finished, file) => (finished, file),
            Self::Gzip(finished, encoder) => (finished, encoder.finish()?),
            Self::Xz(finished, encoder) => (finished, encoder.finish()?),
        };
        let file = file.into_inner()?;
        if let Some(temporary) = finished.temporary.take() {
            file.sync_all()?;
            std::fs::rename(temporary, &finished.path)?;
        }
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(out) => out,
            Self::File(_, file) => file,
            Self::Gzip(_, encoder) => encoder,
            Self::Xz(_, encoder) => encoder,
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}
