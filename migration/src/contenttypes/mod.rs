//! The migrations of Django's `contenttypes` app.

mod m0001_initial;
mod m0002_remove_content_type_name;

use crate::Migration;

/// In the order of their numbers.
pub const MIGRATIONS: &[Migration] = &[
    m0001_initial::MIGRATION,
    m0002_remove_content_type_name::MIGRATION,
];
