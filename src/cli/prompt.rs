//! Questions to the operator.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Context;
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

/// The operator pressed CONTROL-C, or ended the input.
#[derive(Debug, thiserror::Error)]
#[error("Operation cancelled.")]
pub struct Cancelled;

/// Whether there is a terminal to ask on.
pub fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a line.
///
/// # Errors
/// [`Cancelled`].
pub async fn line(message: &str) -> anyhow::Result<String> {
    let message = message.to_owned();
    ask(move || {
        let mut out = io::stdout();
        write!(out, "{message}")?;
        out.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    })
    .await
}

/// Asks for a password, which is not shown.
///
/// # Errors
/// [`Cancelled`].
pub async fn password(message: &str) -> anyhow::Result<String> {
    let message = message.to_owned();
    ask(move || {
        let _hidden = Hidden::begin();
        rpassword::prompt_password(message)
    })
    .await
}

/// Keeps what is typed from being shown, until it is dropped. It begins before the question appears, where rpassword
/// would let through what is typed at the very moment.
struct Hidden(Option<Termios>);

impl Hidden {
    fn begin() -> Self {
        let before = termios::tcgetattr(io::stdin()).ok();
        if let Some(mut hidden) = before.clone() {
            hidden.local_flags.remove(LocalFlags::ECHO);
            // Without it rpassword still does its part.
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &hidden);
        }
        Self(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Runs `question` on a thread of its own and listens for CONTROL-C meanwhile.
async fn ask(
    question: impl FnOnce() -> io::Result<String> + Send + 'static,
) -> anyhow::Result<String> {
    let mut asked = tokio::task::spawn_blocking(question);
    let answer = tokio::select! {
        answer = &mut asked => answer,
        // A password prompt sees CONTROL-C itself and must be left the time to turn the echo on again.
        _ = tokio::signal::ctrl_c() => match tokio::time::timeout(Duration::from_millis(200), asked).await {
            Ok(answer) => answer,
            Err(_) => return Err(Cancelled.into()),
        },
    };
    match answer.context("the question could not be asked")? {
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
