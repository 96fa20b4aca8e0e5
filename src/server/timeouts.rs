//! The timeouts of a connection.

use std::time::Duration;

/// The timeouts of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of a request.
    pub head: Duration,
    /// Between a response and the next request.
    pub idle: Duration,
    /// For the handling of a request.
    pub response: Duration,
    /// For a client that reads nothing of a response.
    pub write: Duration,
}
