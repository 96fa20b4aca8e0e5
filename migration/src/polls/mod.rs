//! The tables and indexes that this program adds to Django's schema. Django does not have this app: it has no models, and all
//! names begin with `polls_`.

mod m0001_login_failures;
mod m0002_indexes;
mod m0003_vote_receipts;
mod m0004_login_networks;
mod m0005_change_notifications;
mod m0006_question_options;
mod m0007_question_options_triggers;
mod m0008_vote_days;

pub use m0005_change_notifications::CHANNEL as CHANGES_CHANNEL;

use crate::Migration;

/// The migrations that create triggers, and nothing else, on PostgreSQL.
pub const TRIGGER_MIGRATIONS: [&Migration; 2] = [
    &m0005_change_notifications::MIGRATION,
    &m0007_question_options_triggers::MIGRATION,
];
/// The number of triggers, all named `polls_…`.
pub const TRIGGERS: i64 =
    m0005_change_notifications::TRIGGERS + m0007_question_options_triggers::TRIGGERS;
/// The bodies of the functions that the triggers execute.
pub const TRIGGER_FUNCTIONS: [&str; 3] = [
    m0005_change_notifications::FUNCTIONS[0],
    m0005_change_notifications::FUNCTIONS[1],
    m0007_question_options_triggers::FUNCTION,
];

/// In the order of their numbers.
pub const MIGRATIONS: &[Migration] = &[
    m0001_login_failures::MIGRATION,
    m0002_indexes::MIGRATION,
    m0003_vote_receipts::MIGRATION,
    m0004_login_networks::MIGRATION,
    m0005_change_notifications::MIGRATION,
    m0006_question_options::MIGRATION,
    m0007_question_options_triggers::MIGRATION,
    m0008_vote_days::MIGRATION,
];
