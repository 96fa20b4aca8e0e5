//! The apps and their migrations.

use crate::{Migration, admin, auth, contenttypes, polls, polls_app, sessions};

/// The apps with migrations, in the order of Django's `INSTALLED_APPS`, which is the order of the content types; last the
/// one that Django does not know.
pub const APPS: [&str; 6] = [
    "polls_app",
    "admin",
    "auth",
    "contenttypes",
    "sessions",
    "polls",
];

/// Every migration, app by app and in the order of its numbers.
pub const MIGRATIONS: &[&[Migration]] = &[
    polls_app::MIGRATIONS,
    admin::MIGRATIONS,
    auth::MIGRATIONS,
    contenttypes::MIGRATIONS,
    sessions::MIGRATIONS,
    polls::MIGRATIONS,
];
