//! The polls pages: the tutorial's behaviour, and its texts.

use chrono::TimeDelta;
use poem::http::Method;
use polls::polls_app::urls;

use crate::support::{TestApp, app::now};

on_both_databases! {
    async fn an_empty_index_has_a_message(app: TestApp) {
        app.visitor().get("/polls/").await.assert_status(200).assert_contains("No polls are available.");
    }

    async fn the_index_lists_the_latest_five_newest_first(app: TestApp) {
        for age in [3, 1, 7, 2, 5, 6, 4] {
            app.question_at(&format!("{age} days old?"), now() - TimeDelta::days(age), &["a"]).await;
        }
        let page = app.visitor().get("/polls/").await;
        let listed: Vec<&str> = page.text().split("question-link").skip(1).map(|rest| rest.split(['>', '<']).nth(1).unwrap()).collect();
        assert_eq!(listed, [1, 2, 3, 4, 5].map(|age| format!("{age} days old?")));
        page.assert_lacks("No polls are available.");
    }

    async fn the_index_leaves_out_the_future_and_questions_without_choices(app: TestApp) {
        app.question_at("Past?", now(), &["a", "b"]).await;
        app.question_at("Future?", now() + TimeDelta::microseconds(1), &["a"]).await;
        app.question("Mute?", &[]).await;
        let page = app.visitor().get("/polls/").await;
        page.assert_contains("Past?").assert_contains("2 choices").assert_lacks("Future?").assert_lacks("Mute?");
    }

    async fn a_question_published_later_today_is_not_listed(app: TestApp) {
        // On SQLite times are texts. In sea-orm's own form this one would sort behind every time of the same day.
        app.question_at("Tonight?", "2026-11-20T23:00:00Z".parse().unwrap(), &["a"]).await;
        app.question_at("This morning?", "2026-11-20T07:00:00Z".parse().unwrap(), &["a"]).await;
        app.visitor().get("/polls/").await.assert_contains("This morning?").assert_lacks("Tonight?");
    }

    async fn future_questions_are_404_on_all_pages(app: TestApp) {
        let past = app.question("Past?", &["a"]).await;
        let future = app.question_at("Future?", now() + TimeDelta::days(1), &["a"]).await;
        let visitor = app.visitor();
        visitor.get(urls::detail(future.id)).await.assert_status(404).assert_lacks("Future?");
        visitor.get(urls::results(future.id)).await.assert_status(404).assert_lacks("Future?");
        let page = visitor.get(urls::detail(past.id)).await;
        let fields = [("csrfmiddlewaretoken", page.csrf_token()), ("choice", future.choices[0].to_string())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        visitor.post(urls::vote(future.id), &fields, &[]).await.assert_status(404);
        assert_eq!(app.votes(future.choices[0]).await, 0);
    }

    async fn a_vote_is_counted_and_redirects_to_the_results(app: TestApp) {
        let question = app.question("Best season?", &["Summer", "Winter"]).await;
        let visitor = app.visitor();
        let page = visitor.get(urls::detail(question.id)).await;
        page.assert_status(200).assert_contains("Best season?").assert_contains("Summer").assert_contains("Winter");

        let reply = visitor.submit(&page, &[("choice", &question.choices[0].to_string())]).await;
        reply.assert_redirect(302, &urls::results(question.id));
        assert_eq!(app.votes(question.choices[0]).await, 1);
        assert_eq!(app.votes(question.choices[1]).await, 0);

        let results = visitor.get(urls::results(question.id)).await;
        results.assert_contains("1 vote<").assert_contains("0 votes<").assert_contains("100%").assert_contains("Vote again");
        assert!(results.text().contains(&format!("href=\"{}\"", urls::detail(question.id))));
    }

    async fn a_vote_without_a_choice_shows_the_form_again(app: TestApp) {
        let question = app.question("Which?", &["This", "That"]).await;
        let other = app.question("Another?", &["Elsewhere"]).await;
        let visitor = app.visitor();
        let page = visitor.get(urls::detail(question.id)).await;
        page.assert_lacks("select a choice");
        let elsewhere = other.choices[0].to_string();
        let beyond = "99999999999999999999";
        for fields in [&[][..], &[("choice", "")], &[("choice", "abc")], &[("choice", &elsewhere)], &[("choice", beyond)], &[("choice", "-1")]] {
            let reply = visitor.submit(&page, fields).await;
            reply.assert_status(200).assert_contains("You didn&#x27;t select a choice.").assert_contains("This").assert_contains("That");
            // And from there it goes on.
            assert_eq!(reply.between("<form action=\"", "\""), urls::vote(question.id));
            reply.csrf_token();
        }
        assert_eq!(app.votes(other.choices[0]).await, 0);
        assert_eq!(app.votes(question.choices[0]).await, 0);
        // Of a field sent twice, the last counts, as with Django.
        let last = question.choices[1].to_string();
        visitor.submit(&page, &[("choice", "abc"), ("choice", &last)]).await.assert_status(302);
        assert_eq!(app.votes(question.choices[1]).await, 1);
    }

    async fn unknown_questions_are_404(app: TestApp) {
        let question = app.question("Known?", &["a"]).await;
        let visitor = app.visitor();
        for id in ["99", "0", "4294967297", "99999999999999999999", "abc", "-1", "1.5", "%31x"] {
            visitor.get(format!("/polls/{id}/")).await.assert_status(404).assert_contains("Not Found");
            visitor.get(format!("/polls/{id}/results/")).await.assert_status(404);
        }
        visitor.get(format!("/polls/0{}/", question.id)).await.assert_status(200);
        let page = visitor.get(urls::detail(question.id)).await;
        let token = page.csrf_token();
        visitor.post("/polls/99/vote/", &[("csrfmiddlewaretoken", &token), ("choice", "1")], &[]).await.assert_status(404);
    }

    async fn a_missing_slash_is_a_redirect(app: TestApp) {
        let visitor = app.visitor();
        visitor.get("/").await.assert_redirect(302, "/polls/");
        visitor.get("/polls").await.assert_redirect(301, "/polls/");
        visitor.get("/polls/1").await.assert_redirect(301, "/polls/1/");
        visitor.get("/polls/1/results?from=mail&x=%22").await.assert_redirect(301, "/polls/1/results/?from=mail&x=%22");
        visitor.get("/nowhere").await.assert_status(404);
    }

    async fn unsupported_methods_are_405(app: TestApp) {
        let question = app.question("Known?", &["a"]).await;
        let visitor = app.visitor();
        let reply = visitor.get("/theme/").await;
        assert_eq!((reply.assert_status(405).header("allow")), Some("POST, OPTIONS"));
        // Who reloads the page of a vote that was refused.
        visitor.get(urls::vote(question.id)).await.assert_redirect(302, &urls::detail(question.id));
        let page = visitor.get(urls::detail(question.id)).await;
        let token = page.csrf_token();
        let reply = visitor.post("/polls/", &[("csrfmiddlewaretoken", &token)], &[]).await;
        assert_eq!((reply.assert_status(405).header("allow")), Some("GET, HEAD, OPTIONS"));
        let reply = visitor.request(Method::OPTIONS, "/polls/", &[], "").await;
        assert_eq!((reply.assert_status(200).header("allow")), Some("GET, HEAD, OPTIONS"));
    }

    async fn percentages_never_add_up_to_more_than_100(app: TestApp) {
        let question = app.question("Clear?", &["a", "b", "c", "d"]).await;
        for (index, votes) in [(0, 100_000), (1, 1), (2, 1), (3, -26)] {
            app.set_votes(question.choices[index], votes).await;
        }
        let page = app.visitor().get(urls::results(question.id)).await;
        page.assert_contains(">&gt;99%<").assert_contains(">&lt;1%<").assert_contains(">0%<").assert_lacks("-26").assert_contains("100,002 votes");
    }

    async fn favicon_ico_redirects_to_the_icon(app: TestApp) {
        let reply = app.visitor().get("/favicon.ico").await;
        let icon = reply.assert_status(302).header("location").unwrap().to_owned();
        app.visitor().get(icon).await.assert_status(200);
    }

    async fn pages_vary_by_the_theme_cookie(app: TestApp) {
        let question = app.question("Dark?", &["a"]).await;
        for path in ["/polls/".to_owned(), urls::detail(question.id), urls::results(question.id), "/nowhere".to_owned()] {
            let reply = app.visitor().get_with(&path, &[("cookie", "theme=dark")]).await;
            reply.assert_contains("data-bs-theme=\"dark\"");
            let vary: Vec<_> = reply.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
            assert!(vary.contains(&"Cookie"), "{path}: {vary:?}");
        }
    }

    async fn content_types_are_case_insensitive(app: TestApp) {
        let question = app.question("Loud?", &["a"]).await;
        let visitor = app.visitor();
        let token = visitor.get(urls::detail(question.id)).await.csrf_token();
        let body = format!("csrfmiddlewaretoken={token}&choice={}", question.choices[0]);
        for (kind, status) in [("APPLICATION/X-WWW-FORM-URLENCODED", 302), ("application/x-www-form-urlencodedx", 403), ("Multipart/Form-Data; boundary=x", 415)] {
            visitor.request(Method::POST, &urls::vote(question.id), &[("content-type", kind)], &body).await.assert_status(status);
        }
    }

    async fn texts_are_escaped(app: TestApp) {
        let text = r#"What's <b>up</b>? & "so" {{ 7*7 }} ünï 🎉"#;
        let question = app.question(text, &["<script>alert(1)</script>"]).await;
        for path in ["/polls/".to_owned(), urls::detail(question.id), urls::results(question.id)] {
            let page = app.visitor().get(path).await;
            page.assert_status(200).assert_lacks("<script>").assert_lacks("<b>");
            page.assert_contains("What&#x27;s &lt;b&gt;up&lt;/b&gt;? &amp; &quot;so&quot; {{ 7*7 }} ünï 🎉");
        }
    }

    async fn percentages_are_rounded_and_the_leader_is_marked(app: TestApp) {
        let question = app.question("Shares?", &["many", "half", "one", "none"]).await;
        for (choice, votes) in question.choices.iter().zip([12_480, 6_240, 1, 0]) {
            app.set_votes(*choice, votes).await;
        }
        let page = app.visitor().get(urls::results(question.id)).await;
        page.assert_contains("18,721 votes").assert_contains("12,480 votes").assert_contains("67%").assert_contains("33%");
        page.assert_contains("&lt;1%").assert_contains(">0%");
        assert_eq!(page.text().matches("result-leads").count(), 1);
    }

    async fn every_page_has_the_security_headers(app: TestApp) {
        for path in ["/polls/", "/polls/99/", "/static/icon.svg", "/", "/livez"] {
            let reply = app.visitor().get(path).await;
            assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{path}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{path}");
            assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
            let policy = reply.header("content-security-policy").unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        }
    }

    async fn unknown_hosts_are_refused_except_for_probes(app: TestApp) {
        let visitor = app.visitor();
        for host in ["evil.example", "testserver.evil.example", "testserver@evil.example", ""] {
            let reply = visitor.get_with("/polls/", &[("host", host)]).await;
            reply.assert_status(400).assert_contains("Bad Request").assert_lacks("ALLOWED_HOSTS");
        }
        visitor.get_with("/livez", &[("host", "10.0.0.7:8000")]).await.assert_status(200);
        visitor.get_with("/readyz", &[("host", "10.0.0.7:8000")]).await.assert_status(200);
    }

    async fn a_database_without_tables_is_a_503_without_details(app: TestApp) {
        let bare = TestApp::on(crate::support::TestDatabase::empty(app.database.backend).await).await;
        let reply = bare.visitor().get("/polls/").await;
        reply.assert_status(503).assert_contains("has to run “polls migrate”").assert_lacks("polls_app_").assert_lacks("SELECT");
        let reply = bare.visitor().get("/readyz").await;
        assert_eq!(reply.assert_status(503).text(), "migrations are missing: run `polls migrate`\n");
        bare.visitor().get("/livez").await.assert_status(200);
        assert_eq!(app.visitor().get("/readyz").await.assert_status(200).text(), "ok\n");
        app.site.core.draining.cancel();
        app.visitor().get("/readyz").await.assert_status(503);
        app.visitor().get("/polls/").await.assert_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_a_503_with_retry_after() {
    let database = crate::support::TestDatabase::empty(crate::support::Backend::Sqlite).await;
    let mut settings = crate::support::app::settings(&database);
    // Nothing listens on port 1.
    settings.database = polls::settings::DatabaseSettings::from_url(
        "DATABASE_URL",
        "postgres://polls@127.0.0.1:1/polls",
        None,
    )
    .unwrap();
    let app = TestApp::with_settings(database, settings).await;
    let (page, ready) = tokio::join!(async { app.visitor().get("/polls/").await }, async {
        app.visitor().get("/readyz").await
    });
    page.assert_status(503)
        .assert_contains("Service Unavailable");
    assert_eq!(page.header("retry-after"), Some("2"));
    assert_eq!(
        ready.assert_status(503).text(),
        "the database does not answer: the connection is refused\n"
    );
}
