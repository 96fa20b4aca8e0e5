//! Limits on the requests that are in flight, so that neither one client nor many can use up the memory or keep all others
//! waiting.
//!
//! A request is first admitted, which takes no more memory than its head, or refused when there are too many. It is handled
//! as soon as it gets a slot. It does not hold the slot while its body is being received or its response is being sent: how
//! long that takes depends on the client.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{fault::Fault, memory::Reserved};

/// Requests that may be in flight for each slot.
const QUEUE_FACTOR: usize = 32;
/// Requests that may be receiving a body without their slot, for each slot.
const PARKED_FACTOR: usize = 4;
/// The part of all requests that the first requests of connections leave to networks within their share.
const SHARE_FOR_OTHERS: usize = 8;
/// How long a request waits for a slot.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Concurrent health checks, beside all other requests.
const MAX_PROBES: usize = 64;
const OPEN: &str = "the semaphore is never closed";

/// The requests in flight.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Arc<Semaphore>,
    max_parked: usize,
    max_in_flight: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_flight: usize,
    parked: usize,
    probes: usize,
    networks: HashMap<Option<IpAddr>, Network>,
}

/// What one client network has in flight.
#[derive(Debug, Default)]
struct Network {
    in_flight: usize,
    parked: usize,
    probes: usize,
    queue: Queue,
}

/// The requests of a connection or a network that wait for a slot. One at a time waits with those of the others, so that
/// slots are given out round-robin by connection and network.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Semaphore>);

impl Default for Queue {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// A connection that belongs to one client.
#[derive(Debug, Clone, Copy)]
pub struct OfConnection<'a> {
    /// Its requests in flight, the one to be admitted included.
    pub in_flight: usize,
    /// Its requests that wait for a slot.
    pub queue: &'a Queue,
}

/// An admitted request, in flight until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Admission,
    network: Option<IpAddr>,
    /// The queues of the connection and of the network.
    queues: [Queue; 2],
    /// Whether it is a health check, which needs no slot.
    is_probe: bool,
    /// The memory of its head.
    pub head: Option<Reserved>,
}

/// The right to handle a request.
#[derive(Debug)]
pub struct Slot(Option<OwnedSemaphorePermit>);

/// What takes the place of a slot while a body is being received.
#[derive(Debug)]
pub struct Parked {
    admission: Admission,
    network: Option<IpAddr>,
}

