//! Talking to a server over sockets, byte by byte.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::app::PASSWORD;

/// A CSRF secret, as cookie and as token.
pub const SECRET: &str = "ssssssssssssssssssssssssssssssss";

/// Sends bytes on a new connection and gives what comes back until the server closes, for a minute at most.
#[track_caller]
pub fn send(address: &str, bytes: &[u8]) -> String {
    try_send(address, bytes).expect("the server accepts connections")
}

/// [`send`]; `None` if the server accepts no connection.
pub fn try_send(address: &str, bytes: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    // The server may refuse before it has heard all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Asks for a page, on a connection of its own; `headers` are whole lines.
pub fn get(address: &str, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Connection: close\r\n\r\n");
    send(address, request.as_bytes())
}

/// Logs the superuser in.
pub fn log_in(address: &str) -> String {
    let secret = SECRET;
    let body = format!("csrfmiddlewaretoken={secret}&username=admin&password={PASSWORD}");
    let request = format!(
        "POST /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={secret}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(address, request.as_bytes())
}

/// The status of an answer's first line; 0 without one.
pub fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok())
        .unwrap_or_default()
}

/// Asks again and again until `is_so`, for so long at most; gives how long it took.
#[track_caller]
pub fn wait_until(timeout: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < timeout, "not within {timeout:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

/// The value of a metric, by its whole name with labels; 0 when it is not there.
pub fn metric(metrics_address: &str, name: &str) -> f64 {
    let text = send(
        metrics_address,
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}
