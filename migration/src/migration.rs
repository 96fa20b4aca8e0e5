//! The declaration of a migration.

use std::fmt;

use crate::Operation;

/// App label and migration name.
pub type Key = (&'static str, &'static str);

/// A migration, with the attributes of Django's `Migration`.
#[derive(Debug)]
pub struct Migration {
    /// The label of its app.
    pub app: &'static str,
    /// Its name with the number: `0001_initial`.
    pub name: &'static str,
    /// Whether it creates its app's tables: `--fake-initial` only records it if they exist.
    pub initial: bool,
    /// The migrations that must be applied before it.
    pub dependencies: &'static [Key],
    /// Its operations, in order.
    pub operations: &'static [Operation],
}

impl Migration {
    /// The app's label and the name.
    pub fn key(&self) -> Key {
        (self.app, self.name)
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

/// Whether to apply or to unapply a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Apply.
    Forwards,
    /// Unapply.
    Backwards,
}
