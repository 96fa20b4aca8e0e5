//! Observability: access log, request ids, metrics, traces.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use super::{SECRET, get, log_in, metric, metrics_address, send};
use crate::support::{Backend, Site, app::PASSWORD, assert_within, voters::vote};

async fn site() -> Site {
    let site = Site::migrated(Backend::Sqlite).await;
    site.run(["seed"]).success();
    site
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.split("\r\n\r\n").next().unwrap().lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn the_access_log_has_gunicorns_format() {
    let format = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(B)s "%(f)s" "%(a)s" %(T)s %(D)s %(L)s %(p)s %({X-Thing}i)s %({content-type}o)s"#;
    let site = site().await.with("ACCESS_LOG_FORMAT", format);
    let server = site.serve();
    get(
        &server.address,
        "/polls/?a=b",
        "User-Agent: Browser\r\nReferer: http://x/\r\nX-Thing: some\r\n",
    );
    let id = server.id();
    let (log, _) = server.stop();
    let line = log.lines().find(|line| line.contains("access: ")).unwrap();
    let words: Vec<&str> = line.split("access: ").nth(1).unwrap().split(' ').collect();
    assert_eq!(words[..3], ["127.0.0.1", "-", "-"], "{line}");
    let time = format!("{} {}", words[3], words[4]);
    assert!(
        chrono::DateTime::parse_from_str(&time, "[%d/%b/%Y:%H:%M:%S %z]").is_ok(),
        "{time}"
    );
    assert_eq!(
        words[5..12],
        [
            "\"GET",
            "/polls/?a=b",
            "HTTP/1.1\"",
            "GET",
            "/polls/",
            "a=b",
            "HTTP/1.1"
        ]
    );
    assert_eq!(words[12], "200");
    assert!(words[13].parse::<u32>().unwrap() > 100 && words[13] == words[14]);
    assert_eq!(words[15..17], ["\"http://x/\"", "\"Browser\""]);
    assert!(
        words[17] == "0"
            && words[18].parse::<u32>().unwrap() > 0
            && words[19].parse::<f64>().unwrap() > 0.0
    );
    assert_eq!(words[20], format!("<{id}>"));
    assert_eq!(words[21..].join(" "), "some text/html; charset=utf-8");
}

#[tokio::test]
async fn the_request_id_is_in_the_response_and_the_log() {
    let site = site().await.with("LOG_FORMAT", "json");
    let server = site.serve();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers =
        format!("X-Request-ID: from-the-proxy\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    let answer = get(&server.address, "/polls/", &headers);
    assert_eq!(header(&answer, "x-request-id"), Some("from-the-proxy"));
    // A form without a cookie is refused, and the reason is a line of its own.
    let bare = vote("127.0.0.1", 1).replace(
        "Cookie: ",
        "X-Request-ID: refused-1\r\nConnection: close\r\nX: ",
    );
    assert!(send(&server.address, bare.as_bytes()).starts_with("HTTP/1.1 403 "));
    let odd = get(&server.address, "/polls/", "X-Request-ID: \"><script>\r\n");
    let made = header(&odd, "x-request-id").unwrap().to_owned();
    assert!(
        made.len() == 32 && made.chars().all(|c| c.is_ascii_hexdigit()),
        "{made}"
    );
    let (log, _) = server.stop();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let access: Vec<_> = lines
        .iter()
        .filter(|line| line["target"] == "access")
        .map(|line| &line["fields"])
        .collect();
    assert_eq!(access[0]["request_id"], "from-the-proxy");
    assert_eq!(access[0]["trace_id"], trace);
    assert_eq!(
        (
            &access[0]["method"],
            &access[0]["status"],
            &access[0]["address"]
        ),
        (&"GET".into(), &200.into(), &"127.0.0.1".into())
    );
    assert!(access[0]["ms"].as_f64().unwrap() > 0.0 && access[0]["size"].as_u64().unwrap() > 100);
    let reason = lines
        .iter()
        .find(|line| {
            line["fields"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("CSRF cookie not set"))
        })
        .unwrap();
    assert_eq!(reason["span"]["id"], "refused-1");
    assert_eq!(access[2]["request_id"], made);
    // Others than proxies cannot choose.
    let site = site.with("TRUSTED_PROXIES", "10.0.0.1");
    let server = site.serve();
    let answer = get(&server.address, "/polls/", "X-Request-ID: mine\r\n");
    assert_ne!(header(&answer, "x-request-id"), Some("mine"));
}

#[tokio::test]
async fn input_is_escaped_in_the_log() {
    let all = r#"%(h)s %(r)s %(U)s %(q)s %(f)s %(a)s %({x-thing}i)s"#;
    for (name, value) in [("ACCESS_LOG_FORMAT", all), ("LOG_FORMAT", "json")] {
        let site = site().await.with(name, value).with("RUST_LOG", "debug");
        let server = site.serve();
        let evil = "\u{1b}[31m\u{9b}31m\" 200 \u{202e}";
        for bytes in [
            "GET /%0aFAKE%1b[31m HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: \u{9b}31m\u{2028}\r\nReferer: \"x\\\"\r\nX-Thing: \u{85}\u{200b}\u{202e}\r\nConnection: close\r\n\r\n".to_owned(),
            format!("GET /{evil} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {evil}\r\nConnection: close\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: other\u{9b}.example\r\nConnection: close\r\n\r\n".to_owned(),
            "POST /polls/1/vote/ HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://x\u{9b}31m\u{202e}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: \u{9b}, 1.2.3.4\u{85}\r\nConnection: close\r\n\r\n".to_owned(),
            "\u{1b}]0;evil\u{7}\r\n\r\n".to_owned(),
        ] {
            send(&server.address, bytes.as_bytes());
        }
        let (log, code) = server.stop();
        assert_eq!(code, Some(0));
        let is_odd = |c: char| {
            c != '\n'
                && (c.is_control() || ['\u{202e}', '\u{2028}', '\u{200b}', '\u{85}'].contains(&c))
        };
        let odd: Vec<&str> = log.lines().filter(|line| line.contains(is_odd)).collect();
        // JSON has its own way to write what is no control character.
        let odd: Vec<&&str> = odd
            .iter()
            .filter(|line| value != "json" || line.contains(char::is_control))
            .collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert!(log.lines().all(|line| !line.starts_with("FAKE")), "{log}");
        assert!(log.lines().count() > 5, "{log}");
    }
}

#[tokio::test]
async fn secrets_are_not_logged() {
    let site = site().await.with("RUST_LOG", "trace").with_superuser();
    let server = site.serve();
    let answer = log_in(&server.address);
    assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
    let session = answer
        .split("sessionid=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    get(
        &server.address,
        "/admin/",
        &format!("Cookie: sessionid={session}\r\n"),
    );
    let (log, _) = server.stop();
    let key = site
        .command(["x"])
        .get_envs()
        .find(|(name, _)| *name == "SECRET_KEY")
        .unwrap()
        .1
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    for secret in [PASSWORD, SECRET, &key] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    // What other crates say of what they send is not for a log that people read.
    let own = log
        .lines()
        .filter(|line| !line.contains("sqlx") && !line.contains("hyper"));
    assert!(own.clone().count() > 2);
    assert!(
        own.into_iter().all(|line| !line.contains(&session)),
        "the session is in the log"
    );
}

#[tokio::test]
async fn alerts_and_the_dashboard_are_of_metrics_that_are_exported() {
    let site = Site::migrated(Backend::Postgres).await;
    let url = site.database.url.clone();
    let site = site
        .with("METRICS_BIND", "127.0.0.1:0")
        .with("DATABASE_REPLICA_URL", &url);
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    server.get("/polls/");
    let exported = get(&metrics, "/metrics", "");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kube/components/monitoring");
    let name = regex::Regex::new(r"\b(?:polls|process)_[a-z_]+").unwrap();
    for file in ["rules.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        let names: Vec<_> = name.find_iter(&text).map(|found| found.as_str()).collect();
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            let is_it = |line: &str| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(
                exported.lines().any(is_it),
                "{file}: {name} is not exported"
            );
        }
    }
}

#[tokio::test]
async fn metrics_are_exported() {
    let site = site().await.with("METRICS_BIND", "127.0.0.1:0");
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    for _ in 0..3 {
        server.get("/polls/");
    }
    server.get("/polls/1/");
    server.get("/polls/2/");
    server.get("/nope/1/");
    server.get("/nope/2/");
    let request = vote(&server.address, 1).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    for _ in 0..4 {
        send(&server.address, request.as_bytes());
    }
    send(
        &server.address,
        b"BREW /polls/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    );
    let near = |name: &str, expected: f64| {
        let value = metric(&metrics, name);
        assert!((value - expected).abs() < 1e-9, "{name} is {value}");
    };
    near(
        "polls_http_requests_total{method=\"GET\",route=\"/polls/\",status=\"200\"}",
        3.0,
    );
    near(
        "polls_http_requests_total{method=\"GET\",route=\"/polls/:id<[0-9]+>/\",status=\"200\"}",
        2.0,
    );
    near(
        "polls_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}",
        2.0,
    );
    near(
        "polls_http_requests_total{method=\"other\",route=\"/polls/\",status=\"403\"}",
        1.0,
    );
    near(
        "polls_http_request_duration_seconds_count{route=\"/polls/\"}",
        4.0,
    );
    near("polls_http_requests_in_flight", 0.0);
    near("polls_votes_total", 4.0);
    assert!(metric(&metrics, "polls_vote_commits_total") >= 1.0);
    assert!(metric(&metrics, "polls_database_connections") >= 1.0);
    assert!(metric(&metrics, "process_resident_memory_bytes") > 1e6);
    assert!(metric(&metrics, "process_open_fds") > 5.0);
    let text = get(&metrics, "/metrics", "");
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{text}"
    );
    assert!(text.trim_end().ends_with("# EOF"));
    // The site's listener does not serve the metrics, nor the metrics' listener the site.
    assert!(server.get("/metrics").starts_with("HTTP/1.1 404 "));
    assert!(get(&metrics, "/polls/", "").starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn traces_are_sent_to_a_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let received = std::thread::spawn(move || {
        collector.set_nonblocking(true).unwrap();
        let accepted = (0..600).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            collector.accept().ok()
        });
        let (mut stream, _) = accepted.expect("nobody has come to the collector");
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(count) = stream.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
            if count == 0 || bytes.windows(9).any(|window| window == b"/polls/:i") {
                break;
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        bytes
    });
    let site = site()
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .with("OTEL_SERVICE_NAME", "voting");
    let server = site.serve();
    get(
        &server.address,
        "/polls/1/",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
    );
    assert_eq!(server.stop().1, Some(0));
    let bytes = received.join().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{text}");
    for word in ["voting", "statement", "http.route", "/polls/:id"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    let trace: Vec<u8> = (0..16)
        .map(|i| {
            u8::from_str_radix(&"4bf92f3577b34da6a3ce929d0e0e4736"[2 * i..2 * i + 2], 16).unwrap()
        })
        .collect();
    assert!(bytes.windows(16).any(|window| window == trace));
}

#[tokio::test]
async fn an_unreachable_collector_does_not_block_requests() {
    let site = site()
        .await
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let server = site.serve();
    assert!(server.get("/polls/").starts_with("HTTP/1.1 200 "));
    let start = std::time::Instant::now();
    assert_eq!(server.stop().1, Some(0));
    assert_within(start, Duration::from_secs(8));
    for bad in ["https://collector.example", "nonsense"] {
        let said = Site::migrated(Backend::Sqlite)
            .await
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", bad)
            .run(["check"]);
        assert!(
            said.stderr
                .starts_with("CommandError: OTEL_EXPORTER_OTLP_ENDPOINT must be "),
            "{}",
            said.stderr
        );
    }
}
