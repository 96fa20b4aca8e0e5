//! The open connections: how many there may be, and which are closed when there are too many.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{fault::Fault, in_flight::InFlight};

/// The part of the connections that makes room at once when there is none: looking for them costs a look at all.
const SHARE_TO_CLOSE: usize = 100;
/// How many more than are allowed there may be while others go: this part of them, and so many.
const SHARE_BEYOND: usize = 8;
const MIN_BEYOND: usize = 64;

/// All open connections.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    /// Those that have been told to go and are still there.
    leaving: usize,
}

#[derive(Debug)]
struct Entry {
    came: Instant,
    address: Option<IpAddr>,
    /// Known as soon as HTTP is spoken.
    in_flight: Option<Arc<InFlight>>,
    closing: CancellationToken,
}

/// A connection's place, given back when it ends.
#[derive(Debug)]
pub struct ConnectionSlot {
    connections: Connections,
    number: u64,
    closing: CancellationToken,
}

impl Open {
    /// Tells so many to go, of those that wait for a request or the rest of one the ones that have waited for the longest.
    fn close_idle(&mut self, count: usize) {
        let waits_since = |entry: &Entry| match &entry.in_flight {
            Some(in_flight) => in_flight.waits_since(),
            None => Some(entry.came),
        };
        let mut idle: Vec<_> = self
            .slots
            .values()
            .filter(|entry| !entry.closing.is_cancelled())
            .filter_map(|entry| Some((waits_since(entry)?, entry)))
            .collect();
        idle.sort_by_key(|(since, _)| *since);
        let told = idle.into_iter().take(count);
        self.leaving += told.inspect(|(_, entry)| entry.closing.cancel()).count();
    }
}

impl Connections {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.open().slots.len()
    }

    /// Takes a place. When all are taken, those make room that have waited for the longest without a request.
    ///
    /// # Errors
    /// [`Fault::Full`] when all connections have a request.
    pub fn acquire(&self, most: usize) -> Result<ConnectionSlot, Fault> {
        let mut open = self.open();
        let staying = open.slots.len() - open.leaving;
        if staying >= most {
            open.close_idle(staying - most + most / SHARE_TO_CLOSE + 1);
        }
        // Those that were told to go still have their slots for a moment, in which others come.
        if open.slots.len() >= most + open.leaving.min(most / SHARE_BEYOND + MIN_BEYOND) {
            return Err(Fault::Full);
        }
        let number = open.next;
        open.next += 1;
        let closing = CancellationToken::new();
        let entry = Entry {
            came: Instant::now(),
            address: None,
            in_flight: None,
            closing: closing.clone(),
        };
        open.slots.insert(number, entry);
        Ok(ConnectionSlot {
            connections: self.clone(),
            number,
            closing,
        })
    }

    /// Whether some have been told to go and are still there.
    pub fn has_leavers(&self) -> bool {
        self.open().leaving > 0
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// Notes whose connection it is: the client's network.
    ///
    /// # Errors
    /// When it has too many.
    pub fn count_address(&self, address: IpAddr, most: usize) -> Result<(), Fault> {
        let mut open = self.connections.open();
        let count = open.by_address.entry(address).or_default();
        if *count >= most {
            return Err(Fault::AddressBusy);
        }
        *count += 1;
        if let Some(entry) = open.slots.get_mut(&self.number) {
            entry.address = Some(address);
        }
        Ok(())
    }

    /// Notes where to see whether the connection is busy.
    pub fn watch(&self, in_flight: &Arc<InFlight>) {
        if let Some(entry) = self.connections.open().slots.get_mut(&self.number) {
            entry.in_flight = Some(in_flight.clone());
        }
    }

    /// Comes when the connection has to make room.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let entry = open.slots.remove(&self.number);
        open.leaving -= usize::from(self.closing.is_cancelled());
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
