//! Static files: found under names that change with their content, compressed, and cached.

use std::io::Read;

use flate2::read::GzDecoder;
use poem::http::Method;

use crate::support::{Backend, TestApp};

async fn stylesheet(app: &TestApp) -> String {
    let page = app.visitor().get("/polls/").await;
    format!(
        "/static/vendor/tabler.{}",
        page.between("/static/vendor/tabler.", "\"")
    )
}

#[tokio::test]
async fn hashed_names_are_immutable_and_plain_ones_are_revalidated() {
    let app = TestApp::new(Backend::Sqlite).await;
    let path = stylesheet(&app).await;
    let hashed = app.visitor().get(&path).await;
    assert_eq!(
        hashed.assert_status(200).header("cache-control"),
        Some("max-age=31536000, public, immutable")
    );
    assert_eq!(
        hashed.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(hashed.header("vary"), Some("Accept-Encoding"));
    let plain = app.visitor().get("/static/vendor/tabler.css").await;
    assert_eq!(
        plain.assert_status(200).header("cache-control"),
        Some("no-cache")
    );
    assert_eq!(plain.bytes, hashed.bytes);
    assert_eq!(
        plain.bytes,
        std::fs::read(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/assets/vendor/tabler.css"
        ))
        .unwrap()
    );
}

#[tokio::test]
async fn a_matching_etag_is_a_304() {
    let app = TestApp::new(Backend::Sqlite).await;
    let visitor = app.visitor();
    let path = stylesheet(&app).await;
    let etag = visitor.get(&path).await.header("etag").unwrap().to_owned();
    for known in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"other\", {etag}"),
        "*".to_owned(),
    ] {
        let reply = visitor.get_with(&path, &[("if-none-match", &known)]).await;
        assert!(reply.assert_status(304).bytes.is_empty(), "{known}");
        assert_eq!(reply.header("etag"), Some(etag.as_str()));
        assert!(reply.header("cache-control").is_some());
    }
    visitor
        .get_with(&path, &[("if-none-match", "\"other\"")])
        .await
        .assert_status(200);
    let head = visitor.request(Method::HEAD, &path, &[], "").await;
    assert!(head.assert_status(200).bytes.is_empty());
    assert_eq!(head.header("etag"), Some(etag.as_str()));
}

#[tokio::test]
async fn the_encoding_is_negotiated() {
    let app = TestApp::new(Backend::Sqlite).await;
    let visitor = app.visitor();
    let path = stylesheet(&app).await;
    let plain = visitor.get(&path).await;
    for (accepted, expected) in [
        ("gzip, deflate, br", Some("br")),
        ("gzip", Some("gzip")),
        ("br;q=0, gzip;q=0.5", Some("gzip")),
        ("gzip;q=0", None),
        ("identity", None),
        ("gzipped, brr", None),
    ] {
        let reply = visitor
            .get_with(&path, &[("accept-encoding", accepted)])
            .await;
        assert_eq!(reply.header("content-encoding"), expected, "{accepted}");
        assert_eq!(
            reply.header("etag") == plain.header("etag"),
            expected.is_none(),
            "{accepted}"
        );
        if expected.is_some() {
            assert!(reply.bytes.len() < plain.bytes.len() / 4);
        }
    }
    let reply = visitor
        .get_with(&path, &[("accept-encoding", "gzip")])
        .await;
    let mut unpacked = Vec::new();
    GzDecoder::new(reply.bytes.as_slice())
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.bytes);
}

#[tokio::test]
async fn only_embedded_files_are_served() {
    let app = TestApp::new(Backend::Sqlite).await;
    for path in [
        "/static/",
        "/static/nope.css",
        "/static/../Cargo.toml",
        "/static/%2e%2e/Cargo.toml",
        "/static/vendor",
        "/static",
    ] {
        app.visitor().get(path).await.assert_status(404);
    }
}

#[tokio::test]
async fn a_page_loads_few_bytes_of_assets() {
    let app = TestApp::new(Backend::Sqlite).await;
    let visitor = app.visitor();
    let page = visitor.get("/polls/").await;
    let mut total = 0;
    for path in page
        .text()
        .split("\"/static/")
        .skip(1)
        .map(|rest| format!("/static/{}", rest.split('"').next().unwrap()))
    {
        total += visitor
            .get_with(&path, &[("accept-encoding", "br")])
            .await
            .assert_status(200)
            .bytes
            .len();
    }
    assert!((1..20_000).contains(&total), "{total}");
}
