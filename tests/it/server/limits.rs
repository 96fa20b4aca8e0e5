//! Limits on requests and connections.

use std::{io::Write as _, time::Duration};

use super::{is_closed, metric, metrics_address, open, send, status, wait_until};
use crate::support::{Backend, Site, tls::get_http2_with};

pub async fn site() -> Site {
    Site::migrated(Backend::Sqlite)
        .await
        .with("METRICS_BIND", "127.0.0.1:0")
}

/// How many were refused for a reason.
pub fn refused(metrics: &str, reason: &str) -> f64 {
    metric(
        metrics,
        &format!("polls_connections_refused_total{{reason=\"{reason}\"}}"),
    )
}

#[tokio::test]
async fn each_limit_has_its_status_and_counter() {
    let site = site().await;
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let head = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n", server.address);
    let cases = [
        (
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(4100)),
            414,
            "line_too_long",
        ),
        (
            format!("{head}A: {}\r\n\r\n", "x".repeat(8200)),
            431,
            "field_too_large",
        ),
        (
            format!("{head}{}\r\n", "A: b\r\n".repeat(100)),
            431,
            "too_many_fields",
        ),
        (
            format!("{head}{}", format!("A: {}\r\n", "x".repeat(8000)).repeat(9)),
            431,
            "head_too_large",
        ),
        ("nonsense\r\n\r\n".to_owned(), 400, "malformed"),
    ];
    for (request, expected, reason) in cases {
        let answer = send(&server.address, request.as_bytes());
        assert_eq!(status(&answer), expected, "{reason}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert!((refused(&metrics, reason) - 1.0).abs() < 0.1, "{reason}");
    }
    // Just within the limits.
    let field = format!("{head}A: {}\r\nConnection: close\r\n\r\n", "x".repeat(8000));
    assert_eq!(status(&send(&server.address, field.as_bytes())), 200);
    let line = format!(
        "GET /livez?{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "x".repeat(4000)
    );
    assert_eq!(status(&send(&server.address, line.as_bytes())), 200);
}

#[tokio::test]
async fn bodies_and_forms_have_limits() {
    let site = site()
        .await
        .with("DATA_UPLOAD_MAX_MEMORY_SIZE", "1000")
        .with("DATA_UPLOAD_MAX_NUMBER_FIELDS", "3")
        .with("BODY_TIMEOUT", "1");
    let server = site.serve();
    let post = |body: &str, headers: &str| {
        let secret = "s".repeat(32);
        let head = format!(
            "POST /polls/1/vote/ HTTP/1.1\r\nHost: {}\r\nCookie: csrftoken={secret}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{headers}\r\n",
            server.address
        );
        format!("{head}{body}")
    };
    let with_length = |body: &str| post(body, &format!("Content-Length: {}\r\n", body.len()));
    for (request, expected) in [
        (with_length(&"x".repeat(1001)), 413),
        (
            post("3e9\r\n", "Transfer-Encoding: chunked\r\n")
                + "x".repeat(1001).as_str()
                + "\r\n0\r\n\r\n",
            413,
        ),
        (with_length("a=1&b=2&c=3&d=4"), 400),
        // It need not come to be refused.
        (post("a=1", "Content-Length: 99999999999\r\n"), 413),
        // The rest never comes.
        (post("a=1", "Content-Length: 100\r\n"), 408),
        (with_length("a=1&b=2"), 403),
    ] {
        let answer = send(&server.address, request.as_bytes());
        assert_eq!(status(&answer), expected, "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn large_bodies_share_memory_by_bytes_received() {
    let site = site().await.with("BODY_TIMEOUT", "300");
    let server = site.serve();
    let request = |body: &str| {
        let secret = "s".repeat(32);
        format!(
            "POST /polls/1/vote/ HTTP/1.1\r\nHost: {}\r\nCookie: csrftoken={secret}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 2600000\r\n\r\n{body}",
            server.address
        )
    };
    // Those who only say that much will come take nothing from the others.
    let promise = request(&"x".repeat(17_000));
    let _waiting = open(&server.address, 100, promise.as_bytes());
    let whole = request(&"x".repeat(2_600_000));
    assert_eq!(status(&send(&server.address, whole.as_bytes())), 403);
    // 64 MiB have room for 25 bodies of which almost all has come, or for fewer when more of them have begun.
    let almost = request(&"x".repeat(2_599_000));
    let mut heard: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = server.connect();
            // It may be refused before all has been heard.
            let _ = stream.write_all(almost.as_bytes());
            stream
        })
        .collect();
    wait_until(Duration::from_secs(30), || {
        heard.retain_mut(|stream| !is_closed(stream, Duration::from_millis(10)));
        heard.len() <= 26
    });
    assert!(heard.len() > 5, "{}", heard.len());
}

