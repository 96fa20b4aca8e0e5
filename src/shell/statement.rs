//! Statements in Rhai, with the places of their characters in the source.

use rhai::Position;

use super::error::ShellError;

/// A statement in Rhai.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// The text.
    pub text: String,
    /// The variable that it assigns to, if that is all it does; a new one needs `let`.
    pub assigned: Option<String>,
    /// For each character of the text, its line and column in the source.
    pub places: Vec<(usize, usize)>,
}

/// The statements that end a session.
pub const EXIT: [&str; 4] = ["exit", "quit", "exit()", "quit()"];

impl Statement {
    /// Whether it ends the session.
    pub fn is_exit(&self) -> bool {
        EXIT.contains(&self.text.trim())
    }

    /// The place in the source of a position in the text, before which `shift` characters have been inserted.
    pub fn place(&self, position: Position, shift: usize) -> ShellError {
        let index = position.line().map(|line| {
            let before = self.text.split_inclusive('\n').take(line - 1);
            let shift = if line == 1 { shift } else { 0 };
            let column = position.position().unwrap_or(1);
            before.map(|line| line.chars().count()).sum::<usize>()
                + column.saturating_sub(1 + shift)
        });
        let place = index.map(|index| self.places.get(index).or(self.places.last()));
        let (line, column) = match place {
            Some(Some(place)) => *place,
            Some(None) | None => self.places.first().copied().unwrap_or((0, 0)),
        };
        ShellError {
            line,
            column,
            reason: String::new(),
        }
    }
}
