use std::{
    borrow::Cow,
    cell::Cell,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, anyhow};
use rustyline::{
    Completer, Config, Context as LineContext, Editor, Helper, Hinter,
    error::ReadlineError,
    highlight::{CmdKind, Highlighter},
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    cli::{
        context::{Context, Stdout, print_error},
        prompt,
    },
    db::Purpose,
    shell::{self, Shell, ShellSettings, syntax},
};

/// Lines that the history keeps.
const HISTORY_LENGTH: usize = 1000;
/// The stack of the thread that runs the session; pages that are not used take no memory.
const STACK_SIZE: usize = 256 << 20;
/// The history's file in the home folder.
const HISTORY: &str = ".polls_history";
const KEYWORDS: [&str; 20] = [
    "let", "const", "if", "else", "for", "in", "while", "loop", "break", "continue", "return",
    "fn", "switch", "try", "catch", "throw", "true", "false", "do", "until",
];

/// Run code over the models: at a prompt, from a file, or from standard input.
///
/// The models are used as in Django's shell: `Question.all()`, `q = Question(question_text="…", pub_date=now())`, `q.save()`,
/// `q.choices.create(choice_text="…")`. `help()` says what there is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run this code.
    #[arg(short, long, value_name = "CODE", conflicts_with = "file")]
    command: Option<String>,
    /// Run the code of this file; `-` is standard input.
    file: Option<PathBuf>,
}

impl Args {
    /// Runs the session in a thread of its own, since the language blocks.
    ///
    /// # Errors
    /// The place and the reason, when a statement fails; when a file cannot be read, or the database cannot be reached.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let source = match (self.command, self.file) {
            (Some(code), _) => Some(code),
            (None, Some(file)) if file != Path::new("-") => {
                let text = std::fs::read_to_string(&file);
                Some(text.with_context(|| format!("{} cannot be read", file.display()))?)
            }
            (None, None) if prompt::stdin_is_terminal() => None,
            (None, _) => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text)?;
                Some(text)
            }
        };
        let db = context.connect(Purpose::Command).await?;
        let settings = ShellSettings {
            zone: context.settings.time_zone,
            password_iterations: context.settings.security.password_iterations,
        };
        let home = context.environment.get("HOME")?.map(PathBuf::from);
        let is_coloured = context.is_coloured;
        let stop = Arc::new(AtomicBool::new(false));
        if source.is_none() {
            // CONTROL-C ends a statement, not the session.
            let stop = stop.clone();
            tokio::spawn(async move {
                while tokio::signal::ctrl_c().await.is_ok() {
                    stop.store(true, Ordering::Relaxed);
                }
            });
        }
        let runtime = Handle::current();
        let session = move || {
            let _runtime = runtime.enter();
            let output = Output::new(stop.clone());
            let print = output.clone();
            let shell = Shell::new(db, settings, stop, move |text| print.write(text));
            let result = match source {
                Some(source) => run_source(shell, &source),
                None => Prompt::new(shell, home, is_coloured)?.run(&output),
            };
            // A statement is stopped when its output is closed.
            output.result().and(result)
        };
        // Values may be nested deeply.
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
        let (sender, receiver) = oneshot::channel();
        thread.spawn(move || sender.send(session()))?;
        receiver
            .await
            .context("the session has ended with a panic")??;
        Ok(ExitCode::SUCCESS)
    }
}

/// Standard output. When it is closed or full, it stops the session.
#[derive(Clone)]
struct Output {
    error: Rc<Cell<Option<io::Error>>>,
    stop: Arc<AtomicBool>,
}

impl Output {
    fn new(stop: Arc<AtomicBool>) -> Self {
        let error = Rc::default();
        Self { error, stop }
    }

