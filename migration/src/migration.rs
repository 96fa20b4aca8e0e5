//! A migration as data.

use std::fmt;

use crate::Operation;

/// App label and migration name.
pub type Key = (&'static str, &'static str);

/// One migration, as Django has it.
#[derive(Debug)]
pub struct Migration {
    /// The label of its app.
    pub app: &'static str,
    /// Its name, number included: `0001_initial`.
    pub name: &'static str,
    /// Whether it creates its app's tables, so that `--fake-initial` may find them there already.
    pub initial: bool,
    /// What has to be applied before it.
    pub dependencies: &'static [Key],
    /// What it does, in order.
    pub operations: &'static [Operation],
}

impl Migration {
    /// App and name.
    pub fn key(&self) -> Key {
        (self.app, self.name)
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

/// Whether a migration is applied or unapplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Applied.
    Forwards,
    /// Unapplied.
    Backwards,
}
