//! The migrations of the app `polls_app`: questions and choices.

mod m0001_initial;

use crate::Migration;

/// In the order of their numbers.
pub const MIGRATIONS: &[Migration] = &[m0001_initial::MIGRATION];
