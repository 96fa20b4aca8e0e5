//! The server's memory stays below the limit of its Deployment under any number of requests, and other clients are served.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::super::{get, metric, metrics_address, read_response, send, status, wait_until};
use crate::support::{Backend, Site, site::Server};

/// `resources.limits.memory` of `kube/base/deployment.yaml`, in KiB.
const LIMIT: u64 = 256 * 1024;
/// The default of `MAX_REQUESTS_IN_FLIGHT`.
const SLOTS: usize = 256;
/// The number of pages that a flood is served at least.
const MIN_RESPONSES: usize = 500;
/// How long a request beside a flood is sent again after a 503.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// The most memory that a process has used, in KiB.
fn peak(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// A site whose test clients are no proxies but one each, by the address that they come from.
async fn site() -> Site {
    let site = Site::migrated(Backend::Postgres)
        .await
        .with("TRUSTED_PROXIES", "127.0.0.99")
        .with("MAX_CONNECTIONS_PER_ADDRESS", "20000")
        .with("RUST_LOG", "info,access=off")
        .with("METRICS_BIND", "127.0.0.1:0");
    site.run(["seed"]).success();
    site
}

/// Connects from an address of the loopback network.
fn connect_from(address: [u8; 4], server: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from: std::net::SocketAddr = (address, 0).into();
    socket.bind(&from.into()).unwrap();
    let to: std::net::SocketAddr = server.parse().unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// A page as an ordinary client asks for it, from an address of its own.
fn visit(server: &str) -> String {
    let mut stream = connect_from([127, 0, 0, 7], server);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = format!("GET /polls/ HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Opens connections of HTTP/2 from one address, each with this number of concurrent requests, which are repeated for 4 s, and
/// until [`MIN_RESPONSES`] pages have been served or a minute has passed; gives the numbers of pages and of refusals.
async fn flood(
    server: String,
    from: [u8; 4],
    connections: usize,
    streams: usize,
) -> (usize, usize) {
    let (start, served) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let stream = connect_from(from, &server);
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        for _ in 0..streams {
            let (mut sender, server, served) = (sender.clone(), server.clone(), served.clone());
            tasks.spawn(async move {
                let is_over = || {
                    let seconds = start.elapsed().as_secs();
                    seconds >= 60 || seconds >= 4 && served.load(Ordering::Relaxed) >= MIN_RESPONSES
                };
                let mut refused = 0;
                while !is_over() {
                    let request = Request::get(format!("http://{server}/polls/"));
                    let request = request.body(Empty::<Bytes>::new()).unwrap();
                    let Ok(response) = sender.send_request(request).await else {
                        break;
                    };
                    match response.status().as_u16() {
                        200 => drop(served.fetch_add(1, Ordering::Relaxed)),
                        503 => {
                            assert!(response.headers().contains_key("retry-after"));
                            refused += 1;
                        }
                        other => panic!("{other}"),
                    }
                    let _ = response.into_body().collect().await;
                }
                refused
            });
        }
    }
    let refused = tasks.join_all().await.into_iter().sum();
    (served.load(Ordering::Relaxed), refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_of_http2_are_bounded_and_other_clients_are_served() {
    let site = site().await;
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    for (connections, streams) in [(100, 100), (300, 100)] {
        let crowd = tokio::spawn(flood(
            server.address.clone(),
            [127, 0, 0, 2],
            connections,
            streams,
        ));
        std::thread::sleep(Duration::from_secs(2));
        for _ in 0..5 {
            assert_served(&server.address);
        }
        wait_until(RETRY_TIMEOUT, || {
            status(&get(&server.address, "/readyz", "")) == 200
        });
        let (answered, refused) = crowd.await.unwrap();
        eprintln!(
            "{connections} connections of {streams} streams: {answered} answered, {refused} refused, {} KiB",
            peak(&server)
        );
        assert!(answered >= MIN_RESPONSES, "{answered}");
        assert!(refused > 0);
        assert!(peak(&server) < LIMIT, "{} KiB", peak(&server));
    }
    assert!(metric(&metrics, "polls_connections_refused_total{reason=\"busy\"}") > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connections_that_ask_at_once_are_bounded() {
    let site = site().await;
    let server = site.serve();
    let address = server.address.clone();
    let request = format!("GET /polls/ HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut crowd: Vec<_> = (0..8000_u16)
        .map(|number| connect_from([127, 0, 1, (number % 200) as u8 + 1], &address))
        .collect();
    // The second time, on connections that have had an answer.
    for _ in 0..2 {
        for stream in &mut crowd {
            stream.write_all(request.as_bytes()).unwrap();
        }
        assert_served(&address);
        let before = crowd.len();
        crowd.retain_mut(|stream| {
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            match status(&read_response(stream)) {
                200 => true,
                503 => false,
                other => panic!("{other}"),
            }
        });
        let (answered, refused) = (crowd.len(), before - crowd.len());
        eprintln!(
            "{before} at once: {answered} answered, {refused} refused, {} KiB",
            peak(&server)
        );
        // At least those that get a slot at once.
        assert!(answered >= SLOTS, "{answered}");
        assert!(peak(&server) < LIMIT, "{} KiB", peak(&server));
    }
}

/// Waits until an ordinary client gets a page: the test's own clients take most of the processors.
#[track_caller]
fn assert_served(server: &str) {
    wait_until(RETRY_TIMEOUT, || status(&visit(server)) == 200);
}

/// Checks that a server has stayed below [`LIMIT`] beside `load`, and serves other clients.
fn assert_bounded(server: &Server, load: &str) {
    assert_served(&server.address);
    let peak = peak(server);
    eprintln!("{load}: {peak} KiB");
    assert!(peak < LIMIT, "{load}: {peak} KiB");
}

/// Sends bytes on many connections at once, each from one of `networks` addresses, and keeps them open.
fn send_from_many(address: &str, count: u16, networks: u16, bytes: &[u8]) -> Vec<TcpStream> {
    let threads: Vec<_> = (0..16_u16)
        .map(|thread| {
            let (address, bytes) = (address.to_owned(), bytes.to_owned());
            std::thread::spawn(move || {
                let numbers = (0..count).filter(|number| number % 16 == thread);
                let streams = numbers.map(|number| {
                    let from = [127, 0, 3, (number % networks) as u8 + 1];
                    let mut stream = connect_from(from, &address);
                    let timeout = Some(Duration::from_secs(5));
                    stream.set_write_timeout(timeout).unwrap();
                    // The server may have refused it already.
                    let _ = stream.write_all(&bytes);
                    stream
                });
                streams.collect::<Vec<_>>()
            })
        })
        .collect();
    threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_do_not_end_are_bounded() {
    let site = site().await;
    let server = site.serve();
    let field = format!("x: {}\r\n", "y".repeat(6000));
    let head = format!("GET /polls/ HTTP/1.1\r\nHost: a\r\n{}", field.repeat(10));
    let crowd = send_from_many(&server.address, 8000, 64, head.as_bytes());
    assert_bounded(&server, "8000 unfinished heads");
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_are_counted_as_long_as_they_are_held() {
    let site = site().await;
    let server = site.serve();
    let secret = "s".repeat(32);
    let junk = "j".repeat(700_000);
    let body = format!("csrfmiddlewaretoken={secret}&username=a&password=b&junk={junk}");
    let request = format!(
        "POST /admin/login/ HTTP/1.1\r\nHost: {}\r\nCookie: csrftoken={secret}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    let crowd = send_from_many(&server.address, 400, 200, request.as_bytes());
    std::thread::sleep(Duration::from_secs(2));
    assert_bounded(&server, "400 forms of 700 kB");
    drop(crowd);
}

/// Opens connections of HTTP/2 from many addresses and sends `streams` requests for `path` on each, with `fields` header fields of
/// 7,000 bytes. The responses are not read; `window` is the flow-control window of each, in bytes. Returns after 8 s at most, with
/// the number of responses that were 503.
async fn flood_unread(
    server: &str,
    connections: u16,
    streams: usize,
    (path, fields, window): (&str, usize, u32),
) -> usize {
    let mut tasks = tokio::task::JoinSet::new();
    let mut senders = Vec::new();
    for number in 0..connections {
        let stream = connect_from([127, 0, 4, (number % 200) as u8 + 1], server);
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..streams {
            let mut request = Request::get(format!("http://{server}{path}"));
            for field in 0..fields {
                request = request.header(format!("x-large-{field}"), "y".repeat(7000));
            }
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let response = sender.clone().send_request(request);
            tasks.spawn(async move { response.await.ok() });
        }
        senders.push(sender);
    }
    let mut responses = Vec::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(8);
    while let Ok(Some(response)) = tokio::time::timeout_at(end, tasks.join_next()).await {
        responses.extend(response.unwrap());
    }
    let refused = responses.iter().filter(|response| response.status() == 503);
    refused.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_heads_of_http2_are_bounded() {
    // Pages from memory are sent at once: it may be that none has to be refused.
    for cache in ["0", "4"] {
        let site = site().await.with("PAGE_CACHE_SIZE", cache);
        let server = site.serve();
        let refused = flood_unread(&server.address, 200, 50, ("/polls/", 4, 65_535)).await;
        assert!(refused > 0 || cache != "0");
        assert_bounded(&server, "10000 heads of 28 kB");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_that_are_not_read_are_bounded() {
    let site = site().await;
    let choices: Vec<String> = (0..100)
        .map(|number| format!("    - {number} {}\n", "c".repeat(190)))
        .collect();
    let text = format!("- question: Long?\n  choices:\n{}", choices.concat());
    let file = site.folder().join("long.yaml");
    fs::write(&file, text).unwrap();
    site.run(["seed", file.to_str().unwrap()]).success();
    let mut site = site;
    for cache in ["0", "4"] {
        site = site.with("PAGE_CACHE_SIZE", cache);
        let server = site.serve();
        assert_eq!(status(&get(&server.address, "/polls/4/", "")), 200);
        let refused = flood_unread(&server.address, 300, 20, ("/polls/4/", 0, 1)).await;
        assert!(refused > 0);
        assert_bounded(&server, "6000 unread pages");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_streams_that_are_not_read_are_bounded() {
    let site = site().await;
    let server = site.serve();
    let refused = flood_unread(&server.address, 1500, 100, ("/polls/", 0, 1)).await;
    assert!(refused > 0);
    assert_bounded(&server, "150000 unread streams");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_is_not_echoed_beyond_its_maximum() {
    let site = site().await;
    let server = site.serve();
    let secret = "s".repeat(32);
    let name = "%22".repeat(850_000);
    let body = format!("csrfmiddlewaretoken={secret}&username={name}&password=x");
    let request = format!(
        "POST /admin/login/ HTTP/1.1\r\nHost: {}\r\nCookie: csrftoken={secret}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    // Clients that do not read what they are answered.
    let crowd: Vec<_> = (0..40_u8)
        .map(|number| {
            let (address, request) = (server.address.clone(), request.clone());
            std::thread::spawn(move || {
                let mut stream = connect_from([127, 0, 2, number + 1], &address);
                let _ = stream.write_all(request.as_bytes());
                stream
            })
        })
        .collect();
    let crowd: Vec<_> = crowd.into_iter().map(|one| one.join().unwrap()).collect();
    let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut response = String::new();
    wait_until(RETRY_TIMEOUT, || {
        response = send(&server.address, request.as_bytes());
        status(&response) == 200
    });
    assert!(response.len() < 10_000, "{}", response.len());
    assert!(peak(&server) < LIMIT, "{} KiB", peak(&server));
    drop(crowd);
}
