//! Fuzz targets for parsers: none may panic, and two parsers of the same input must return the same result.

use std::{
    convert::Infallible,
    ops::Range,
    sync::{Mutex, OnceLock},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use polls::{
    cli::seed::{self, Syntax},
    server::{
        framing::{Framing, Limits, Parsed},
        proxy,
    },
    signing::{Keys, Purpose},
    web::{cookies, csrf::Secret, form::Form},
};

pub fn cookies(bytes: &[u8]) {
    for name in ["csrftoken", "sessionid", "messages"] {
        if let Some(value) = cookies::find(bytes, name) {
            assert!(!value.contains(';'));
        }
    }
}

pub fn csrf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(secret) = Secret::parse(text) {
        let plain = secret.to_string();
        assert_eq!(plain.len(), 32);
        let again = Secret::parse(&secret.masked()).expect("the token is valid");
        assert_eq!(again.to_string(), plain);
    }
}

pub fn fixtures(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for syntax in [Syntax::Yaml, Syntax::Json] {
        match seed::parse(text, syntax) {
            Ok((polls, _)) => drop(polls),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

pub fn forms(bytes: &[u8]) {
    match Form::parse(bytes, 20) {
        Some(form) => {
            assert!(form.iter().count() <= 20);
            for (name, _) in form.iter() {
                assert!(form.has(name) && form.get(name).is_some());
            }
        }
        None => assert!(bytes.iter().filter(|byte| **byte == b'&').count() >= 20),
    }
}

/// The limit on fields of both parsers.
const MAX_FIELDS: usize = 8;

/// Prefixes of the input: arbitrary bytes are rarely a valid request line.
const PREFIXES: [&[u8]; 4] = [
    b"",
    b"POST / HTTP/1.1\r\nHost: a\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
];

pub fn framing(bytes: &[u8]) {
    for prefix in PREFIXES {
        same_requests(&[prefix, bytes].concat());
    }
}

/// Asserts that the same requests are found however the bytes are split, and that hyper finds the same. Returns the number of
/// requests that hyper accepts.
pub fn same_requests(bytes: &[u8]) -> usize {
    let (found, is_valid) = requests(bytes, bytes.len().max(1));
    for chunk_size in [1, 2, 7] {
        let split = requests(bytes, chunk_size);
        // With smaller chunks an error may be found sooner; the requests before it must be the same.
        let common = found.len().min(split.0.len());
        assert_eq!(found[..common], split.0[..common]);
        assert_eq!(is_valid, split.1, "{:?}", String::from_utf8_lossy(bytes));
    }
    let accepted = found
        .into_iter()
        .filter(|request| is_accepted_by_hyper(&bytes[request.clone()]));
    accepted.count()
}

/// The ranges of the complete requests, and whether all bytes were valid.
fn requests(bytes: &[u8], chunk_size: usize) -> (Vec<Range<usize>>, bool) {
    let limits = Limits {
        line: 64,
        fields: MAX_FIELDS,
        field: 64,
    };
    let mut framing = Framing::new(limits);
    let (mut received, mut passed, mut start, mut requests) = (Vec::new(), 0, 0, Vec::new());
    for chunk in bytes.chunks(chunk_size) {
        received.extend_from_slice(chunk);
        loop {
            let (count, is_request) = match framing.parse(&received) {
                Ok(Parsed::Bytes(count)) => (count, true),
                Ok(Parsed::Skipped(count)) => (count, false),
                Ok(Parsed::Incomplete) => break,
                Err(_) => return (requests, false),
            };
            assert!((1..=received.len()).contains(&count));
            received.drain(..count);
            passed += count;
            if !is_request {
                start = passed;
            }
            if framing.is_at_end() {
                requests.push(start..passed);
                start = passed;
                framing.next_request();
            }
        }
    }
    (requests, true)
}

/// Whether hyper accepts the bytes of one request, which it must then read as one request with the same end. A request that it
/// refuses reaches no handler.
fn is_accepted_by_hyper(bytes: &[u8]) -> bool {
    let bodies = Mutex::new(Vec::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let body = request.into_body().collect().await;
        bodies.lock().unwrap().push(body.is_ok());
        let mut response = Response::new(Empty::<Bytes>::new());
        // Not 200, which would open a tunnel after CONNECT.
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    let stream = tokio::io::join(bytes, tokio::io::sink());
    let connection = http1::Builder::new()
        .half_close(true)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let result = runtime.build().unwrap().block_on(connection);
    let text = String::from_utf8_lossy(bytes);
    match bodies.into_inner().unwrap()[..] {
        [] => {
            assert!(result.is_err(), "{text:?}");
            false
        }
        [is_complete] => {
            assert!(is_complete && result.is_ok(), "{text:?}: {result:?}");
            true
        }
        ref several => panic!("hyper reads {} requests in {text:?}", several.len()),
    }
}

pub fn proxy(bytes: &[u8]) {
    let mut rest = Default::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _ = runtime.block_on(proxy::read_header(&mut &*bytes, &mut rest));
}

pub fn sessions(bytes: &[u8]) {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| Keys {
        current: "fuzzing-key".to_owned().into(),
        fallbacks: Vec::new(),
    });
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for purpose in [Purpose::Sessions, Purpose::Messages] {
        // The input is not signed with the key; only a panic is an error here.
        let _ = keys.loads(text, purpose);
        let value = serde_json::Value::from(text);
        let signed = keys.dumps(&value, purpose, chrono::DateTime::UNIX_EPOCH);
        assert_eq!(keys.loads(&signed, purpose), Some(value));
    }
}
