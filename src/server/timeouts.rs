//! The timeouts of a connection.

use std::time::Duration;

/// How long the client may read nothing of a response.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeouts of the settings.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of a request.
    pub head: Duration,
    /// Between a response and the next request.
    pub idle: Duration,
    /// For the handling of a request.
    pub response: Duration,
}
