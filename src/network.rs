//! Addresses of clients: which belong to trusted proxies, which one a chain of proxies forwards, and which are counted
//! together.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use poem::http::HeaderMap;

/// Marks the requests of a connection whose PROXY header announced no client (`UNKNOWN`, `LOCAL`): nothing is known of who
/// sent them, and their forwarding headers do not count.
#[derive(Debug, Clone, Copy)]
pub struct Unannounced;

/// How many bits of an IPv6 address name the network of one customer: providers assign a /56 or larger to a household
/// (RIPE-690, 4.2), within which a client may take any address.
const IPV6_CUSTOMER_BITS: u32 = 56;

/// Whether an address belongs to one of the networks.
pub fn is_trusted(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// What is counted together when clients are limited: an IPv4 address, or the network of an IPv6 address.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = 128 - IPV6_CUSTOMER_BITS;
            IpAddr::V6((u128::from(address) >> host_bits << host_bits).into())
        }
        address => address,
    }
}

/// The client of a request that came from a trusted proxy: of the addresses in `X-Forwarded-For`, the last that is not a
/// trusted proxy's. `peer` where the proxy forwards none.
pub fn forwarded_client(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted_proxies: &[IpNet],
) -> Option<IpAddr> {
    let lists: Vec<_> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let mut client = peer;
    for hop in lists.iter().flat_map(|list| list.split(',')).rev() {
        // What stands before an entry that is no address could have been sent by any client.
        let Some(hop) = parse_hop(hop.trim()) else {
            break;
        };
        client = Some(hop);
        if !is_trusted(hop, trusted_proxies) {
            break;
        }
    }
    client
}

/// An entry of `X-Forwarded-For`: an address, with a port as Azure and some other proxies write it, or in brackets.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop
        .parse()
        .or_else(|_| hop.parse().map(|address: SocketAddr| address.ip()));
    let in_brackets = || {
        let inner = hop.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok()
    };
    address
        .ok()
        .or_else(in_brackets)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_forwarded_address_that_is_no_proxy() {
        let proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|network| network.parse().unwrap());
        let peer = Some("127.0.0.1".parse().unwrap());
        for (header, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("1.2.3.4, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
            ("1.2.3.4, nonsense, 10.1.1.1", "10.1.1.1"),
            ("", "127.0.0.1"),
        ] {
            let headers = HeaderMap::from_iter([(
                poem::http::HeaderName::from_static("x-forwarded-for"),
                header.parse().unwrap(),
            )]);
            let client = forwarded_client(peer, &headers, &proxies);
            assert_eq!(client.unwrap().to_string(), expected, "{header:?}");
        }
    }

    #[test]
    fn ipv6_is_counted_by_customer() {
        let network = |address: &str| client_network(address.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2fe::7"), "2001:db8:1:200::");
        assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
    }
}
