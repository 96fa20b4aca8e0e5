//! Errors of statements.

use std::fmt;

/// An error of a statement, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellError {
    /// The line, from 1; 0 if it is unknown.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for ShellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.reason),
            (line, column) => write!(f, "line {line}, column {column}: {}", self.reason),
        }
    }
}

impl std::error::Error for ShellError {}