    fn write(&self, text: &str) {
        if let Err(error) = writeln!(Stdout, "{text}") {
            self.error.set(Some(error));
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Whether everything has been written.
    fn result(&self) -> anyhow::Result<()> {
        match self.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

/// Runs the statements of a text. As in Python, only what is printed is shown.
fn run_source(mut shell: Shell, source: &str) -> anyhow::Result<()> {
    for statement in syntax::statements(source)? {
        if statement.is_exit() {
            break;
        }
        shell.run_statement(&statement)?;
    }
    Ok(())
}

/// A session at a terminal.
struct Prompt {
    shell: Shell,
    editor: Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    fn new(shell: Shell, home: Option<PathBuf>, is_coloured: bool) -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_LENGTH)?
            .history_ignore_space(true)
            .completion_type(rustyline::CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Assistant {
            names: Names::default(),
            is_coloured,
        }));
        let history = home.map(|home| home.join(HISTORY));
        if let Some(history) = &history {
            // The first session has none.
            let _ = editor.load_history(history);
        }
        Ok(Self {
            shell,
            editor,
            history,
        })
    }

    /// Reads and runs statements until the end of the input.
    fn run(mut self, output: &Output) -> anyhow::Result<()> {
        output.write("polls shell: the models are Question, Choice, User, Group, …; help() says what there is, CONTROL-D ends it.");
        loop {
            if let Some(assistant) = self.editor.helper_mut() {
                assistant.names.variables = self.shell.variables();
            }
            // From the end of the line on, CONTROL-C is about its statement.
            output.stop.store(false, Ordering::Relaxed);
            match self.editor.readline(">>> ") {
                Ok(line) if syntax::EXIT.contains(&line.trim()) => break,
                Ok(line) => {
                    self.editor.add_history_entry(&line)?;
                    self.save_history();
                    match self.shell.run(&line) {
                        Ok(Some(value)) => output.write(&value),
                        Ok(None) => {}
                        Err(error) => print_error(format_args!("Error: {error}")),
                    }
                    output.result()?;
                }
                Err(ReadlineError::Interrupted) => output.write("KeyboardInterrupt"),
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(anyhow!(error).context("the terminal cannot be read")),
            }
        }
        Ok(())
    }

    /// Saves the history after each line; if it cannot be saved, says so once.
    fn save_history(&mut self) {
        let Some(history) = &self.history else {
            return;
        };
        if let Err(error) = self.editor.save_history(history) {
            let history = history.display();
            print_error(format_args!(
                "The history {history} cannot be written: {error}"
            ));
            self.history = None;
        }
    }
}

/// What the line editor asks while a line is typed.
#[derive(Helper, Completer, Hinter)]
struct Assistant {
    #[rustyline(Completer)]
    names: Names,
    is_coloured: bool,
}

/// The names that complete a line.
#[derive(Default)]
struct Names {
    variables: Vec<String>,
}

impl rustyline::completion::Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &LineContext<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..position];
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let start = before.trim_end_matches(is_part).len();
        let word = &before[start..];
        let mut found: Vec<String> = if before[..start].ends_with('.') {
            shell::members().map(str::to_owned).collect()
        } else {
            let known = KEYWORDS
                .iter()
                .copied()
                .chain(shell::functions())
                .map(str::to_owned);
            known
                .chain(self.variables.iter().cloned())
                .chain(shell::members().map(str::to_owned))
                .collect()
        };
        found.retain(|name| {
            name.starts_with(word) && !word.is_empty()
                || word.is_empty() && before[..start].ends_with('.')
        });
        found.sort_unstable();
        found.dedup();
        Ok((start, found))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_open = syntax::is_incomplete(context.input());
        Ok(if is_open {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.is_coloured {
            highlighted(line).into()
        } else {
            line.into()
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.is_coloured && kind != CmdKind::MoveCursor
    }
}

/// A line with colours for keywords, models, texts, numbers and comments.
fn highlighted(line: &str) -> String {
    let style = |colour: AnsiColor| colour.on_default();
    let mut result = String::new();
    let mut push = |text: &str, style: Style| result += &format!("{style}{text}{style:#}");
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let (length, style) = if rest.starts_with("//") || first == '#' && !rest.starts_with("#{") {
            (
                rest.find('\n').unwrap_or(rest.len()),
                style(AnsiColor::BrightBlack),
            )
        } else if "\"'`".contains(first) {
            let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
            (end, style(AnsiColor::Green))
        } else if is_word(first) {
            let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            let word = &rest[..length];
            let style = if first.is_numeric() {
                style(AnsiColor::Cyan)
            } else if KEYWORDS.contains(&word) || ["True", "False", "None"].contains(&word) {
                style(AnsiColor::Magenta)
            } else if first.is_uppercase() {
                style(AnsiColor::Yellow)
            } else {
                Style::new()
            };
            (length, style)
        } else {
            (first.len_utf8(), Style::new())
        };
        push(&rest[..length], style);
        rest = &rest[length..];
    }
    result
}
