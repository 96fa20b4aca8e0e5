//! Every input of the fuzz corpus, without instrumentation: no parser panics, no page is a 500.

#[path = "../fuzz/src/inputs.rs"]
mod inputs;
#[path = "../fuzz/src/parsers.rs"]
mod parsers;

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use self::inputs::Input;
use crate::support::{Backend, TestApp};

/// A target: its name and what it does with an input.
type Target<T> = (&'static str, fn(&[u8]) -> T);

/// The inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let lines = fs::read_to_string(folder.join(name).with_extension("txt")).unwrap();
    let inputs: Vec<_> = lines
        .lines()
        .map(|line| BASE64_STANDARD.decode(line).unwrap())
        .collect();
    assert!(!inputs.is_empty());
    inputs
}

#[test]
fn parsers_accept_the_fuzz_corpus() {
    let targets: [Target<()>; 7] = [
        ("cookies", parsers::cookies),
        ("csrf", parsers::csrf),
        ("fixtures", parsers::fixtures),
        ("forms", parsers::forms),
        ("framing", parsers::framing),
        ("proxy", parsers::proxy),
        ("sessions", parsers::sessions),
    ];
    for (name, target) in targets {
        corpus(name).iter().for_each(|input| target(input));
    }
}

/// Requests with each kind of body.
const REQUESTS: [&[u8]; 5] = [
    b"GET /a HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 12\r\n\r\nabc\r\n\r\n01234",
    b"POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\n0\r\n0\r\nT: u\r\n\r\n",
    b"POST /a HTTP/1.0\r\nHost: b\r\nContent-Length: 2\r\n\r\nab",
    b"PUT * HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
];

/// Each request, alone and twice, with each byte removed, replaced and preceded by bytes with a meaning.
#[test]
fn framing_and_hyper_find_the_same_requests() {
    let mut accepted = 0;
    for request in REQUESTS {
        assert_eq!(parsers::same_requests(request), 1);
        let twice = [request, request].concat();
        assert_eq!(parsers::same_requests(&twice), 2);
        for position in 0..request.len() {
            let (before, after) = twice.split_at(position);
            accepted += parsers::same_requests(&[before, &after[1..]].concat());
            for byte in *b"\r\n\t\0 ,:;+-/09aZ\x0b\x7f\x80\xff" {
                accepted += parsers::same_requests(&[before, &[byte], &after[1..]].concat());
                accepted += parsers::same_requests(&[before, &[byte], after].concat());
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

#[tokio::test]
async fn pages_accept_the_fuzz_corpus() {
    let app = TestApp::new(Backend::Sqlite).await;
    app.question("Fuzzed?", &["Yes", "No"]).await;
    let admin = app.superuser().await;
    let targets: [Target<Vec<Input>>; 3] = [
        ("dates", inputs::dates),
        ("filters", inputs::filters),
        ("requests", inputs::requests),
    ];
    for (name, target) in targets {
        for (method, path, form) in corpus(name).iter().flat_map(|input| target(input)) {
            // Not every input is a target.
            if path.parse::<poem::http::Uri>().is_err() {
                continue;
            }
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-csrftoken", &*admin.cookie("csrftoken").unwrap()),
            ];
            let reply = admin.request(method, &path, &headers, &form).await;
            assert!(
                !reply.status.is_server_error(),
                "{path} {form}: {}",
                reply.status
            );
        }
    }
}
