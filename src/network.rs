//! Client addresses: trusted proxies, `X-Forwarded-For`, and the networks that limits apply to.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use poem::http::{HeaderMap, HeaderName};

/// The addresses that a request was forwarded for.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Request extension: the connection's PROXY header has no client address (`UNKNOWN`, `LOCAL`). The client is not known, and the
/// request's `X-Forwarded-*` headers are ignored.
#[derive(Debug, Clone, Copy)]
pub struct UnknownClient;

/// The prefix length of one customer's IPv6 network, in bits: providers assign a /56 or larger to an end site (RIPE-690, 4.2),
/// within which a client may use any address.
const IPV6_CUSTOMER_BITS: u32 = 56;

/// Whether an address belongs to one of the networks.
pub fn is_trusted(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The network that limits per client apply to: an IPv4 address, or the /56 network of an IPv6 address.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = 128 - IPV6_CUSTOMER_BITS;
            IpAddr::V6((u128::from(address) >> host_bits << host_bits).into())
        }
        address => address,
    }
}

/// The client's address in a request from a trusted proxy: the last address in `X-Forwarded-For` that is not a trusted proxy's;
/// `peer` if the proxy forwards none.
pub fn forwarded_client(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted_proxies: &[IpNet],
) -> Option<IpAddr> {
    let lists: Vec<_> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    let mut client = peer;
    for hop in lists.iter().flat_map(|list| list.split(',')).rev() {
        // The client may have sent whatever precedes a malformed entry.
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

/// Parses an entry of `X-Forwarded-For`: an address, with a port as Azure and some other proxies write it, or in brackets.
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
            let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, header.parse().unwrap())]);
            let client = forwarded_client(peer, &headers, &proxies);
            assert_eq!(client.unwrap().to_string(), expected, "{header:?}");
        }
    }

    #[test]
    fn ipv6_addresses_map_to_the_network_of_a_customer() {
        let network = |address: &str| client_network(address.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2fe::7"), "2001:db8:1:200::");
        assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
    }
}
