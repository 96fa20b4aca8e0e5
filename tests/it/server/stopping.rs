//! Shutdown, and reloading on SIGHUP.

use std::{
    fs,
    io::{Read, Write},
    process::Command,
    time::{Duration, Instant},
};

use super::{send, status, wait_until};
use crate::support::{Backend, Site, assert_within, site::Server};

async fn site() -> Site {
    let site = Site::migrated(Backend::Sqlite).await;
    site.run(["seed"]).success();
    site
}

#[tokio::test]
async fn during_the_shutdown_delay_readyz_fails_and_requests_are_served() {
    let site = site().await.with("SHUTDOWN_DELAY", "4");
    let server = site.serve();
    let mut resting = server.connect();
    let request = format!("GET /polls/ HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let ready = server.get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    let start = Instant::now();
    server.signal("-TERM");
    wait_until(Duration::from_secs(3), || {
        server.get("/readyz").starts_with("HTTP/1.1 503 ")
    });
    assert!(server.get("/livez").starts_with("HTTP/1.1 200 "));
    assert!(server.get("/polls/").starts_with("HTTP/1.1 200 "));
    // An open connection gets one more response, with `Connection: close`.
    resting.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    resting.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    let (log, code) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    let took = start.elapsed().as_secs_f64();
    // `GRACEFUL_TIMEOUT` is 30 s.
    assert!((3.9..20.0).contains(&took), "{took}");
}

#[tokio::test]
async fn sigquit_stops_at_once() {
    let site = site().await;
    let server = site.serve();
    let mut stream = server.connect();
    stream
        .write_all(b"POST /polls/1/vote/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.signal("-QUIT");
    let (log, code) = server.wait();
    assert_eq!(code, Some(1), "{log}");
    assert_within(start, Duration::from_secs(3));
}

#[tokio::test]
async fn sighup_reloads_without_dropping_connections() {
    let site = site().await.with("POLLS_CONFIG", "server.toml");
    let config = site.folder().join("server.toml");
    fs::write(&config, "keepalive = 60\n").unwrap();
    fs::write(site.folder().join(".env"), "RUST_LOG=off\n").unwrap();
    let server = site.serve();
    let mut resting = server.connect();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    resting.write_all(request.as_bytes()).unwrap();
    let mut piece = [0; 4096];
    assert!(resting.read(&mut piece).unwrap() > 0);
    server.get("/polls/?before");
    fs::write(
        &config,
        "limit_request_line = 50\naccess_log_format = \"seen %(U)s\"\n",
    )
    .unwrap();
    fs::write(site.folder().join(".env"), "RUST_LOG=info\n").unwrap();
    server.signal("-HUP");
    let long = format!(
        "GET /livez?{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "x".repeat(60)
    );
    wait_until(Duration::from_secs(5), || {
        status(&send(&server.address, long.as_bytes())) == 414
    });
    server.get("/polls/");
    resting.write_all(request.as_bytes()).unwrap();
    assert!(resting.read(&mut piece).unwrap() > 0);
    for bad in [
        "nonsense = 1\n",
        "limit_request_line = 18446744073709551615\n",
    ] {
        fs::write(&config, bad).unwrap();
        server.signal("-HUP");
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(status(&send(&server.address, long.as_bytes())), 414);
    let (log, code) = server.stop();
    assert_eq!(code, Some(0));
    assert!(
        !log.contains("before") && log.contains("access: seen /polls/\n"),
        "{log}"
    );
    assert!(
        log.contains(
            "not reloaded, all stays as it was: POLLS_CONFIG: server.toml has a mistake in line 1, "
        ),
        "{log}"
    );
}

/// A server that is PID 1 of a PID namespace, as in a container. Needs root.
fn first_process(site: &Site) -> Server {
    // The shell leaves a child to PID 1, and executes the server.
    let script = "(sleep 1 &) ; exec \"$0\" runserver 127.0.0.1:0";
    let namespace = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let args = [&namespace[..], &["sh", "-c", script]].concat();
    let mut command = site.command_by("unshare", &args, &[]);
    Server::start(&mut command)
}

#[tokio::test]
async fn as_pid_1_it_reaps_zombies() {
    let site = site().await;
    let server = first_process(&site);
    let unshare = server.id();
    let children = |process: &str| {
        let path = format!("/proc/{process}/task/{process}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let own = children(&unshare.to_string()).remove(0);
    assert_eq!(children(&own).len(), 1, "the sleeping child");
    wait_until(Duration::from_secs(5), || children(&own).is_empty());
    assert!(server.get("/livez").starts_with("HTTP/1.1 200 "));
    // It handles signals, which PID 1 ignores by default.
    assert!(
        Command::new("kill")
            .args(["-TERM", &own])
            .status()
            .unwrap()
            .success()
    );
    let (log, code) = server.wait();
    assert_eq!(code, Some(0), "{log}");
}
