//! Prompts on the terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Context;
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use super::context::Stdout;

/// CONTROL-C was pressed, or the input ended.
#[derive(Debug, thiserror::Error)]
#[error("Operation cancelled.")]
pub struct Cancelled;

/// Whether standard input is a terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Prompts for a line.
///
/// # Errors
/// [`Cancelled`] at CONTROL-C or the end of the input; other errors of the terminal.
pub async fn line(message: &str) -> anyhow::Result<String> {
    let message = message.to_owned();
    run(move || {
        write!(Stdout, "{message}")?;
        Stdout.flush()?;
        let mut line = String::new();
        match io::stdin().read_line(&mut line) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(not_utf8()),
            Err(error) => return Err(error),
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    })
    .await
}

/// Prompts for a password, without echo.
///
/// # Errors
/// [`Cancelled`] at CONTROL-C or the end of the input; other errors of the terminal.
pub async fn password(message: &str) -> anyhow::Result<String> {
    let message = message.to_owned();
    run(move || {
        let _guard = EchoGuard::new();
        let password = rpassword::prompt_password(message)?;
        // rpassword's replacement for bytes that are not UTF-8, with which different passwords would be equal.
        if password.contains(char::REPLACEMENT_CHARACTER) {
            return Err(not_utf8());
        }
        Ok(password)
    })
    .await
}

fn not_utf8() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the input is not UTF-8")
}

/// Turns the terminal's echo off until dropped. rpassword turns it off only after the prompt is printed: input in between
/// would be shown.
struct EchoGuard(Option<Termios>);

impl EchoGuard {
    fn new() -> Self {
        let before = termios::tcgetattr(io::stdin()).ok();
        if let Some(mut hidden) = before.clone() {
            hidden.local_flags.remove(LocalFlags::ECHO);
            // On failure, rpassword still turns the echo off.
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &hidden);
        }
        Self(before)
    }
}

impl Drop for EchoGuard {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Runs `prompt` on a blocking thread, and returns at CONTROL-C.
async fn run(
    prompt: impl FnOnce() -> io::Result<String> + Send + 'static,
) -> anyhow::Result<String> {
    let mut reading = tokio::task::spawn_blocking(prompt);
    let answer = tokio::select! {
        answer = &mut reading => answer,
        // A password prompt handles CONTROL-C itself, and needs time to turn the echo on again.
        _ = tokio::signal::ctrl_c() => match tokio::time::timeout(Duration::from_millis(200), reading).await {
            Ok(answer) => answer,
            Err(_) => return Err(Cancelled.into()),
        },
    };
    match answer.context("the thread of the prompt panicked")? {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Err(Cancelled.into())
        }
        answer => Ok(answer?),
    }
}
