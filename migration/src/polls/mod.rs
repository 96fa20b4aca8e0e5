//! The tables and indexes that this program adds to Django's schema. Django does not have this app: it has no models, and all
//! names begin with `polls_`.

mod m0001_login_failures;
mod m0002_indexes;
mod m0003_vote_receipts;
mod m0004_login_networks;
mod m0005_change_notifications;

pub use m0005_change_notifications::{
    CHANNEL as CHANGES_CHANNEL, FUNCTIONS as CHANGES_FUNCTIONS, MIGRATION as CHANGES_MIGRATION,
    TRIGGERS as CHANGES_TRIGGERS,
};

use crate::Migration;

/// In the order of their numbers.
pub const MIGRATIONS: &[Migration] = &[
    m0001_login_failures::MIGRATION,
    m0002_indexes::MIGRATION,
    m0003_vote_receipts::MIGRATION,
    m0004_login_networks::MIGRATION,
    m0005_change_notifications::MIGRATION,
];
