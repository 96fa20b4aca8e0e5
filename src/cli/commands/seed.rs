use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use chrono::Utc;
use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use crate::{
    cli::{
        context::{Context, Stdout, print_error},
        prompt,
        seed::{self, Added, Poll, Syntax, Text},
    },
    db::{Database, Purpose},
};

/// Add questions and choices: built-in examples, those of files, typed ones, or random ones.
///
/// A file is YAML or JSON: a list of `question`, `choices` and, if wanted, `published`; or a Django fixture. What the
/// database has already is left as it is, so the command may be given again. A file with a mistake is refused with its
/// line, and nothing of it is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to read; `-` is standard input. Without any, the built-in examples.
    files: Vec<PathBuf>,
    /// Ask for questions and choices.
    #[arg(short, long, conflicts_with_all = ["files", "random"])]
    interactive: bool,
    /// Add this many random questions with four choices each.
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    random: Option<u32>,
}

impl Args {
    /// Adds the questions of files, of standard input or of prompts, or random ones.
    ///
    /// # Errors
    /// When a file cannot be read or has an invalid value, or the database cannot be reached or written to.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let polls = match (self.interactive, self.random) {
            (true, _) => prompt_polls().await?,
            (_, Some(_)) => Vec::new(),
            _ => read_files(&self.files)?,
        };
        let db = context.connect(Purpose::Command).await?;
        let added = match self.random {
            Some(count) => add_random(&db, count as usize, context.is_verbose()).await,
            None => add(&db, &polls).await.map_err(Into::into),
        };
        let added = added.context("the questions could not be added")?;
        match added {
            Added {
                questions: 0,
                choices: 0,
            } => context.print("Everything is there already.\n"),
            Added { questions, choices } => {
                context.print(format_args!(
                    "Added {questions} question(s) and {choices} choice(s).\n"
                ));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn add(db: &Database, polls: &[Poll]) -> Result<Added, sea_orm::DbErr> {
    let tx = db.begin().await?;
    let added = seed::add(&tx, polls, Utc::now()).await?;
    tx.commit().await?;
    Ok(added)
}

async fn add_random(db: &Database, count: usize, is_verbose: bool) -> anyhow::Result<Added> {
    let bar = if is_verbose {
        ProgressBar::new(count as u64)
    } else {
        ProgressBar::hidden()
    };
    let style = "{bar:40} {human_pos}/{human_len} questions, {rate}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // A rate that cannot be written is left out.
        let _ = write!(text, "{} a second", HumanCount(state.per_sec() as u64));
    };
    bar.set_style(style.with_key("rate", rate));
    let adding = async {
        let tx = db.begin().await?;
        seed::add_random(&tx, count, Utc::now(), |done| bar.set_position(done as u64)).await?;
        tx.commit().await
    };
    let added = tokio::select! {
        added = adding => Ok(added?),
        _ = tokio::signal::ctrl_c() => Err(anyhow!("cancelled: nothing has been added")),
    };
    bar.finish_and_clear();
    added?;
    Ok(Added {
        questions: count,
        choices: 4 * count,
    })
}

/// Reads all files, before anything is written.
fn read_files(files: &[PathBuf]) -> anyhow::Result<Vec<Poll>> {
    if files.is_empty() {
        let examples = seed::parse(seed::EXAMPLES, Syntax::Yaml);
        return Ok(examples.expect("the embedded file is valid").0);
    }
    let mut polls = Vec::new();
    for file in files {
        let name = file.display();
        let text = read(file).with_context(|| format!("{name} cannot be read"))?;
        let syntax = syntax(file, &text);
        let (found, skipped) =
            seed::parse(&text, syntax).map_err(|error| anyhow!("{name}, {error}"))?;
        if skipped > 0 {
            print_error(format_args!(
                "{name}: {skipped} object(s) of other models were left out."
            ));
        }
        polls.extend(found);
    }
    Ok(polls)
}

fn read(file: &Path) -> io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// The syntax by the file's extension or, without a known one, by its first character.
fn syntax(file: &Path, text: &str) -> Syntax {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Syntax::Json,
        Some("yaml" | "yml") => Syntax::Yaml,
        _ if text.trim_start().starts_with(['[', '{']) => Syntax::Json,
        _ => Syntax::Yaml,
    }
}

async fn prompt_polls() -> anyhow::Result<Vec<Poll>> {
    if !prompt::stdin_is_terminal() {
        bail!("--interactive needs a terminal: give a file instead.");
    }
    writeln!(
        Stdout,
        "An empty line ends the choices of a question, and the questions."
    )?;
    let mut polls: Vec<Poll> = Vec::new();
    while let Some(question) = prompt_text("Question: ").await? {
        if polls.iter().any(|poll| poll.question == question) {
            print_error("Error: you have typed that question already.");
            continue;
        }
        let mut choices = Vec::new();
        while let Some(choice) = prompt_text(&format!("  Choice {}: ", choices.len() + 1)).await? {
            if choices.iter().any(|(typed, _)| *typed == choice) {
                print_error("Error: the question has that choice already.");
            } else {
                choices.push((choice, 0));
            }
        }
        if choices.is_empty() {
            print_error("Error: a question without choices cannot be voted on; it is left out.");
        } else {
            polls.push(Poll {
                question,
                published: None,
                choices,
            });
        }
    }
    Ok(polls)
}

/// Prompts for a text until it is valid; `None` for an empty line.
async fn prompt_text(message: &str) -> anyhow::Result<Option<Text>> {
    loop {
        let line = prompt::line(message).await?;
        if line.is_empty() {
            return Ok(None);
        }
        match Text::parse(&line) {
            Ok(text) => return Ok(Some(text)),
            Err(error) => print_error(format_args!("Error: {error}.")),
        }
    }
}
