//! Who is connected, how many there may be, and who has to make room.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{fault::Fault, guard::InFlight};

/// The part of the connections that makes room at once when there is none: looking for them costs a look at all.
const SHARE_TO_CLOSE: usize = 100;

/// All open connections.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// In the order in which they came.
    places: BTreeMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    address: Option<IpAddr>,
    /// Known as soon as HTTP is spoken.
    in_flight: Option<Arc<InFlight>>,
    closing: CancellationToken,
}

/// A connection's place, given back when it ends.
#[derive(Debug)]
pub struct Place {
    connections: Connections,
    number: u64,
    closing: CancellationToken,
}

impl Connections {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.open().places.len()
    }

    /// Takes a place. When all are taken, those make room that have waited for the longest without a request.
    ///
    /// # Errors
    /// When everybody is being served.
    pub fn enter(&self, most: usize) -> Result<Place, Fault> {
        let mut open = self.open();
        if open.places.len() >= most {
            let waiting = |entry: &&Entry| {
                let is_busy = entry
                    .in_flight
                    .as_ref()
                    .is_some_and(|turns| turns.count() > 0);
                !is_busy && !entry.closing.is_cancelled()
            };
            let idle = open.places.values().filter(waiting);
            let closed = idle
                .take(most / SHARE_TO_CLOSE + 1)
                .inspect(|entry| entry.closing.cancel())
                .count();
            // Those that were told to go still have their places for a moment: as many again may come meanwhile.
            if closed == 0 && open.places.len() > most + most / SHARE_TO_CLOSE {
                return Err(Fault::Full);
            }
        }
        let number = open.next;
        open.next += 1;
        let closing = CancellationToken::new();
        let entry = Entry {
            address: None,
            in_flight: None,
            closing: closing.clone(),
        };
        open.places.insert(number, entry);
        Ok(Place {
            connections: self.clone(),
            number,
            closing,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes whose connection it is.
    ///
    /// # Errors
    /// When the address has too many.
    pub fn count_address(&self, address: IpAddr, most: usize) -> Result<(), Fault> {
        let address = household(address);
        let mut open = self.connections.open();
        let count = open.by_address.entry(address).or_default();
        if *count >= most {
            return Err(Fault::AddressBusy);
        }
        *count += 1;
        if let Some(entry) = open.places.get_mut(&self.number) {
            entry.address = Some(address);
        }
        Ok(())
    }

    /// Notes where to see whether the connection is busy.
    pub fn watch(&self, in_flight: &Arc<InFlight>) {
        if let Some(entry) = self.connections.open().places.get_mut(&self.number) {
            entry.in_flight = Some(in_flight.clone());
        }
    }

    /// Comes when the connection has to make room.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let address = open
            .places
            .remove(&self.number)
            .and_then(|entry| entry.address);
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

/// What is counted together: a customer of IPv6 has at least a network of 64 bits.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64 << 64;
            IpAddr::V6(bits.into())
        }
    }
}
