//! HTTP/2: timeouts, floods of frames, and clients that read no responses.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use super::{
    limits::{refused, site},
    metrics_address, open, send, status,
};
use crate::support::{site::Server, tls::get_http2_with};

/// The preface of HTTP/2 and an empty SETTINGS frame.
const HTTP2_START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

#[tokio::test]
async fn on_http2_an_unfinished_head_times_out() {
    let site = site().await.with("HEADER_TIMEOUT", "1");
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let half_a_preface = &HTTP2_START[..20];
    // HEADERS of 20 bytes, of which 3 come; and whole HEADERS without END_HEADERS.
    let half = [
        HTTP2_START,
        b"\x00\x00\x14\x01\x05\x00\x00\x00\x01\x82\x86\x84",
    ]
    .concat();
    let open_block = [
        HTTP2_START,
        b"\x00\x00\x03\x01\x01\x00\x00\x00\x01\x82\x86\x84",
    ]
    .concat();
    for words in [half_a_preface, HTTP2_START, &half, &open_block] {
        let start = Instant::now();
        send(&server.address, words);
        let took = start.elapsed().as_secs_f64();
        assert!((0.9..8.0).contains(&took), "{words:?}: {took}");
    }
    assert!(refused(&metrics, "head_too_slow") >= 3.0);
}

#[tokio::test]
async fn on_http2_frames_without_content_are_limited() {
    let site = site().await;
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let frames: [&[u8]; 5] = [
        b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x03\x10",
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\x00\x00\x01\x77\x00\x00\x00\x00\x00x",
    ];
    for (number, frame) in frames.iter().enumerate() {
        let start = Instant::now();
        send(
            &server.address,
            &[HTTP2_START, &frame.repeat(20_000)].concat(),
        );
        // The timeout of a head.
        assert!(start.elapsed() < Duration::from_secs(10), "{frame:?}");
        let counted = refused(&metrics, "too_many_frames");
        assert!(
            (counted - (number as f64 + 1.0)).abs() < 0.1,
            "{frame:?}: {counted}"
        );
    }
    // A connection that is used is not concerned.
    let stream = tokio::net::TcpStream::connect(&server.address)
        .await
        .unwrap();
    let address = format!("http://{}/livez", server.address);
    assert_eq!(get_http2_with(stream, &address, &[]).await.status(), 200);
}

/// What a client of HTTP/2 sends that asks for a page so often and has no room for a response
/// (`SETTINGS_INITIAL_WINDOW_SIZE` is 0).
fn without_window(server: &Server, path: &[u8], requests: u8) -> Vec<u8> {
    let mut bytes =
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\0\0\0\0\0\x00\x04\0\0\0\0".to_vec();
    let mut head = b"\x82\x86\x04".to_vec();
    for (name, text) in [(None, path), (Some(1), server.address.as_bytes())] {
        head.extend(name);
        head.push(u8::try_from(text.len()).unwrap());
        head.extend(text);
    }
    for number in 0..requests {
        let stream = 2 * number + 1;
        bytes.extend([
            0,
            0,
            u8::try_from(head.len()).unwrap(),
            1,
            5,
            0,
            0,
            0,
            stream,
        ]);
        bytes.extend(&head);
    }
    bytes
}

#[tokio::test]
async fn an_http2_client_that_reads_nothing_is_closed() {
    let site = site()
        .await
        .with("REQUEST_TIMEOUT", "1")
        .with("WRITE_TIMEOUT", "1");
    let server = site.serve();
    let mut stream = server.connect();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let bytes = without_window(&server, b"/polls/", 1);
    stream.write_all(&bytes).unwrap();
    let start = Instant::now();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    assert!(heard.len() > 50, "{heard:?}");
    let took = start.elapsed().as_secs_f64();
    assert!((1.5..20.0).contains(&took), "{took}");
}

#[tokio::test]
async fn unread_responses_do_not_block_health_checks() {
    let site = site().await;
    let server = site.serve();
    // As many as a connection may have.
    let bytes = without_window(&server, b"/livez", 100);
    let _silent = open(&server.address, 3, &bytes);
    std::thread::sleep(Duration::from_millis(500));
    for path in ["/livez", "/readyz"] {
        assert_eq!(status(&server.get(path)), 200, "{path}");
    }
}
