//! The server as a process: its output, its log and its exit.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use crate::support::{Backend, Site, assert_within, site::Server};

on_both_databases! {
    async fn runserver_prints_its_checks_and_addresses(site: Site) {
        let server = site.serve();
        let lines: Vec<&str> = server.startup_output.lines().collect();
        assert_eq!(lines[..6], [
            "Performing system checks...",
            "",
            "System check identified no issues (0 silenced).",
            "",
            "You have 27 unapplied migration(s). Your project may not work properly until you apply the migrations for app(s): \
             admin, auth, contenttypes, polls, polls_app, sessions.",
            "Run 'polls migrate' to apply them.",
        ]);
        assert!(chrono::NaiveDateTime::parse_from_str(lines[6], "%B %d, %Y - %H:%M:%S").is_ok(), "{}", lines[6]);
        assert_eq!(lines[7], format!("polls version {}, using settings from the environment", env!("CARGO_PKG_VERSION")));
        assert_eq!(lines[8], format!("Starting server at http://{}/", server.address));
        assert_eq!(lines[9], "Quit the server with CONTROL-C.");
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        // It need not be started anew.
        assert!(server.get("/polls/").contains("Is Django better than Flask?"));
        assert!(server.get("/readyz").ends_with("\r\n\r\nok\n"));
        let head = format!("HEAD /polls/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
        let answer = server.send(&head);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        drop(server);
        let server = site.serve();
        assert!(!server.startup_output.contains("unapplied"), "{}", server.startup_output);
    }

    async fn each_request_has_a_line_in_the_access_log(site: Site) {
        site.run(["migrate"]).success();
        let server = site.serve();
        server.get("/polls/");
        server.get("/nope?q=%22x%22");
        server.send(&format!("GET /%1b[31m HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address));
        let (log, code) = server.stop();
        assert_eq!(code, Some(0), "{log}");
        let access: Vec<&str> = log.lines().filter(|line| line.contains(" access: ")).collect();
        assert_eq!(access.len(), 3, "{log}");
        assert!(access[0].contains("access: 127.0.0.1 \"GET /polls/ HTTP/1.1\" 200 "), "{}", access[0]);
        assert!(access[1].contains("\"GET /nope?q=%22x%22 HTTP/1.1\" 404 "), "{}", access[1]);
        assert!(!log.contains('\u{1b}'));
    }

    async fn requests_in_flight_are_finished_at_shutdown(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        for signal in ["-TERM", "-INT"] {
            let server = site.serve();
            let page = server.get("/polls/1/");
            let token = page.split("name=\"csrfmiddlewaretoken\" value=\"").nth(1).unwrap().split('"').next().unwrap();
            let cookie = page.split("csrftoken=").nth(1).unwrap().split(';').next().unwrap();
            let body = format!("csrfmiddlewaretoken={token}&choice=1");
            let head = format!(
                "POST /polls/1/vote/ HTTP/1.1\r\nHost: {}\r\nCookie: csrftoken={cookie}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
                server.address,
                body.len(),
            );
            let mut stream = server.connect();
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body.as_bytes()[..20]).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            server.signal(signal);
            std::thread::sleep(Duration::from_millis(200));
            // No other connection is accepted, but this vote is finished.
            assert!(std::net::TcpStream::connect(&server.address).is_err());
            stream.write_all(&body.as_bytes()[20..]).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
            let (log, code) = server.wait();
            assert_eq!(code, Some(0), "{log}");
        }
        let server = site.serve();
        assert!(server.get("/polls/1/results/").contains("2 votes"));
    }
}

/// A client that sends a part of a vote and keeps the connection open.
fn half_a_request(server: &Server) -> std::net::TcpStream {
    let mut stream = server.connect();
    let head = b"POST /polls/1/vote/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken=ssssssssssssssssssssssssssssssss\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\n";
    stream.write_all(head).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    stream
}

#[tokio::test]
async fn an_unfinished_request_does_not_block_the_shutdown() {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("GRACEFUL_TIMEOUT", "1");
    let server = site.serve();
    let _visitor = half_a_request(&server);
    let start = Instant::now();
    let (log, code) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_within(start, Duration::from_secs(5));
    assert!(
        log.contains("still in flight after 1 s and were cut off"),
        "{log}"
    );
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let site = Site::migrated(Backend::Sqlite).await;
    let server = site.serve();
    let _visitor = half_a_request(&server);
    let start = Instant::now();
    server.signal("-INT");
    std::thread::sleep(Duration::from_millis(300));
    server.signal("-INT");
    let (log, code) = server.wait();
    assert_eq!(code, Some(1), "{log}");
    assert_within(start, Duration::from_secs(5));
    assert!(log.contains("stopped at once"), "{log}");
}

#[tokio::test]
async fn a_closed_log_pipe_loses_no_response() {
    let site = Site::migrated(Backend::Sqlite).await;
    let mut server = site.serve();
    server.close_log();
    for _ in 0..5 {
        assert!(server.get("/polls/").starts_with("HTTP/1.1 200 "));
        assert!(server.get("/nope").starts_with("HTTP/1.1 404 "));
    }
    assert_eq!(server.stop().1, Some(0));
}

#[tokio::test]
async fn on_a_dual_stack_socket_a_proxy_has_its_ipv4_address() {
    let site = Site::migrated(Backend::Sqlite).await;
    let server = site.serve_on("[::]:0");
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let secret = "s".repeat(32);
    let request = format!(
        "POST /polls/1/vote/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Forwarded-Proto: https\r\nOrigin: https://127.0.0.1:{port}\r\n\
         Cookie: csrftoken={secret}\r\nX-CSRFToken: {secret}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // Past the check of the form: there is no such question.
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let (log, _) = server.stop();
    assert!(log.contains("access: 127.0.0.1 \"POST"), "{log}");
}

#[tokio::test]
async fn the_log_has_the_reason_of_each_refusal() {
    let site = Site::migrated(Backend::Sqlite).await;
    let server = site.serve();
    server.send("GET /polls/ HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n");
    let head = format!(
        "POST /polls/1/vote/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n",
        server.address
    );
    server.send(&format!("{head}Origin: https://evil.example\r\n\r\n"));
    let twice = format!(
        "GET /polls/ HTTP/1.1\r\nHost: {0}\r\nHost: {0}\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert!(server.send(&twice).starts_with("HTTP/1.1 400 "));
    let (log, _) = server.stop();
    assert!(
        log.contains("Invalid HTTP_HOST header") && log.contains("other.example"),
        "{log}"
    );
    assert!(
        log.contains("Origin checking failed - https://evil.example does not match"),
        "{log}"
    );
}

#[tokio::test]
async fn unfinished_headers_are_closed() {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("HEADER_TIMEOUT", "1");
    let server = site.serve();
    let mut stream = server.connect();
    stream.write_all(b"GET /polls/ HTTP/1.1\r\nHost: ").unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let took = start.elapsed().as_secs_f64();
    assert!((0.9..8.0).contains(&took), "{took}");
    let mut many = "GET /livez HTTP/1.1\r\n".to_owned();
    (0..101).for_each(|number| many += &format!("x-{number}: y\r\n"));
    assert!(
        server
            .send(&format!("{many}\r\n"))
            .starts_with("HTTP/1.1 431 ")
    );
    assert!(server.get("/livez").starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn the_server_starts_without_its_database() {
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", "postgres://polls:hidden@127.0.0.1:1/polls");
    let server = site.serve();
    assert!(server.get("/livez").starts_with("HTTP/1.1 200 "));
    assert!(server.get("/polls/").starts_with("HTTP/1.1 503 "));
    let (log, code) = server.stop();
    assert_eq!(code, Some(0));
    assert!(
        log.contains("the database at postgres://polls@127.0.0.1:1/polls does not answer: "),
        "{log}"
    );
    assert!(!log.contains("hidden"));
}

#[tokio::test]
async fn invalid_addresses_and_missing_hosts_are_refused() {
    let site = Site::migrated(Backend::Sqlite).await;
    for bad in [
        "abc",
        "127.0.0.1",
        "127.0.0.1:99999",
        ":8000",
        "1:2:3:x",
        "1:2:3",
    ] {
        site.run(["runserver", bad]).refused(&format!(
            "\"{bad}\" is not a valid port number or address:port pair."
        ));
    }
    let server = site.serve();
    let said = site.run(["runserver", &server.address]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.stderr,
        format!(
            "CommandError: cannot listen on {}: That port is already in use.\n",
            server.address
        )
    );
    site.with("ALLOWED_HOSTS", "")
        .run(["runserver"])
        .refused("You must set settings.ALLOWED_HOSTS if DEBUG is False.");
}

#[tokio::test]
async fn the_log_can_be_json() {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("LOG_FORMAT", "json");
    let server = site.serve();
    server.get("/polls/");
    let (log, _) = server.stop();
    let line = log.lines().find(|line| line.contains("access")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (line["target"].as_str(), line["level"].as_str()),
        (Some("access"), Some("INFO"))
    );
}

on_both_databases! {
    async fn an_acknowledged_vote_survives_sigkill(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let server = site.serve();
        let (address, secret) = (server.address.clone(), "s".repeat(32));
        let body = format!("csrfmiddlewaretoken={secret}&choice=1");
        let request = format!(
            "POST /polls/1/vote/ HTTP/1.1\r\nHost: {address}\r\nCookie: csrftoken={secret}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let voter = || {
            let (address, request) = (address.clone(), request.clone());
            std::thread::spawn(move || {
                let mut acknowledged = 0;
                // Until the server is gone.
                while let Ok(mut stream) = std::net::TcpStream::connect(&address) {
                    let mut answer = [0; 12];
                    if stream.write_all(request.as_bytes()).is_err() || stream.read_exact(&mut answer).is_err() {
                        break;
                    }
                    acknowledged += i64::from(&answer == b"HTTP/1.1 302");
                }
                acknowledged
            })
        };
        let voters: Vec<_> = (0..8).map(|_| voter()).collect();
        std::thread::sleep(Duration::from_millis(700));
        server.signal("-KILL");
        let acknowledged: i64 = voters.into_iter().map(|voter| voter.join().unwrap()).sum();
        assert!(acknowledged > 8, "{acknowledged}");
        let db = site.database.connect().await;
        let choice = <polls::entities::choice::Entity as sea_orm::EntityTrait>::find_by_id(1).one(&db).await.unwrap().unwrap();
        // Those in flight may have been counted without a response.
        assert!((acknowledged..=acknowledged + 8).contains(&choice.votes.0), "{acknowledged} {}", choice.votes);
    }
}
