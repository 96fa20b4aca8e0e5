//! The read API.

use chrono::TimeDelta;
use polls::{
    entities::question_options::{Model as Options, Policy, ResultsShown},
    polls_app::urls,
};
use serde_json::{Value, json};

use crate::support::{
    Backend, Reply, TestApp, TestDatabase,
    app::{add_questions, now, settings},
};

fn json(reply: &Reply) -> Value {
    assert_eq!(
        reply.header("content-type"),
        Some("application/json; charset=utf-8"),
        "{}",
        reply.text()
    );
    serde_json::from_str(reply.text()).unwrap()
}

on_both_databases! {
    async fn a_question_has_its_results_as_far_as_they_may_be_seen(app: TestApp) {
        let question = app.question("<Dinner>?", &["Pizza", "Pasta", "Soup"]).await;
        app.set_votes(question.choices[0], 2).await;
        app.set_votes(question.choices[1], 1).await;
        let path = urls::api_question(question.id);
        let visitor = app.visitor();
        let reply = visitor.get(&path).await;
        assert_eq!(json(&reply), json!({
            "id": question.id, "text": "<Dinner>?", "published": "2026-11-20T11:00:00.123456+00:00", "is_open": true, "max_choices": 1,
            "choices": [
                {"id": question.choices[0], "text": "Pizza", "votes": 2, "percent": 67},
                {"id": question.choices[1], "text": "Pasta", "votes": 1, "percent": 33},
                {"id": question.choices[2], "text": "Soup", "votes": 0, "percent": 0},
            ],
            "votes": 3, "page": format!("http://testserver{}", urls::detail(question.id)),
        }));
        // As pages are cached: asked for again each time, by entity tag.
        assert_eq!(reply.header("cache-control"), Some("private, no-cache"));
        let tag = reply.header("etag").unwrap().to_owned();
        let again = visitor.get_with(&path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status.as_u16(), again.text()), (304, ""));
        app.set_votes(question.choices[2], 1).await;
        visitor.get_with(&path, &[("if-none-match", &tag)]).await.assert_status(200);
        let closes_at = Some((now() + TimeDelta::hours(1)).into());
        app.set_options(question.id, Options { policy: Policy::Browser, results: ResultsShown::AfterClosing, closes_at, max_choices: 2, ..Options::default() }).await;
        // The API ignores the session, also of staff.
        let staff = app.superuser().await;
        for client in [&visitor, &staff] {
            let hidden = json(&client.get(&path).await);
            assert_eq!((&hidden["votes"], &hidden["choices"][0]["votes"], &hidden["choices"][0]["percent"]), (&Value::Null, &Value::Null, &Value::Null));
            assert_eq!(hidden["hidden"], "The results appear here when voting ends: Nov. 20, 2026, 13:00 UTC.");
            assert_eq!((&hidden["max_choices"], &hidden["closes"]), (&2.into(), &"2026-11-20T13:00:00.123456+00:00".into()));
        }
        let listed = json(&visitor.get(urls::API_QUESTIONS).await);
        assert_eq!(listed["questions"][0]["votes"], Value::Null);
    }

    async fn the_list_has_pages_and_a_search(app: TestApp) {
        add_questions(app.site.core.db.write(), 45).await;
        let visitor = app.visitor();
        let mut path = urls::API_QUESTIONS.to_owned();
        let mut ids = Vec::new();
        loop {
            let page = json(&visitor.get(&path).await);
            ids.extend(page["questions"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()));
            assert_eq!(page["newer"].is_null(), ids.len() <= 20);
            match page["older"].as_str() {
                Some(older) => older.strip_prefix("http://testserver").unwrap().clone_into(&mut path),
                None => break,
            }
        }
        assert_eq!(ids, (1..=45).collect::<Vec<_>>());
        let last = json(&visitor.get(&path).await);
        let newer = last["newer"].as_str().unwrap().strip_prefix("http://testserver").unwrap();
        let page = json(&visitor.get(newer).await);
        assert_eq!(page["questions"][0]["id"], 21);
        let found = json(&visitor.get(format!("{}?q=question+45", urls::API_QUESTIONS)).await);
        assert_eq!(found["questions"], json!([{
            "id": 45, "text": "Question 45", "published": "2026-11-19T23:15:00+00:00", "choices": 2, "votes": 3,
            "url": "http://testserver/polls/api/v1/questions/45", "page": "http://testserver/polls/45/",
        }]));
        assert_eq!(json(&visitor.get(format!("{}?show=closed", urls::API_QUESTIONS)).await)["questions"], json!([]));
    }

    async fn errors_are_json(app: TestApp) {
        app.question_at("Later?", now() + TimeDelta::hours(1), &["A"]).await;
        let visitor = app.visitor();
        let list = urls::API_QUESTIONS;
        for (path, status, advice) in [
            (urls::api_question(1), 404, "There is no such question, or it is not published."),
            (urls::api_question(99), 404, "There is no such question"),
            (format!("{list}/x"), 404, "There is no such question"),
            (format!("{list}/99999999999"), 404, "There is no such question"),
            (format!("{list}?show=all"), 400, "A parameter is invalid. They are described at /polls/api/v1/."),
            (format!("{list}?after=x"), 400, "A parameter is invalid."),
            (format!("{list}/"), 404, "There is nothing at this address."),
            (format!("{list}/1/"), 404, "There is nothing at this address."),
            ("/polls/api/v1/nothing".to_owned(), 404, "There is nothing at this address."),
        ] {
            let reply = visitor.get(&path).await;
            reply.assert_status(status);
            let error = json(&reply);
            assert_eq!(error["status"], status);
            assert!(error["advice"].as_str().unwrap().starts_with(advice), "{path}: {error}");
        }
        let reply = visitor.post(list, &[], &[]).await;
        assert_eq!((json(&reply)["status"].clone(), reply.header("allow")), (405.into(), Some("GET, HEAD, OPTIONS")));
        let reply = visitor.request(poem::http::Method::HEAD, list, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("application/json; charset=utf-8")));
        visitor.get("/polls/api/v1").await.assert_redirect(301, urls::API);
    }

    async fn the_documentation_is_generated_from_the_code(app: TestApp) {
        let visitor = app.visitor();
        let document = json(&visitor.get(urls::API_SCHEMA).await);
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/polls/api/v1/questions", "/polls/api/v1/questions/{id}"]);
        // What may be missing is not required; errors are described.
        let question = &document["components"]["schemas"]["Question"];
        let required = question["required"].as_array().unwrap();
        assert!(required.contains(&"text".into()) && !required.contains(&"votes".into()) && !required.contains(&"closes".into()), "{question}");
        let responses = |path: &str| document["paths"][path]["get"]["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(responses("/polls/api/v1/questions"), ["200", "400"]);
        assert_eq!(responses("/polls/api/v1/questions/{id}"), ["200", "404"]);
        let page = visitor.get(urls::API).await;
        page.assert_status(200).assert_contains("GET /polls/api/v1/questions/{id}").assert_contains("Lists the published questions")
            .assert_contains("<dt><code>percent</code></dt><dd>The percentage of all votes");
    }
}

