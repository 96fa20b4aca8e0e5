//! The pages in memory: the same as from the database, never older than a second, and with each client's own changes.

mod clients;
mod model;
mod postgres;

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use flate2::read::GzDecoder;
use poem::{EndpointExt, http::Method};
use polls::{
    db::Database,
    polls_app::urls,
    settings::Settings,
    site::{Site, admin_site},
};
use sea_orm::ConnectionTrait;

use crate::support::{
    Client, Reply, TestApp,
    app::{now, settings},
};

/// How old a page may be.
const MAX_AGE: Duration = Duration::from_secs(1);
/// How long a test waits for a page from memory.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Requests a page until it is served from memory.
async fn from_memory(
    app: &TestApp,
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let hits = || app.site.pages.counters().hits.get();
    let start = Instant::now();
    while start.elapsed() < TIMEOUT {
        let before = hits();
        let reply = client.get_with(path, headers).await;
        if hits() > before {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{path} is not served from memory");
}

/// Asserts that a page without this text is served for a second at most from now on; it is requested all the time, so that it is
/// in memory.
async fn assert_shown_in_time(client: &Client, path: &str, text: &str) {
    let start = Instant::now();
    loop {
        let requested = start.elapsed();
        let reply = client.get(path).await;
        if reply.text().contains(text) {
            return;
        }
        assert!(
            requested <= MAX_AGE,
            "{path} lacks {text:?} after {requested:?}:\n{}",
            reply.text()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn execute(db: &Database, sql: &str) {
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(sql).await.unwrap();
    tx.commit().await.unwrap();
}

/// A client of another server on the same database.
async fn other_server(settings: Settings, clock: fn() -> DateTime<Utc>) -> (Site, Client) {
    let site = Site::build(settings, admin_site(), clock).await.unwrap();
    let client = Client::new(Arc::new(site.router().boxed()));
    (site, client)
}

fn unzipped(reply: &Reply) -> String {
    if reply.header("content-encoding") != Some("gzip") {
        return reply.text().to_owned();
    }
    let mut text = String::new();
    GzDecoder::new(&*reply.bytes)
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// The headers and the page, without what differs between any two responses.
fn comparable(reply: &Reply) -> (Vec<(String, String)>, String) {
    let left_out = ["x-request-id", "content-length", "etag"];
    let headers = reply
        .headers
        .iter()
        .filter(|(name, _)| !left_out.contains(&name.as_str()));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            // The secret may be a new one.
            let value = if name == "set-cookie" {
                value.split_once(';').unwrap().1
            } else {
                value
            };
            (name.to_string(), value.to_owned())
        })
        .collect();
    headers.sort();
    let mut page = unzipped(reply);
    assert_eq!(
        reply.header("content-length"),
        Some(&*reply.bytes.len().to_string())
    );
    if let Some((before, rest)) = page.split_once("csrfmiddlewaretoken\" value=\"") {
        let (token, after) = rest.split_once('"').unwrap();
        assert!(
            token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{token}"
        );
        page = format!("{before}{after}");
    }
    (headers, page)
}

on_both_databases! {
    async fn pages_from_memory_are_the_pages_from_the_database(app: TestApp) {
        let question = app.question("Best season?", &["Summer", "Winter <&>"]).await;
        app.set_votes(question.choices[0], 7).await;
        let without = Settings { page_cache_size: 0, ..settings(&app.database) };
        let (other, reference) = other_server(without, now).await;
        for path in [urls::INDEX.to_owned(), urls::detail(question.id), urls::results(question.id)] {
            for headers in [
                &[][..],
                &[("accept-encoding", "gzip, deflate, br")],
                &[("accept-encoding", "gzip;q=0")],
                &[("cookie", "theme=dark")],
                &[("cookie", "theme=light; polls_user=staff; messages=x"), ("accept-encoding", "gzip")],
                &[("x-forwarded-proto", "https")],
            ] {
                let client = app.visitor();
                let cached = from_memory(&app, &client, &path, headers).await;
                let fresh = reference.get_with(&path, headers).await;
                assert_eq!(comparable(&cached), comparable(&fresh), "{path} {headers:?}");
                assert_eq!(cached.header("cache-control"), Some("private, no-cache"), "{path}");
                let vary: Vec<_> = cached.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
                assert_eq!(vary, ["Cookie", "Accept-Encoding"], "{path}");
            }
        }
        assert_eq!(other.pages.counters().hits.get(), 0);
        let head = app.visitor().request(Method::HEAD, urls::INDEX, &[], "").await;
        head.assert_status(200);
    }

    async fn pages_without_a_token_have_an_entity_tag(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let (visitor, path) = (app.visitor(), urls::results(question.id));
        for encoding in ["identity", "gzip"] {
            let encoding = ("accept-encoding", encoding);
            let page = from_memory(&app, &visitor, &path, &[encoding]).await;
            let etag = page.header("etag").unwrap().to_owned();
            let known = from_memory(&app, &visitor, &path, &[encoding, ("if-none-match", &etag)]).await;
            known.assert_status(304);
            assert_eq!((known.header("etag"), known.bytes.len()), (Some(&*etag), 0));
            assert_eq!(known.header("cache-control"), Some("private, no-cache"));
            let other = from_memory(&app, &visitor, &path, &[encoding, ("if-none-match", "\"other\"")]).await;
            other.assert_status(200);
            // The page in another theme is another one.
            let dark = from_memory(&app, &visitor, &path, &[encoding, ("cookie", "theme=dark"), ("if-none-match", &etag)]).await;
            dark.assert_status(200);
        }
        let detail = from_memory(&app, &visitor, &urls::detail(question.id), &[]).await;
        assert_eq!(detail.header("etag"), None);
    }

    async fn own_changes_are_shown_at_once(app: TestApp) {
        let question = app.question("Best season?", &["Summer", "Winter"]).await;
        let (visitor, admin) = (app.visitor(), app.superuser().await);
        let page = visitor.get(urls::detail(question.id)).await;
        let anonymous = app.visitor();
        for votes in 1..=20 {
            from_memory(&app, &anonymous, &urls::results(question.id), &[]).await;
            from_memory(&app, &anonymous, urls::INDEX, &[]).await;
            visitor.submit(&page, &[("choice", &question.choices[0].to_string())]).await.assert_status(302);
            let text = if votes == 1 { "1 vote<".to_owned() } else { format!("{votes} votes<") };
            for client in [&visitor, &anonymous] {
                client.get(urls::results(question.id)).await.assert_contains(&text);
                client.get(urls::INDEX).await.assert_contains(&text);
            }
        }
        for text in ["Best food?", "Best drink?", "Best bread?"] {
            for path in [urls::INDEX.to_owned(), urls::detail(question.id)] {
                from_memory(&app, &anonymous, &path, &[]).await;
            }
            let form = admin.form(format!("/admin/polls_app/question/{}/change/", question.id), "object-form").await;
            form.set("question_text", text).submit(&admin).await.assert_status(302);
            for path in [urls::INDEX.to_owned(), urls::detail(question.id), urls::results(question.id)] {
                anonymous.get(path).await.assert_contains(text);
            }
        }
        let form = admin.form(format!("/admin/polls_app/question/{}/delete/", question.id), "submit-row").await;
        from_memory(&app, &anonymous, &urls::detail(question.id), &[]).await;
        form.submit(&admin).await.assert_status(302);
        anonymous.get(urls::detail(question.id)).await.assert_status(404);
        anonymous.get(urls::INDEX).await.assert_contains("No polls are available.");
    }

    async fn changes_of_others_are_shown_within_a_second(app: TestApp) {
        let question = app.question("Best season?", &["Summer", "Winter"]).await;
        let other = app.question("Best food?", &["Bread"]).await;
        let (visitor, db) = (app.visitor(), app.database.connect().await);
        let (id, results) = (question.id, urls::results(question.id));
        let (summer, winter) = (question.choices[0], question.choices[1]);
        for (sql, path, text) in [
            (format!("UPDATE polls_app_choice SET votes = 41 WHERE id = {summer}"), &*results, "41 votes<"),
            (format!("UPDATE polls_app_question SET question_text = 'Worst season?' WHERE id = {id}"), &results, "Worst season?"),
            (format!("UPDATE polls_app_choice SET votes = 55 WHERE id = {winter}"), urls::INDEX, "96 votes<"),
            (format!("UPDATE polls_app_choice SET question_id = {} WHERE id = {winter}", other.id), &results, "data-votes>41 votes<"),
            (format!("INSERT INTO polls_app_choice (choice_text, votes, question_id) VALUES ('Spring', 3, {id})"), &results, "Spring"),
            (format!("DELETE FROM polls_app_choice WHERE question_id = {id}"), &results, "no choices yet"),
            (format!("UPDATE polls_app_question SET pub_date = '2030-01-01 00:00:00' WHERE id = {id}"), &results, "Not Found"),
            (format!("UPDATE polls_app_choice SET votes = 0; DELETE FROM polls_app_choice; DELETE FROM polls_app_question WHERE id = {}", other.id),
                urls::INDEX, "No polls are available."),
        ] {
            from_memory(&app, &visitor, path, &[]).await.assert_lacks(text);
            execute(&db, &sql).await;
            assert_shown_in_time(&visitor, path, text).await;
        }
        // A transaction that changes more questions than a notification names.
        for number in 1..=3 {
            from_memory(&app, &visitor, urls::INDEX, &[]).await;
            let rows: Vec<_> = (0..600).map(|row| format!("({}, 'Text {number}?', '2026-11-20 08:00:00')", 10_000 * number + row)).collect();
            let last = 10_000 * number + 599;
            execute(&db, &format!(
                "INSERT INTO polls_app_question (id, question_text, pub_date) VALUES {}; \
                 INSERT INTO polls_app_choice (choice_text, votes, question_id) VALUES ('a', 0, {last})", rows.join(", "),
            )).await;
            assert_shown_in_time(&visitor, urls::INDEX, &format!("Text {number}?")).await;
        }
        db.close().await;
    }

    async fn a_page_is_rendered_once_for_many_requests(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let path = urls::results(question.id);
        from_memory(&app, &app.visitor(), &path, &[]).await;
        let counters = app.site.pages.counters();
        let (renders, hits) = (counters.renders.get(), counters.hits.get());
        app.site.pages.changed(question.id);
        let requests = (0..64).map(|_| { let client = app.visitor(); let path = path.clone(); async move { client.get(path).await } });
        for reply in futures_util::future::join_all(requests).await {
            reply.assert_status(200);
        }
        assert_eq!((counters.renders.get() - renders, counters.hits.get() - hits), (1, 63));
    }

    async fn a_page_that_is_too_large_for_the_memory_is_served(app: TestApp) {
        let small = Settings { page_cache_size: 1024 * 1024, ..settings(&app.database) };
        let (site, visitor) = other_server(small, now).await;
        let texts: Vec<_> = (0..3000).map(|number| format!("{number} {}", "c".repeat(180))).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let large = app.question("Large?", &texts).await;
        let results = urls::results(large.id);
        let start = Instant::now();
        while site.pages.counters().hits.get() < 3 {
            assert!(start.elapsed() < TIMEOUT);
            visitor.get(&results).await.assert_status(200).assert_contains("2999 ccc");
            visitor.get(urls::INDEX).await.assert_status(200);
        }
        let hits = site.pages.counters().hits.get();
        for _ in 0..3 {
            visitor.get(&results).await.assert_contains("2999 ccc");
        }
        assert_eq!(site.pages.counters().hits.get(), hits);
        // Not each request renders it for the memory, one after the other.
        let renders = site.pages.counters().renders.get();
        futures_util::future::join_all((0..8).map(|_| visitor.get(&results))).await;
        let renders = site.pages.counters().renders.get() - renders;
        assert!(renders < 8, "{renders} of 8 requests have rendered it for the memory");
    }
}

/// Seconds that the clock of [`later`] is ahead of [`now`].
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn later() -> DateTime<Utc> {
    now() + TimeDelta::seconds(AHEAD.load(Ordering::SeqCst))
}

#[tokio::test]
async fn texts_change_with_the_time() {
    let app = TestApp::new(crate::support::Backend::Sqlite).await;
    app.question_at("Old?", now() - TimeDelta::minutes(30), &["a"])
        .await;
    app.question_at("New?", now() + TimeDelta::seconds(90), &["a"])
        .await;
    app.question_at("Without choices?", now() + TimeDelta::seconds(30), &[])
        .await;
    let (site, client) = other_server(settings(&app.database), later).await;
    let hits = || site.pages.counters().hits.get();
    for (seconds, present, absent) in [
        (0, "30 minutes ago", "New?"),
        (59, "30 minutes ago", "New?"),
        (60, "31 minutes ago", "New?"),
        (89, "31 minutes ago", "New?"),
        (90, "New?", "30 minutes ago"),
        // A clock that was set back.
        (10, "30 minutes ago", "New?"),
    ] {
        AHEAD.store(seconds, Ordering::SeqCst);
        let (start, before) = (Instant::now(), hits());
        while hits() < before + 3 {
            assert!(start.elapsed() < TIMEOUT, "not in memory");
            client
                .get(urls::INDEX)
                .await
                .assert_contains(present)
                .assert_lacks(absent);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
