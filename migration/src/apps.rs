//! The apps and their migrations.

use crate::{Migration, admin, auth, contenttypes, polls, polls_app, sessions};

/// The labels of the apps with migrations, in the order of Django's `INSTALLED_APPS`, which is also that of the content types;
/// last `polls`, which Django does not have.
pub const APPS: [&str; 6] = [
    "polls_app",
    "admin",
    "auth",
    "contenttypes",
    "sessions",
    "polls",
];

/// The migrations of each app, in the order of their numbers.
pub const MIGRATIONS: &[&[Migration]] = &[
    polls_app::MIGRATIONS,
    admin::MIGRATIONS,
    auth::MIGRATIONS,
    contenttypes::MIGRATIONS,
    sessions::MIGRATIONS,
    polls::MIGRATIONS,
];
