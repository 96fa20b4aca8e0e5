//! Timeouts of connections and requests, and the limits on connections.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Executor as _};

use super::{
    is_closed,
    limits::{refused, site},
    metric, metrics_address, open, send, status, wait_until,
};
use crate::support::{
    assert_within,
    cluster::Cluster,
    site::Server,
    tls::{connect, write_certificate},
    voters::vote,
};

#[tokio::test]
async fn the_longest_idle_connections_are_closed_for_new_ones() {
    let site = site()
        .await
        .with("MAX_CONNECTIONS", "200")
        .with("HEADER_TIMEOUT", "30");
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let mut silent = open(&server.address, 100, b"");
    let _dripping = open(&server.address, 500, b"GET /polls/ HTTP/1.1\r\nHost: ");
    // Other clients are served meanwhile, on new connections and on an open one.
    for _ in 0..20 {
        assert!(server.get("/polls/").starts_with("HTTP/1.1 200 "));
    }
    assert!(is_closed(&mut silent[0], Duration::from_secs(5)));
    let open_now = metric(&metrics, "polls_connections");
    assert!(open_now < 210.0, "{open_now}");
}

#[tokio::test]
async fn connections_are_limited_per_address_except_for_proxies() {
    let site = site().await.with("MAX_CONNECTIONS_PER_ADDRESS", "5");
    let server = site.serve();
    let _proxied = open(&server.address, 20, b"");
    assert!(server.get("/livez").starts_with("HTTP/1.1 200 "));
    drop(server);
    let site = site.with("TRUSTED_PROXIES", "10.0.0.1");
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let mine = open(&server.address, 5, b"");
    // Until they are counted: who comes at the same time may be counted before them.
    std::thread::sleep(Duration::from_millis(500));
    wait_until(Duration::from_secs(5), || {
        let answer = send(
            &server.address,
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        status(&answer) == 429 && answer.contains("Retry-After: 2\r\n")
    });
    // The metrics' own listener counts its own.
    assert!(refused(&metrics, "address_busy") > 0.0);
    drop(mine);
    wait_until(Duration::from_secs(5), || {
        server.get("/livez").starts_with("HTTP/1.1 200 ")
    });
}

#[tokio::test]
async fn slow_heads_get_408_and_idle_connections_are_closed() {
    let site = site()
        .await
        .with("HEADER_TIMEOUT", "1")
        .with("KEEPALIVE", "2");
    let server = site.serve();
    // The defaults are 10 s and 75 s.
    let timed = |words: &[u8]| {
        let start = Instant::now();
        (send(&server.address, words), start.elapsed().as_secs_f64())
    };
    let (answer, took) = timed(b"GET / HTT");
    assert!(
        status(&answer) == 408 && (0.9..8.0).contains(&took),
        "{answer} {took}"
    );
    let (answer, took) = timed(b"");
    assert!(
        answer.is_empty() && (0.9..8.0).contains(&took),
        "{answer} {took}"
    );
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let (answer, took) = timed(request.as_bytes());
    assert!(
        answer.ends_with("ok\n") && (1.9..8.0).contains(&took),
        "{answer} {took}"
    );
    // The head of a second request has the time of a head.
    let (answer, took) = timed(format!("{request}GET / HTTP/1.1\r\n").as_bytes());
    assert!(
        answer.contains("HTTP/1.1 408 ") && (0.9..8.0).contains(&took),
        "{answer} {took}"
    );
}

#[tokio::test]
async fn sending_byte_by_byte_does_not_extend_the_timeout() {
    let site = site().await.with("HEADER_TIMEOUT", "1");
    let server = site.serve();
    let mut stream = server.connect();
    let start = Instant::now();
    let mut is_heard = true;
    while is_heard && start.elapsed() < Duration::from_secs(5) {
        is_heard = stream.write_all(b"X").is_ok();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!is_heard, "still heard after {:?}", start.elapsed());
}

/// How much memory a process uses, in KiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn clients_that_disappear_leave_no_connection() {
    let site = site().await;
    site.run(["seed"]).success();
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    server.get("/polls/");
    let before = memory(&server);
    for words in [
        &b""[..],
        b"GET /polls/ HTTP/1.1\r\n",
        b"POST /polls/1/vote/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na",
    ] {
        for _ in 0..5 {
            drop(open(&server.address, 100, words));
        }
    }
    // Those who ask for a page and do not take it.
    let request = format!(
        "GET /static/vendor/tabler.css HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.address
    );
    drop(open(&server.address, 200, request.as_bytes()));
    wait_until(Duration::from_secs(10), || {
        metric(&metrics, "polls_connections") < 1.0
    });
    wait_until(Duration::from_secs(5), || {
        metric(&metrics, "polls_http_requests_in_flight") < 1.0
    });
    let after = memory(&server);
    assert!(after < before + 16 * 1024, "{before} KiB, then {after} KiB");
}