impl Admission {
    /// Admission with `max_slots` slots.
    pub fn new(max_slots: usize) -> Self {
        let most = |factor| max_slots.saturating_mul(factor).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            slots: Arc::new(Semaphore::new(max_slots)),
            max_parked: most(PARKED_FACTOR),
            max_in_flight: most(QUEUE_FACTOR),
            state: Mutex::default(),
        }))
    }

    /// Admits a request. A connection may always have one while fewer than 7/8 of the limit are in flight: the rest is for other
    /// networks. With more, it and its network may each have as many in flight as are left to the limit (the dynamic threshold of
    /// Choudhury and Hahne, IEEE/ACM Transactions on Networking 6 (1998), 130): one network alone half of all, two a third each, so that some are left for
    /// another. `network` is none for requests that cannot be told apart, as those of a proxy that does not forward
    /// addresses; `connection` is none for a forwarded client, whose proxy sends the requests of others on it as well.
    ///
    /// # Errors
    /// [`Fault::Busy`].
    pub fn admit(
        &self,
        network: Option<IpAddr>,
        connection: Option<OfConnection<'_>>,
    ) -> Result<Admitted, Fault> {
        let mut state = self.state();
        let room = self.0.max_in_flight.saturating_sub(state.in_flight);
        let of_network = state.networks.get(&network);
        let of_network = of_network.map_or(0, |network| network.in_flight);
        let is_first = connection.map_or(of_network == 0, |connection| connection.in_flight <= 1);
        let is_within_share = connection.is_none_or(|connection| connection.in_flight <= room)
            && (network.is_none() || of_network < room);
        let is_admitted_first = is_first && room > self.0.max_in_flight / SHARE_FOR_OTHERS;
        if room == 0 || !is_admitted_first && !is_within_share {
            return Err(Fault::Busy);
        }
        state.in_flight += 1;
        let counted = state.networks.entry(network).or_default();
        counted.in_flight += 1;
        let queue = connection.map_or_else(Queue::default, |connection| connection.queue.clone());
        Ok(Admitted {
            admission: self.clone(),
            network,
            queues: [queue, counted.queue.clone()],
            is_probe: false,
            head: None,
        })
    }

    /// Admits a health check. A network may have as many as are left for others.
    ///
    /// # Errors
    /// [`Fault::Busy`] when too many are in flight.
    pub fn admit_probe(&self, network: Option<IpAddr>) -> Result<Admitted, Fault> {
        let mut state = self.state();
        let left = MAX_PROBES.saturating_sub(state.probes);
        let of_network = state.networks.get(&network);
        let of_network = of_network.map_or(0, |network| network.probes);
        if left == 0 || network.is_some() && of_network >= left {
            return Err(Fault::Busy);
        }
        state.probes += 1;
        state.networks.entry(network).or_default().probes += 1;
        Ok(Admitted {
            admission: self.clone(),
            network,
            queues: Default::default(),
            is_probe: true,
            head: None,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Waits for a slot.
    ///
    /// # Errors
    /// [`Fault::Busy`] after 5 s.
    pub async fn slot(&self) -> Result<Slot, Fault> {
        if self.is_probe {
            return Ok(Slot(None));
        }
        let has_turn = |queue: &Queue| queue.0.available_permits() > 0;
        if self.queues.iter().all(has_turn)
            && let Ok(permit) = self.admission.0.slots.clone().try_acquire_owned()
        {
            return Ok(Slot(Some(permit)));
        }
        // Boxed: few requests have to wait.
        Box::pin(self.wait_for_slot()).await
    }

    async fn wait_for_slot(&self) -> Result<Slot, Fault> {
        let acquired = async {
            let [connection, network] = &self.queues;
            let _first_of_connection = connection.0.acquire().await.expect(OPEN);
            let _first_of_network = network.0.acquire().await.expect(OPEN);
            let slots = self.admission.0.slots.clone();
            slots.acquire_owned().await.expect(OPEN)
        };
        match tokio::time::timeout(WAIT_TIMEOUT, acquired).await {
            Ok(permit) => Ok(Slot(Some(permit))),
            Err(_) => Err(Fault::Busy),
        }
    }

    /// The client's network, if it is known.
    pub fn network(&self) -> Option<IpAddr> {
        self.network
    }

    /// What stays in flight until the response has been sent: a health check only until its response is complete, so that
    /// clients that do not read cannot block those of others.
    pub fn unless_probe(self: Arc<Self>) -> Option<Arc<Self>> {
        (!self.is_probe).then_some(self)
    }

    /// Gives a slot back while the request waits for its client, unless that has been done. A network may have as many such
    /// requests as are left for others.
    ///
    /// # Errors
    /// [`Fault::Busy`] when there are too many: a slot is never held while waiting for a client.
    pub fn park(&self, slot: &mut Option<Slot>) -> Result<Option<Parked>, Fault> {
        if slot.as_ref().is_none_or(|slot| slot.0.is_none()) {
            return Ok(None);
        }
        let mut state = self.admission.state();
        let left = self.admission.0.max_parked.saturating_sub(state.parked);
        let Some(network) = state.networks.get_mut(&self.network) else {
            return Err(Fault::Busy);
        };
        if left == 0 || self.network.is_some() && network.parked >= left {
            return Err(Fault::Busy);
        }
        network.parked += 1;
        state.parked += 1;
        drop(state);
        *slot = None;
        Ok(Some(Parked {
            admission: self.admission.clone(),
            network: self.network,
        }))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.parked -= 1;
        if let Some(network) = state.networks.get_mut(&self.network) {
            network.parked -= 1;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut guard = self.admission.state();
        let state = &mut *guard;
        let Some(network) = state.networks.get_mut(&self.network) else {
            return;
        };
        let (all, own) = if self.is_probe {
            (&mut state.probes, &mut network.probes)
        } else {
            (&mut state.in_flight, &mut network.in_flight)
        };
        *all -= 1;
        *own -= 1;
        if network.in_flight == 0 && network.probes == 0 {
            state.networks.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u8) -> Option<IpAddr> {
        Some([203, 0, 113, number].into())
    }

    /// As many requests as a client may send, all on one connection.
    fn fill(admission: &Admission, network: Option<IpAddr>) -> Vec<Admitted> {
        let (queue, mut admitted) = (Queue::default(), Vec::new());
        loop {
            let in_flight = admitted.len() + 1;
            let queue = &queue;
            match admission.admit(network, Some(OfConnection { in_flight, queue })) {
                Ok(one) => admitted.push(one),
                Err(_) => return admitted,
            }
        }
    }

    /// A first request, on a connection of its own.
    fn first(admission: &Admission, network: Option<IpAddr>) -> Admitted {
        let (in_flight, queue) = (1, &Queue::default());
        let connection = Some(OfConnection { in_flight, queue });
        admission.admit(network, connection).unwrap()
    }

    #[test]
    fn each_network_gets_its_share() {
        let admission = Admission::new(100);
        let first = fill(&admission, network(1));
        assert_eq!(first.len(), 1600);
        // A request on another connection of the same network is still admitted.
        let more = fill(&admission, network(1));
        assert_eq!(more.len(), 1);
        let others: Vec<_> = (2..8)
            .map(|number| fill(&admission, network(number)))
            .collect();
        assert_eq!(others[0].len(), 800);
        assert!(others.iter().all(|other| !other.is_empty()));
        drop((first, more, others));
        assert_eq!(fill(&admission, network(1)).len(), 1600);
        // Connections without a known network are limited each.
        let unknown: Vec<_> = (0..8).map(|_| fill(&admission, None)).collect();
        assert!(unknown.iter().all(|one| !one.is_empty()));
        assert!(admission.admit_probe(network(1)).is_ok());
    }

    #[test]
    fn many_connections_of_some_networks_leave_room_for_another() {
        let admission = Admission::new(100);
        let mut admitted = Vec::new();
        for number in 1..=4 {
            for _ in 0..2000 {
                let (in_flight, queue) = (1, &Queue::default());
                let connection = Some(OfConnection { in_flight, queue });
                admitted.extend(admission.admit(network(number), connection));
            }
        }
        assert!(admitted.len() > 2800, "{}", admitted.len());
        let other = fill(&admission, network(5));
        assert!(other.len() > 20, "{}", other.len());
    }

    #[test]
    fn a_flood_of_health_checks_leaves_room_for_others() {
        let admission = Admission::new(1);
        let fill = |network| {
            let admit = || admission.admit_probe(network).ok();
            std::iter::from_fn(admit).collect::<Vec<_>>()
        };
        let flood = fill(network(1));
        assert_eq!(flood.len(), MAX_PROBES / 2);
        assert_eq!(fill(network(2)).len(), MAX_PROBES / 4);
        drop(flood);
        assert_eq!(fill(network(3)).len(), MAX_PROBES / 2);
        assert!(admission.state().networks.is_empty());
    }

    #[test]
    fn forwarded_clients_share_whatever_connections_their_proxy_uses() {
        let admission = Admission::new(100);
        let fill = |number| {
            let admit = || admission.admit(network(number), None).ok();
            std::iter::from_fn(admit).collect::<Vec<_>>()
        };
        let many = fill(1);
        assert_eq!(many.len(), 1600);
        assert_eq!(fill(2).len(), 800);
    }

    #[tokio::test]
    async fn clients_take_turns() {
        let admission = Admission::new(1);
        let many = fill(&admission, network(1));
        let other = first(&admission, network(2));
        let same = first(&admission, network(1));
        let order = Mutex::new(Vec::new());
        let run = async |admitted: &Admitted, name: &'static str| {
            let slot = admitted.slot().await.unwrap();
            order.lock().unwrap().push(name);
            tokio::task::yield_now().await;
            drop(slot);
        };
        let crowd = futures_util::future::join_all(many.iter().map(|one| run(one, "crowd")));
        tokio::join!(
            crowd,
            run(&same, "same network"),
            run(&other, "other network")
        );
        let order = order.into_inner().unwrap();
        let place = |name| order.iter().position(|found| *found == name).unwrap();
        assert_eq!(order.len(), many.len() + 2);
        assert!(place("other network") <= 3, "{order:?}");
        assert!(place("same network") <= 5, "{order:?}");
    }
}