#[tokio::test]
async fn other_sites_read_the_api_if_they_are_allowed() {
    for (allowed, origin, expected) in [
        ("", "https://a.example", None),
        ("*", "https://a.example", Some("*")),
        (
            "https://a.example https://b.example",
            "https://b.example",
            Some("https://b.example"),
        ),
        ("https://a.example", "https://b.example", None),
    ] {
        let database = TestDatabase::migrated(Backend::Sqlite).await;
        let mut settings = settings(&database);
        settings.other_sites.api_allowed_origins =
            allowed.split_whitespace().map(str::to_owned).collect();
        let app = TestApp::with_settings(database, settings).await;
        for path in [
            urls::API_QUESTIONS,
            urls::API_SCHEMA,
            &*urls::api_question(99),
        ] {
            let reply = app.visitor().get_with(path, &[("origin", origin)]).await;
            assert_eq!(
                reply.header("access-control-allow-origin"),
                expected,
                "{path}"
            );
            let varies = reply
                .headers
                .get_all("vary")
                .iter()
                .any(|value| value == "Origin");
            assert_eq!(varies, !allowed.is_empty());
        }
        let page = app
            .visitor()
            .get_with(urls::INDEX, &[("origin", origin)])
            .await;
        assert_eq!(page.header("access-control-allow-origin"), None);
    }
}