#[tokio::test]
async fn a_half_closed_client_gets_its_response() {
    let site = site().await;
    site.run(["seed"]).success();
    let server = site.serve();
    let half_closed = |request: &str| {
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        status(&answer)
    };
    let start = Instant::now();
    for _ in 0..5 {
        let get = format!(
            "GET /admin/login/ HTTP/1.1\r\nHost: {}\r\n\r\n",
            server.address
        );
        assert_eq!(half_closed(&get), 200);
        assert_eq!(half_closed(&vote(&server.address, 1)), 302);
    }
    // Each connection ends with its response, not a second later.
    assert_within(start, Duration::from_secs(5));
}

#[tokio::test]
async fn an_idle_connection_serves_the_next_request() {
    let site = site().await;
    let server = site.serve();
    let mut stream = server.connect();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    for pause in [0, 2500, 100, 1000, 1500] {
        std::thread::sleep(Duration::from_millis(pause));
        stream.write_all(request.as_bytes()).unwrap();
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        let answer = String::from_utf8_lossy(&piece[..count]).into_owned();
        assert!(
            answer.ends_with("\r\n\r\nok\n"),
            "after {pause} ms: {answer}"
        );
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_slow_reader_s_next_request_is_answered() {
    let site = site().await;
    let choices: Vec<String> = (0..20_000).map(|number| format!("c{number}")).collect();
    let poll = format!("- question: Long?\n  choices: [{}]\n", choices.join(", "));
    std::fs::write(site.folder().join("long.yaml"), poll).unwrap();
    site.run(["seed", "long.yaml"]).success();
    let server = site.serve();
    // Small, so that the server has to wait for the reader.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address.parse().unwrap()).await;
    let mut stream = stream.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = |path, rest| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{rest}\r\n",
            server.address
        )
    };
    let ask = |mut stream: &TcpStream, path, rest| {
        stream.write_all(request(path, rest).as_bytes()).unwrap();
    };
    ask(&stream, "/polls/1/results/", "");
    std::thread::sleep(Duration::from_millis(500));
    ask(&stream, "/livez", "Connection: close\r\n");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert!(heard.len() > 5_000_000, "{}", heard.len());
    assert!(heard.ends_with(b"\r\n\r\nok\n"));
}

/// A form of which the rest does not come.
fn unfinished_form(server: &Server) -> String {
    let secret = "s".repeat(32);
    format!(
        "POST /polls/1/vote/ HTTP/1.1\r\nHost: {}\r\nCookie: csrftoken={secret}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na=1",
        server.address
    )
}

