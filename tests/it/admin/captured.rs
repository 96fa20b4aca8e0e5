//! The requests captured from Django's admin, one by one: the same status, the same redirect,
//! the same cookies and the same log entries.

use chrono::TimeDelta;
use poem::http::Method;
use polls::{auth::hashers, auth::users};
use sea_orm::{ConnectionTrait, Statement};

use crate::support::{
    TestApp,
    app::{Kind, now},
    captured,
};

/// What has no counterpart here: a catalogue for Django's scripts.
const LEFT_OUT: [&str; 1] = ["jsi18n"];

on_both_databases! {
    async fn responses_match_those_captured_from_django(app: TestApp) {
        let http: serde_json::Value = serde_json::from_str(&captured("http.json")).unwrap();
        let first = app.question_at("What's up? <b>&\" ünï 🎉", now() - TimeDelta::days(1), &["Not much", "The sky", "Just hacking again"]).await;
        for (choice, votes) in first.choices.iter().zip([0, 1, 2]) {
            app.set_votes(*choice, votes).await;
        }
        app.question_at("Future", now() + TimeDelta::days(30), &[]).await;
        app.question_at("No choices", now() - TimeDelta::days(2), &[]).await;
        app.add_user("admin", Kind::Superuser, &[]).await;
        let tx = app.site.core.db.write().begin().await.unwrap();
        let id = users::find(&tx, "admin").await.unwrap().unwrap().id;
        users::set_password(&tx, id, hashers::make_password("123abcde", 1000)).await.unwrap();
        tx.commit().await.unwrap();

        let visitor = app.visitor();
        let mut seen = 0;
        let requests = http["requests"].as_array().unwrap().iter();
        for request in requests.filter(|request| request["path"].as_str().unwrap().starts_with("/admin")) {
            let text = |name: &str| request[name].as_str().unwrap_or_default();
            let label = text("label");
            if LEFT_OUT.contains(&label) {
                continue;
            }
            // The token of the cookie is as good as a page's.
            let body = text("request_body").replace("(token)", &visitor.cookie("csrftoken").unwrap_or_default());
            let method: Method = text("method").parse().unwrap();
            let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("content-type", "application/x-www-form-urlencoded")] };
            let reply = visitor.request(method, text("path"), headers, &body).await;
            assert_eq!(u64::from(reply.status.as_u16()), request["status"].as_u64().unwrap(), "{label}: {}", reply.text());
            let expected = |name: &'static str| {
                let pairs = request["headers"].as_array().unwrap().iter();
                pairs.filter(move |pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap())
            };
            assert_eq!(reply.header("location"), expected("Location").next(), "{label}");
            assert_eq!(reply.header("allow"), expected("Allow").next(), "{label}");
            let is_error_or_hop = reply.status.as_u16() == 301 || reply.status.is_client_error();
            if !is_error_or_hop {
                // Django leaves it out of the page for one's own password only.
                let cached = reply.header("cache-control");
                assert_eq!(cached, Some("max-age=0, no-cache, no-store, must-revalidate, private"), "{label}");
            }
            let names = |cookie: &str| cookie.split(['=', ';']).next().unwrap().to_owned() + if cookie.contains("Max-Age=0;") { " deleted" } else { "" };
            let mut theirs: Vec<String> = expected("Set-Cookie").map(names).collect();
            let mut ours: Vec<String> = reply.headers.get_all("set-cookie").iter().map(|value| names(value.to_str().unwrap())).collect();
            // Django has no link to the admin on public pages, no pages in memory, and no forms on its error pages.
            ours.retain(|name| !name.starts_with("polls_user") && name != "polls_recent" && (name != "csrftoken" || !reply.status.is_client_error() || theirs.contains(name)));
            theirs.sort();
            ours.sort();
            assert_eq!(ours, theirs, "{label}");
            seen += 1;
        }
        assert!(seen > 25, "{seen}");

        let db = app.site.core.db.write();
        let sql = "SELECT action_flag, object_id, object_repr, change_message FROM django_admin_log ORDER BY id";
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        let entries = http["log_entries_written"].as_array().unwrap();
        assert_eq!(rows.len(), entries.len());
        for (row, entry) in rows.iter().zip(entries) {
            let text = |name: &str| row.try_get::<String>("", name).unwrap();
            assert_eq!(i64::from(row.try_get::<i16>("", "action_flag").unwrap()), entry["action_flag"].as_i64().unwrap());
            for name in ["object_id", "object_repr", "change_message"] {
                assert_eq!(text(name), entry[name].as_str().unwrap());
            }
        }
    }
}
