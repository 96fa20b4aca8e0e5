//! The PROXY protocol, with which a proxy announces the client's address
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>), versions 1 and 2.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::bytes::{Buf, BytesMut};

use super::fault::Fault;

/// The largest header that is read, in bytes: version 2 may have fields beside the addresses.
const MAX_HEADER: usize = 4096;

/// Reads the header, and what came behind it into `waiting`. Gives the client's address; none for a connection of the
/// proxy's own.
///
/// # Errors
/// When it is no valid header, or the connection ends.
pub async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    waiting: &mut BytesMut,
) -> Result<Option<SocketAddr>, Fault> {
    const BAD: Fault = Fault::Malformed("there is no header of the PROXY protocol");
    loop {
        let header = HeaderResult::parse(waiting);
        if header.is_complete() {
            let (length, client) = match header {
                HeaderResult::V1(Ok(header)) => (header.header.len(), from_v1(header.addresses)),
                // The proxy's own connection, for example a health check.
                HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => {
                    (header.len(), None)
                }
                HeaderResult::V2(Ok(header)) => (header.len(), from_v2(header.addresses)),
                _ => return Err(BAD),
            };
            waiting.advance(length);
            return Ok(client);
        }
        if waiting.len() >= MAX_HEADER {
            return Err(BAD);
        }
        match stream.read_buf(waiting).await {
            Ok(0) | Err(_) => return Err(BAD),
            Ok(_) => {}
        }
    }
}

fn from_v1(addresses: v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Tcp6(pair) => Some((pair.source_address, pair.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn from_v2(addresses: v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        v2::Addresses::IPv4(pair) => Some((pair.source_address, pair.source_port).into()),
        v2::Addresses::IPv6(pair) => Some((pair.source_address, pair.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    }
}
