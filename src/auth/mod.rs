//! The app `auth`: users, passwords, permissions, logging in.

pub mod accounts;
pub mod admin;
pub mod hashers;
pub mod hashing;
pub mod login;
pub mod login_form;
pub mod permissions;
pub mod throttle;
pub mod users;
pub mod validators;

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use self::hashing::Hashing;
use crate::core::Core;

/// The state of logins and password changes. One per process.
#[derive(Debug)]
pub struct Auth {
    /// The settings, databases and clock.
    pub core: Arc<Core>,
    /// Computes and compares password hashes.
    pub hashing: Hashing,
    /// Counts failed and throttled attempts.
    pub counters: LoginCounters,
}

impl Auth {
    /// The state for a site.
    pub fn new(core: Arc<Core>) -> Self {
        Self {
            hashing: Hashing::new(core.settings.security.password_iterations),
            counters: LoginCounters::default(),
            core,
        }
    }
}

/// The metrics of logins and password changes.
#[derive(Debug, Default)]
pub struct LoginCounters {
    /// Attempts with a wrong name or password.
    pub failed: Counter,
    /// Attempts that were refused because too many had failed.
    pub throttled: Counter,
}
