//! The open connections, their limits, and which are closed when the limit is reached.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{fault::Fault, in_flight::InFlight};

/// The part of the connections that is closed at a time when the limit is reached: finding them takes a scan of all.
const SHARE_TO_CLOSE: usize = 100;
/// While connections are being closed, the limit may be exceeded by `1 / SHARE_BEYOND` of it ...
const SHARE_BEYOND: usize = 8;
/// ... or by this number, if that is more.
const MIN_BEYOND: usize = 64;

/// All open connections.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    /// Connections that are being closed.
    closing_count: usize,
}

#[derive(Debug)]
struct Entry {
    accepted_at: Instant,
    address: Option<IpAddr>,
    /// Set when the connection is past TLS and PROXY header.
    in_flight: Option<Arc<InFlight>>,
    evicted: CancellationToken,
    closing: CancellationToken,
}

/// A connection's part of the limit, given back when it ends.
#[derive(Debug)]
pub struct ConnectionSlot {
    connections: Connections,
    number: u64,
    evicted: CancellationToken,
    closing: CancellationToken,
}

impl Open {
    /// Closes the `count` connections that have waited the longest for a request or the rest of a body.
    fn close_idle(&mut self, count: usize) {
        let waits_since = |entry: &Entry| match &entry.in_flight {
            Some(in_flight) => in_flight.waits_since(),
            None => Some(entry.accepted_at),
        };
        let mut idle: Vec<_> = self
            .slots
            .values()
            .filter(|entry| !entry.evicted.is_cancelled())
            .filter_map(|entry| Some((waits_since(entry)?, entry)))
            .collect();
        idle.sort_by_key(|(since, _)| *since);
        for (_, entry) in idle.into_iter().take(count) {
            entry.evicted.cancel();
            entry.closing.cancel();
            self.closing_count += 1;
        }
    }
}

impl Connections {
    /// The number of open connections.
    pub fn count(&self) -> usize {
        self.open().slots.len()
    }

    /// Counts a new connection, which closes when `stopping` is cancelled. At the limit, those are evicted that have waited for the
    /// longest without a request.
    ///
    /// # Errors
    /// [`Fault::Full`] when all connections have a request.
    pub fn acquire(
        &self,
        max: usize,
        stopping: &CancellationToken,
    ) -> Result<ConnectionSlot, Fault> {
        let mut open = self.open();
        let staying = open.slots.len() - open.closing_count;
        if staying >= max {
            open.close_idle(staying - max + max / SHARE_TO_CLOSE + 1);
        }
        // Those that are being closed still count for a moment, in which others are accepted.
        if open.slots.len() >= max + open.closing_count.min(max / SHARE_BEYOND + MIN_BEYOND) {
            return Err(Fault::Full);
        }
        let number = open.next;
        open.next += 1;
        let (evicted, closing) = (CancellationToken::new(), stopping.child_token());
        let entry = Entry {
            accepted_at: Instant::now(),
            address: None,
            in_flight: None,
            evicted: evicted.clone(),
            closing: closing.clone(),
        };
        open.slots.insert(number, entry);
        Ok(ConnectionSlot {
            connections: self.clone(),
            number,
            evicted,
            closing,
        })
    }

    /// Whether some are being closed.
    pub fn has_closing(&self) -> bool {
        self.open().closing_count > 0
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// Counts the connection for its client's network.
    ///
    /// # Errors
    /// [`Fault::AddressBusy`] when the network has `max` already.
    pub fn count_address(&self, address: IpAddr, max: usize) -> Result<(), Fault> {
        let mut open = self.connections.open();
        let count = open.by_address.entry(address).or_default();
        if *count >= max {
            return Err(Fault::AddressBusy);
        }
        *count += 1;
        if let Some(entry) = open.slots.get_mut(&self.number) {
            entry.address = Some(address);
        }
        Ok(())
    }

    /// Sets the requests in flight, which show whether the connection is idle.
    pub fn watch(&self, in_flight: &Arc<InFlight>) {
        if let Some(entry) = self.connections.open().slots.get_mut(&self.number) {
            entry.in_flight = Some(in_flight.clone());
        }
    }

    /// Cancelled when the connection has to be closed because others need its place.
    pub fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    /// Cancelled when the connection shall take no more requests: it is evicted, or the server stops. A token of its own: the lock
    /// of the server's is taken by all connections.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let entry = open.slots.remove(&self.number);
        open.closing_count -= usize::from(self.evicted.is_cancelled());
        let address = entry.and_then(|entry| entry.address);
        if let Some(address) = address
            && let Some(count) = open.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}
