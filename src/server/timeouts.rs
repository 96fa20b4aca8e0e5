//! How long a connection waits for its client, and for a response to be made.

use std::time::Duration;

/// How long a response waits for the client to take any of it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeouts that the settings give.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a head.
    pub head: Duration,
    /// Between a response and the next request.
    pub idle: Duration,
    /// For a response to be made.
    pub answer: Duration,
}
