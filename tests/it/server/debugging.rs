//! Debug mode.

use std::{fs, io::Read, io::Write, time::Duration};

use super::{send, status, wait_until};
use crate::support::{Backend, Site, assert_within};

/// A deployment in debug mode with templates of its own.
async fn site() -> Site {
    let site = Site::migrated(Backend::Sqlite)
        .await
        .with("DEBUG", "true")
        .with("ALLOWED_HOSTS", "");
    site.run(["seed"]).success();
    fs::create_dir_all(site.folder().join("templates/polls_app")).unwrap();
    fs::create_dir_all(site.folder().join("assets")).unwrap();
    site
}

#[tokio::test]
async fn a_broken_template_is_shown_with_its_line() {
    let site = site().await;
    let template = site.folder().join("templates/polls_app/index.html");
    let server = site.serve();
    assert_eq!(status(&server.get("/polls/")), 200);
    fs::write(&template, "one\ntwo <b>\n{{ nothing.at_all }}\nfour\n").unwrap();
    let request = format!(
        "GET /polls/?token=unspoken&q=seen HTTP/1.1\r\nHost: {}\r\nCookie: sessionid=unspoken\r\nX-Thing: <seen>\r\nConnection: close\r\n\r\n",
        server.address
    );
    let answer = send(&server.address, request.as_bytes());
    assert_eq!(status(&answer), 500);
    for text in [
        "In the template <code>polls_app/index.html</code>, line 3",
        "class=\"debug-fault\">   3  {{ nothing.at_all }}",
        "two &lt;b&gt;",
        "undefined value",
        "&lt;seen&gt;",
        "<th scope=\"row\">cookie</th><td><code>********************</code>",
        "<th scope=\"row\">token</th><td><code>********************</code>",
        "<th scope=\"row\">SECRET_KEY</th><td><code>********************</code>",
        "DATABASE_URL",
    ] {
        assert!(answer.contains(text), "{text:?} is not in {answer}");
    }
    assert!(
        !answer.contains("unspoken") && !answer.contains("0Ei3nVd8"),
        "{answer}"
    );
    fs::write(&template, "{% if %}").unwrap();
    assert!(send(&server.address, request.as_bytes()).contains("line 1"));
    fs::write(&template, "mended").unwrap();
    assert!(server.get("/polls/").ends_with("mended"));
    drop(server);
    // Without debug mode the embedded templates are served, and no details.
    let site = site.with("DEBUG", "").with("ALLOWED_HOSTS", "127.0.0.1");
    let server = site.serve();
    assert!(
        server
            .get("/polls/")
            .contains("Is Django better than Flask?")
    );
    assert_eq!(status(&server.get("/__reload__")), 404);
    assert!(!server.get("/polls/").contains("reload"));
}

#[tokio::test]
async fn a_lost_database_is_shown_with_the_cause() {
    let site = site().await.with(
        "DATABASE_URL",
        "postgres://polls:unspoken@127.0.0.1:1/polls",
    );
    let answer = site.serve().get("/polls/");
    assert_eq!(status(&answer), 503);
    assert!(
        answer.contains("What went wrong") && answer.contains("postgres://polls@127.0.0.1:1/polls"),
        "{answer}"
    );
    assert!(answer.contains("retry-after: 2"), "{answer}");
    assert!(!answer.contains("unspoken"));
}

#[tokio::test]
async fn pages_reload_when_a_file_changes() {
    let site = site().await;
    let server = site.serve();
    let page = server.get("/polls/");
    assert!(page.contains("/static/debug/reload.js"), "{page}");
    assert!(page.contains("connect-src 'self'"));
    let mut events = server.connect();
    let request = format!(
        "GET /__reload__ HTTP/1.1\r\nHost: {}\r\n\r\n",
        server.address
    );
    events.write_all(request.as_bytes()).unwrap();
    events
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut heard = String::new();
    let mut hear = |events: &mut std::net::TcpStream, text: &str| {
        let mut piece = [0; 1024];
        if let Ok(count) = events.read(&mut piece) {
            heard += &String::from_utf8_lossy(&piece[..count]);
        }
        heard.contains(text)
    };
    wait_until(Duration::from_secs(3), || hear(&mut events, ": listening"));
    assert!(!hear(&mut events, "changed"));
    fs::write(site.folder().join("assets/new.css"), "x").unwrap();
    wait_until(Duration::from_secs(3), || {
        hear(&mut events, "data: changed")
    });
    // Nor does a listening page keep the server from ending.
    let start = std::time::Instant::now();
    assert_eq!(server.stop().1, Some(0));
    assert_within(start, Duration::from_secs(3));
}
