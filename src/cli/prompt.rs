//! Questions to the operator.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anyhow::Context;

/// The operator pressed CONTROL-C, or ended the input.
#[derive(Debug, thiserror::Error)]
#[error("Operation cancelled.")]
pub struct Cancelled;

/// Whether there is somebody to ask.
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
    ask(move || rpassword::prompt_password(message)).await
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
