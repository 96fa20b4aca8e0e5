//! The migrations of Django's `admin` app.

mod m0001_initial;
mod m0002_logentry_remove_auto_add;
mod m0003_logentry_add_action_flag_choices;

use crate::Migration;

/// In the order of their numbers.
pub const MIGRATIONS: &[Migration] = &[
    m0001_initial::MIGRATION,
    m0002_logentry_remove_auto_add::MIGRATION,
    m0003_logentry_add_action_flag_choices::MIGRATION,
];
