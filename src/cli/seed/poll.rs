//! A question with its choices from a file, and the error of a file.

use std::fmt;

use chrono::{DateTime, Utc};

/// The maximum length of a question or a choice, in characters.
const MAX_TEXT: usize = 200;

/// A validated question with its choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The text of the question.
    pub question: Text,
    /// The date of publication; `None`: now.
    pub published: Option<DateTime<Utc>>,
    /// The choices and their votes.
    pub choices: Vec<(Text, i32)>,
}

/// A text of a question or a choice: not blank, 200 characters at most, and without NUL, which PostgreSQL cannot store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Trims and validates a text.
    ///
    /// # Errors
    /// The reason, when it is blank, too long, or contains NUL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let length = text.chars().count();
        if text.is_empty() {
            Err("the text is blank".to_owned())
        } else if length > MAX_TEXT {
            Err(format!(
                "the text has {length} characters, {MAX_TEXT} is the most"
            ))
        } else if text.contains('\0') {
            Err("the text contains a NUL character".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong in that line.
    pub reason: String,
}
