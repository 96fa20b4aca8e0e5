//! The server as clients, proxies, supervisors and attackers see it: the built binary, over real sockets.

mod alone;
mod debugging;
mod http2;
mod limits;
mod listening;
mod observability;
mod options;
mod parsers;
mod process;
mod security;
mod stopping;
mod timeouts;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::support::{
    http::{SECRET, get, log_in, metric, send, status, wait_until},
    site::Server,
};

/// Connections that have been opened and say this much.
fn open(address: &str, count: usize, words: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(words).unwrap();
            stream
        })
        .collect()
}

/// Whether the server has closed a connection, after waiting for it.
fn is_closed(stream: &mut TcpStream, timeout: Duration) -> bool {
    stream.set_read_timeout(Some(timeout)).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Reads one response whose length is given.
fn read_response(stream: &mut TcpStream) -> String {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    String::from_utf8_lossy(&[bytes, body].concat()).into_owned()
}

/// Where a server of this test listens for those who ask for metrics, as it says in its log.
fn metrics_address(server: &mut Server) -> String {
    let log = server.read_log_until("metrics at ");
    log.rsplit("metrics at ").next().unwrap().trim().to_owned()
}