#[tokio::test]
async fn requests_cannot_be_smuggled() {
    let site = site().await;
    let server = site.serve();
    let host = &server.address;
    let smuggled = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let post = format!("POST /polls/ HTTP/1.1\r\nHost: {host}\r\n");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n");
    let attacks = [
        format!(
            "{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ),
        format!(
            "{post}Content-Length: 0, {}\r\n\r\n{smuggled}",
            smuggled.len()
        ),
        format!("{post}Content-Length: +0\r\n\r\n{smuggled}"),
        format!(
            "{chunked}Content-Length: {}\r\n\r\n0\r\n\r\n{smuggled}",
            5 + smuggled.len()
        ),
        format!(
            "{post}Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{post}Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n{smuggled}"),
        format!("{post}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("{post}X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{smuggled}"),
        format!("{post}X: y\nContent-Length: 0\r\n\r\n{smuggled}"),
        format!("POST /polls/ HTTP/1.1\nHost: {host}\nContent-Length: 0\n\n{smuggled}"),
        format!("{post}X: y\rContent-Length: 0\r\n\r\n{smuggled}"),
        format!("{post}Content-Length: 0\r\nHost: other\r\n\r\n{smuggled}"),
        format!("{chunked}\r\n0x0\r\n\r\n{smuggled}"),
        format!("{chunked}\r\n0\n\n{smuggled}"),
        format!("{chunked}\r\n1\r\nab\r\n0\r\n\r\n{smuggled}"),
        format!("{chunked}\r\nffffffffffffffff1\r\n{smuggled}"),
        format!("{chunked}\r\n2;\n{smuggled}\r\n0\r\n\r\n"),
        format!("GET /livez HTTP/1.1 HTTP/1.1\r\nHost: {host}\r\n\r\n{smuggled}"),
        format!(
            "POST /polls/ HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
    ];
    for attack in attacks {
        let answer = send(host, attack.as_bytes());
        assert!(
            !answer.contains("\r\n\r\nok\n"),
            "{attack:?} got through: {answer}"
        );
        assert!(
            (400..500).contains(&status(&answer)),
            "{attack:?}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{attack:?}: {answer}"
        );
    }
    // Two sound requests one behind the other are two requests.
    let twice =
        format!("{smuggled}GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    assert_eq!(
        send(host, twice.as_bytes()).matches("\r\n\r\nok\n").count(),
        2
    );
    // A target that names another host than the header does.
    let absolute = |target: &str| {
        format!("GET http://{target}/polls/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    assert_eq!(
        status(&send(host, absolute("other.example").as_bytes())),
        400
    );
    assert_eq!(status(&send(host, absolute(host).as_bytes())), 200);
}

#[tokio::test]
async fn on_http2_the_limits_are_the_same() {
    let site = site().await.with("LIMIT_REQUEST_FIELDS", "20");
    let server = site.serve();
    let ask = async |path: &str, fields: &[(&str, String)]| {
        let stream = tokio::net::TcpStream::connect(&server.address)
            .await
            .unwrap();
        let address = format!("http://{}{path}", server.address);
        get_http2_with(stream, &address, fields)
            .await
            .status()
            .as_u16()
    };
    assert_eq!(ask("/livez", &[]).await, 200);
    assert_eq!(ask(&format!("/livez?{}", "x".repeat(4100)), &[]).await, 414);
    assert_eq!(ask("/livez", &[("a", "x".repeat(8200))]).await, 431);
    assert_eq!(ask("/livez", &vec![("a", "x".to_owned()); 30]).await, 431);
}

#[tokio::test]
async fn malformed_requests_are_answered_and_logged() {
    let site = site().await;
    let server = site.serve();
    let request = format!(
        "GET /polls/?q=<b> HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.address
    );
    let answer = send(&server.address, request.as_bytes());
    assert!(
        status(&answer) == 400 && answer.contains("malformed or ambiguous"),
        "{answer}"
    );
    let (log, _) = server.stop();
    assert!(
        log.contains("access: 127.0.0.1 refused: malformed: the request line is invalid"),
        "{log}"
    );
}
