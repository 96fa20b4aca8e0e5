//! HTTP/1 connections that free their parser after each response, because the limit on idle parsers is reached.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::{SECRET, open, read_response, status};
use crate::support::{Backend, Site, site::Server};

/// A server on which four connections may keep their parser, and those four: each waits for the body of a vote.
async fn crowded(keepalive: &str) -> (Site, Server, Vec<TcpStream>) {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("KEEPALIVE", keepalive)
        .with("MAX_REQUESTS_IN_FLIGHT", "1");
    site.run(["seed"]).success();
    let server = site.serve();
    let vote = format!(
        "POST /polls/1/vote/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={SECRET}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\n"
    );
    let crowd = open(&server.address, 4, vote.as_bytes());
    std::thread::sleep(Duration::from_millis(500));
    (site, server, crowd)
}

fn connect(server: &Server) -> TcpStream {
    let stream = server.connect();
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    stream
}

const PAGE: &str = "GET /polls/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let (_site, server, _crowd) = crowded("75").await;
    let mut stream = connect(&server);
    for _ in 0..5 {
        stream.write_all(PAGE.as_bytes()).unwrap();
        assert_eq!(status(&read_response(&mut stream)), 200);
    }
    let second = PAGE.replace("/polls/", "/polls/1/");
    let third = PAGE.replace("/polls/", "/polls/999/");
    let all = [PAGE, &second, &third, PAGE].concat();
    stream.write_all(all.as_bytes()).unwrap();
    let statuses: Vec<u16> = (0..4)
        .map(|_| status(&read_response(&mut stream)))
        .collect();
    assert_eq!(statuses, [200, 200, 404, 200]);
    // More than is kept back while a response is under way.
    let many = PAGE.repeat(600);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(many.as_bytes()).unwrap());
    for _ in 0..600 {
        assert_eq!(status(&read_response(&mut stream)), 200);
    }
    writing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_body_is_not_parsed_as_a_request() {
    let (_site, server, _crowd) = crowded("75").await;
    let inner = "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let length = inner.len();
    let head = format!(
        "POST /polls/1/vote/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
    );
    // With the head, and behind the response.
    let mut stream = connect(&server);
    stream
        .write_all([&head, inner].concat().as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(
        (status(&answer), answer.matches("HTTP/1.1 ").count()),
        (403, 1),
        "{answer}"
    );
    let mut stream = connect(&server);
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(status(&read_response(&mut stream)), 403);
    let _ = stream.write_all(inner.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_read_slowly_is_complete() {
    let (site, server, _crowd) = crowded("75").await;
    // A page larger than the buffers of both ends.
    let choices =
        (0..20_000).map(|number| format!("(1, 'Choice number {number} of a long list', 0)"));
    let choices = choices.collect::<Vec<_>>().join(", ");
    site.execute(&format!(
        "INSERT INTO polls_app_choice (question_id, choice_text, votes) VALUES {choices}"
    ))
    .await;
    for (close, stops) in [("", false), ("Connection: close\r\n", false), ("", true)] {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address: std::net::SocketAddr = server.address.parse().unwrap();
        socket.connect(&address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let request = format!("GET /polls/1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{close}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        // Longer than a connection may rest before its parser is given back.
        std::thread::sleep(Duration::from_millis(2500));
        if stops {
            server.signal("-TERM");
            std::thread::sleep(Duration::from_millis(1500));
        }
        let page = read_response(&mut stream);
        assert!(
            page.len() > 1_000_000 && page.trim_end().ends_with("</html>"),
            "{}",
            page.len()
        );
        if close.is_empty() && !stops {
            stream.write_all(PAGE.as_bytes()).unwrap();
            assert_eq!(status(&read_response(&mut stream)), 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_after_keepalive() {
    let (_site, server, _crowd) = crowded("1").await;
    for rest in ["", "P", "\r\n"] {
        let mut stream = connect(&server);
        for _ in 0..2 {
            stream.write_all(PAGE.as_bytes()).unwrap();
            assert_eq!(status(&read_response(&mut stream)), 200);
        }
        stream.write_all(rest.as_bytes()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(15)))
            .unwrap();
        let mut bytes = Vec::new();
        let start = std::time::Instant::now();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(start.elapsed() > Duration::from_millis(500), "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_before_a_half_close_are_answered() {
    let (_site, server, _crowd) = crowded("75").await;
    let mut stream = connect(&server);
    stream.write_all(PAGE.repeat(2).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..2 {
        assert_eq!(status(&read_response(&mut stream)), 200);
    }
}
