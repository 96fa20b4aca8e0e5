//! The lease on what a process keeps in memory: it may be used until the lease expires, which each heartbeat renews.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How long the lease lasts after the heartbeat that renewed it was sent: the maximum age of what is served from memory.
pub const DURATION: Duration = Duration::from_secs(1);

/// A lease that each heartbeat renews, from the moment at which the heartbeat was sent: a process that was suspended, a
/// connection that is half open and a server that does not respond all let it expire.
///
/// Heartbeats are sent only while it is asked for, so that an idle process puts no load on the database.
#[derive(Debug)]
pub struct Lease {
    start: Instant,
    /// Microseconds from `start` to the end of the lease.
    end: AtomicU64,
    is_wanted: AtomicBool,
    wanted: Notify,
}

impl Lease {
    /// A lease that has expired.
    pub fn expired() -> Self {
        Self {
            start: Instant::now(),
            end: AtomicU64::new(0),
            is_wanted: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    /// Whether it is held at `now`. Asks for the next heartbeat.
    pub fn is_held(&self, now: Instant) -> bool {
        if !self.is_wanted.load(Ordering::Relaxed) {
            self.is_wanted.store(true, Ordering::Relaxed);
            self.wanted.notify_one();
        }
        self.microseconds(now) < self.end.load(Ordering::Acquire)
    }

    /// Renews it, after everything that was committed before `sent` has been applied.
    pub(super) fn renew(&self, sent: Instant) {
        let end = self.microseconds(sent + DURATION);
        self.end.store(end, Ordering::Release);
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.end.store(0, Ordering::Release);
    }

    /// Completes when it has been asked for since the last call.
    pub(super) async fn wanted(&self) {
        while !self.is_wanted.swap(false, Ordering::Relaxed) {
            self.wanted.notified().await;
        }
    }

    fn microseconds(&self, moment: Instant) -> u64 {
        let passed = moment.saturating_duration_since(self.start);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lease_counts_from_the_moment_at_which_the_heartbeat_was_sent() {
        let lease = Lease::expired();
        let start = Instant::now();
        assert!(!lease.is_held(start));
        // Asked for once: the next call waits.
        lease.wanted().await;
        let asked_again = tokio::time::timeout(Duration::from_millis(20), lease.wanted());
        assert!(asked_again.await.is_err());
        lease.renew(start);
        assert!(lease.is_held(start + DURATION - Duration::from_millis(1)));
        assert!(!lease.is_held(start + DURATION));
        lease.wanted().await;
        lease.end();
        assert!(!lease.is_held(start));
    }
}
