//! A question with its choices, as a file holds it, and what can be wrong with the file.

use std::fmt;

use chrono::{DateTime, Utc};

/// The most characters of a question or a choice.
const MAX_TEXT: usize = 200;

/// A question with its choices, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// What is asked.
    pub question: Text,
    /// When it appears; `None` means at once.
    pub published: Option<DateTime<Utc>>,
    /// The answers and their votes.
    pub choices: Vec<(Text, i32)>,
}

/// A text of a question or a choice: not blank, 200 characters at most, and without NUL, which PostgreSQL cannot store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Checks a text, less the blanks around it.
    ///
    /// # Errors
    /// What is wrong with it.
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
    /// What is wrong in it.
    pub reason: String,
}
