//! Memory for the heads of requests and for responses that have not been sent, so that clients that send or read slowly cannot
//! use up the memory of the process.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::fault::Fault;

/// The memory for all heads and responses together, in bytes.
const LIMIT: usize = 48 * 1024 * 1024;
/// The size in bytes up to which a head or a response is not counted: most are no larger, and their number is limited.
const UNCOUNTED: usize = 4 * 1024;

/// The reserved memory, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    used: usize,
    networks: HashMap<IpAddr, usize>,
}

/// A part of the memory, given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    memory: Memory,
    network: Option<IpAddr>,
    bytes: usize,
}

impl Memory {
    /// Reserves memory for a client network, which may have as much as is left for others; `network` is none for requests
    /// without a known client, as those of a proxy that does not forward addresses. `None` when the size is not counted.
    ///
    /// # Errors
    /// [`Fault::Busy`] when too little is left.
    pub fn reserve(
        &self,
        network: Option<IpAddr>,
        bytes: usize,
    ) -> Result<Option<Reserved>, Fault> {
        if bytes <= UNCOUNTED {
            return Ok(None);
        }
        let mut state = self.state();
        let left = LIMIT.saturating_sub(state.used);
        let of_network = network.and_then(|network| state.networks.get(&network));
        if bytes + of_network.copied().unwrap_or_default() > left {
            return Err(Fault::Busy);
        }
        state.used += bytes;
        if let Some(network) = network {
            *state.networks.entry(network).or_default() += bytes;
        }
        Ok(Some(Reserved {
            memory: self.clone(),
            network,
            bytes,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        state.used -= self.bytes;
        if let Some(network) = self.network
            && let Some(of_network) = state.networks.get_mut(&network)
        {
            *of_network -= self.bytes;
            if *of_network == 0 {
                state.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_leaves_half_to_others_and_all_comes_back() {
        let memory = Memory::default();
        let network = |number: u8| Some(IpAddr::from([203, 0, 113, number]));
        assert!(memory.reserve(network(1), UNCOUNTED).unwrap().is_none());
        let half = memory.reserve(network(1), LIMIT / 2).unwrap();
        assert!(memory.reserve(network(1), UNCOUNTED + 1).is_err());
        let quarter = memory.reserve(network(2), LIMIT / 4).unwrap();
        assert!(memory.reserve(network(2), UNCOUNTED + 1).is_err());
        // Behind a proxy that forwards no address there is no other client to leave room for.
        let rest = memory.reserve(None, LIMIT / 4).unwrap();
        assert!(memory.reserve(None, UNCOUNTED + 1).is_err());
        drop((half, quarter, rest));
        let state = memory.state();
        assert!(state.used == 0 && state.networks.is_empty());
    }
}
