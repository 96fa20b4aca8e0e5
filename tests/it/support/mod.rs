//! What the tests share: databases, the site in this process, the built binary, and an HTTP client.

pub mod app;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod database;
pub mod disk;
pub mod forms;
pub mod haproxy;
pub mod http;
pub mod link;
pub mod postgres;
pub mod site;
pub mod tls;
pub mod voters;

pub use self::{
    app::TestApp,
    client::{Client, Reply},
    database::{Backend, TestDatabase},
    forms::Form,
    site::Site,
};

/// Makes two tests of one: on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($argument:ident: $type:ty) $body:block)*) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;
                use crate::support::Backend;

                async fn body($argument: $type) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_sqlite() {
                    body(<$type>::new(Backend::Sqlite).await).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn on_postgres() {
                    body(<$type>::new(Backend::Postgres).await).await;
                }
            }
        )*
    };
}

/// A command's output, without the lines about the app that Django does not have.
pub fn as_django(text: &str) -> String {
    let mut is_ours = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        // A heading of `showmigrations`, or a line of a plan, with what is indented below it.
        if !line.starts_with(' ') {
            is_ours = line == "polls" || line.contains("polls.0");
        }
        if !is_ours && !line.contains("polls.0") {
            lines.push(line.replace(" polls,", ""));
        }
    }
    let end = if text.ends_with('\n') { "\n" } else { "" };
    lines.join("\n") + end
}

/// A file of what was captured from Django.
pub fn captured(path: &str) -> String {
    let path = format!("{}/tests/data/django/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asserts that not more time has passed.
#[track_caller]
pub fn assert_within(start: std::time::Instant, most: std::time::Duration) {
    let took = start.elapsed();
    assert!(took < most, "{took:?}");
}