#[tokio::test]
async fn slow_bodies_are_closed_for_new_connections() {
    let site = site()
        .await
        .with("MAX_CONNECTIONS", "100")
        .with("BODY_TIMEOUT", "60");
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let form = unfinished_form(&server);
    let mut slow = Vec::new();
    while slow.len() < 300 {
        slow.extend(open(&server.address, 20, form.as_bytes()));
        // Only a connection whose request waits for its body can be closed for others.
        let waiting = slow.len().min(90) as f64;
        wait_until(Duration::from_secs(10), || {
            metric(&metrics, "polls_http_requests_in_flight") >= waiting
        });
    }
    for _ in 0..20 {
        let answer = server.get("/polls/");
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert!(is_closed(&mut slow[0], Duration::from_secs(5)));
    assert!(!is_closed(&mut slow[299], Duration::from_millis(100)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_cancelled_when_its_client_disconnects() {
    let cluster = Cluster::new(&[]);
    let site = site()
        .await
        .with("DATABASE_URL", &cluster.url())
        .with("DATABASE_POOL_SIZE", "2");
    site.run(["migrate"]).success();
    site.run(["seed"]).success();
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let mut db = sqlx::PgConnection::connect(&cluster.url()).await.unwrap();
    db.execute("BEGIN; LOCK TABLE polls_app_question IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    // Its statements would wait for a second each, one behind the other on two connections.
    let request = format!("GET /polls/ HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let waiting = open(&server.address, 40, request.as_bytes());
    wait_until(Duration::from_secs(5), || {
        metric(&metrics, "polls_http_requests_in_flight") >= 40.0
    });
    // Those that are not cancelled get a response when their statements time out.
    let answered = || {
        let name = "polls_http_requests_total{method=\"GET\",route=\"/polls/\",status=\"503\"}";
        metric(&metrics, name)
    };
    let before = answered();
    drop(waiting);
    wait_until(Duration::from_millis(8000), || {
        metric(&metrics, "polls_http_requests_in_flight") < 1.0
    });
    let after = answered();
    assert!(after - before < 20.0, "{before} {after}");
    db.execute("ROLLBACK").await.unwrap();
    wait_until(Duration::from_secs(5), || {
        status(&server.get("/polls/")) == 200
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_sends_no_plain_text_to_tls_clients() {
    let cluster = Cluster::new(&[]);
    let site = site()
        .await
        .with("DATABASE_URL", &cluster.url())
        .with("ALLOWED_HOSTS", "localhost")
        .with("CERTFILE", "cert.pem")
        .with("KEYFILE", "key.pem")
        .with("MAX_CONNECTIONS", "1");
    write_certificate(site.folder());
    site.run(["migrate"]).success();
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let mut db = sqlx::PgConnection::connect(&cluster.url()).await.unwrap();
    db.execute("BEGIN; LOCK TABLE polls_app_question IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut busy = connect(site.folder(), &server.address, &["http/1.1"])
        .await
        .unwrap();
    let request = b"GET /polls/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut busy, request)
        .await
        .unwrap();
    wait_until(Duration::from_secs(5), || {
        metric(&metrics, "polls_http_requests_in_flight") >= 1.0
    });
    assert_eq!(send(&server.address, b""), "");
    assert!(refused(&metrics, "full") >= 1.0);
}

#[tokio::test]
async fn slow_bodies_hold_no_slots() {
    let site = site().await.with("MAX_REQUESTS_IN_FLIGHT", "4");
    let server = site.serve();
    // Four slots, 16 requests that receive their bodies without one, and 40 more.
    let mut slow = open(&server.address, 60, unfinished_form(&server).as_bytes());
    let mut refused = 0;
    wait_until(Duration::from_secs(10), || {
        slow.retain_mut(|stream| {
            stream
                .set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            let mut piece = [0; 4096];
            let Ok(count) = stream.read(&mut piece) else {
                return true;
            };
            assert_eq!(status(&String::from_utf8_lossy(&piece[..count])), 503);
            refused += 1;
            false
        });
        refused >= 44
    });
    // A slot is free: a request without one is refused after 5 s.
    assert_eq!(status(&server.get("/polls/")), 200);
    assert_eq!(slow.len(), 16);
}
