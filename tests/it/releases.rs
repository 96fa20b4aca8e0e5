//! Django's security releases since 2018, as far as they concern what this site does. Each is a request, or a few, that
//! once did harm.
//!
//! | release | here |
//! |---|---|
//! | CVE-2018-6188, CVE-2024-39329, CVE-2025-13473 | `the_login_does_not_reveal_usernames` |
//! | CVE-2018-14574, CVE-2021-32052, CVE-2025-27556 | `redirects_stay_on_the_same_site` |
//! | CVE-2018-16984 | `password_hashes_are_not_shown` |
//! | CVE-2019-3498, CVE-2020-13596, CVE-2022-22818 | `input_is_escaped_or_not_echoed` |
//! | CVE-2019-6975, CVE-2019-14235, CVE-2023-41164, CVE-2024-56374 | `odd_paths_and_numbers_are_handled_quickly` |
//! | CVE-2019-12781 | `plain_http_behind_a_proxy_redirects_to_https` |
//! | CVE-2019-14234, CVE-2021-35042, CVE-2022-28346, CVE-2022-34265, CVE-2025-57833, CVE-2025-64459 | `parameters_cannot_inject_sql` |
//! | CVE-2019-19118 | `view_permission_does_not_save_inline_rows` |
//! | CVE-2021-23336 | `a_semicolon_does_not_separate_parameters` |
//! | CVE-2021-33571 | `an_ip_address_with_leading_zeros_is_invalid` |
//! | CVE-2021-44420 | `a_newline_at_the_end_of_a_path_is_not_ignored` |
//! | CVE-2021-45115, CVE-2023-46695 | `long_passwords_and_names_are_refused_quickly` |
//! | CVE-2022-23833, CVE-2023-24580, CVE-2025-14550 | `uploads_are_refused_and_repeated_headers_do_no_harm` |
//! | CVE-2023-36053 | `long_email_addresses_are_validated_quickly` |
//! | CVE-2025-48432 | `server::observability::input_is_escaped_in_the_log` |
//!
//! Not here, because there is nothing of the kind: urlize, truncation and stripping of tags (CVE-2018-7536 and -7537, CVE-2019-14232
//! and -14233, CVE-2023-43665, CVE-2024-27351, -38875, -41989, -41990, -45230, -53907, CVE-2025-26699, -32873), uploads and
//! archives, GIS, JSON fields, password reset by mail, languages, memcached, XML.

use std::time::{Duration, Instant};

use polls::entities::user;
use sea_orm::EntityTrait;

use crate::support::{
    Backend, Form, TestApp, TestDatabase,
    app::{Kind, PASSWORD, settings},
    assert_within,
};

async fn with_https() -> TestApp {
    let database = TestDatabase::migrated(Backend::Sqlite).await;
    let mut settings = settings(&database);
    settings.security.headers.ssl_redirect = true;
    TestApp::with_settings(database, settings).await
}

on_both_databases! {
    async fn the_login_does_not_reveal_usernames(app: TestApp) {
        app.add_user("editor", Kind::Staff, &[]).await;
        app.add_user("outsider", Kind::NonStaff, &[]).await;
        let mut answers = Vec::new();
        for (name, password) in [("nobody", PASSWORD), ("editor", "wrong"), ("outsider", PASSWORD), ("outsider", "wrong")] {
            let reply = app.visitor().log_in(name, password).await;
            reply.assert_status(200);
            // The page repeats the name, and has a token and an id of its own.
            let text = reply.between("<main", "</main>").replace(name, "NAME");
            let token = reply.csrf_token();
            answers.push(text.replace(&token, "TOKEN"));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    }

    async fn parameters_cannot_inject_sql(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let admin = app.superuser().await;
        let list = "/admin/polls_app/question/";
        let get = async |query: &str| admin.get(format!("{list}?{}", query.replace(' ', "%20"))).await;
        // What is not a column is ignored, and a search finds nothing.
        for query in [
            "o=1;DROP TABLE polls_app_question", "o=-1.1'--", "o=question_text", "o=99999999999999999999", "o=0.1.1.1.1",
            "question_text__startswith=x", "q=' OR 1=1 --", "q=%25_\\", "q=%00", "all=' OR 1",
        ] {
            get(query).await.assert_status(200);
        }
        for query in [
            "question_text') OR 1=1--=x", "id__exact=1 OR 1=1", "_connector=OR 1=1 OR", "_negated=1",
            "pub_date__year=2026' OR '1'='1", "pub_date__gte=2026-01-01'; DELETE FROM auth_user--", "pub_date__day=1&pub_date__x=1",
            "p=-1", "p=1 OR 1", "choice__votes__gt=0", "dates=x'", "pub_date__kind=year') --",
        ] {
            get(query).await.assert_redirect(302, &format!("{list}?e=1"));
        }
        let reply = admin.get(format!("/polls/{}/", question.id)).await;
        reply.assert_status(200);
    }

    async fn view_permission_does_not_save_inline_rows(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let editor = app.staff(&["polls_app.view_question", "polls_app.change_choice", "polls_app.view_choice"]).await;
        let address = format!("/admin/polls_app/question/{}/change/", question.id);
        let page = editor.get(&address).await;
        page.assert_status(200);
        let secret = editor.cookie("csrftoken").unwrap_or_else(|| "s".repeat(32));
        editor.set_cookie("csrftoken", &secret);
        let id = question.choices[0].to_string();
        let fields = [
            ("csrfmiddlewaretoken", &*secret), ("choice_set-TOTAL_FORMS", "1"), ("choice_set-INITIAL_FORMS", "1"),
            ("choice_set-0-id", &id), ("choice_set-0-choice_text", "Winter"), ("choice_set-0-votes", "1000"),
        ];
        editor.post(&address, &fields, &[]).await.assert_status(403);
        assert_eq!(app.votes(question.choices[0]).await, 0);
    }

    async fn password_hashes_are_not_shown(app: TestApp) {
        let id = app.add_user("target", Kind::Staff, &[]).await;
        let viewer = app.staff(&["auth.view_user"]).await;
        let page = viewer.get(format!("/admin/auth/user/{id}/change/")).await;
        page.assert_status(200);
        let user = user::Entity::find_by_id(id).one(app.site.core.db.write()).await.unwrap().unwrap();
        let hash = user.password.rsplit('$').next().unwrap();
        assert!(hash.len() > 20);
        page.assert_lacks(hash).assert_lacks(&polls::templates::escape(hash));
    }
}

#[tokio::test]
async fn redirects_stay_on_the_same_site() {
    let app = TestApp::new(Backend::Sqlite).await;
    let visitor = app.visitor();
    for path in [
        "//evil.example",
        "//evil.example/polls",
        "/%2Fevil.example",
        "/\\evil.example",
        "//evil.example/%2e%2e",
    ] {
        let reply = visitor.get(path).await;
        assert_eq!(reply.assert_status(404).header("location"), None, "{path}");
    }
    app.add_user("admin", Kind::Superuser, &[]).await;
    for next in [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/x\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "ⅰ://evil",
        "/\tx",
    ] {
        let visitor = app.visitor();
        let form: Form = visitor.form("/admin/login/", "login-form").await;
        let reply = form
            .set("username", "admin")
            .set("password", PASSWORD)
            .set("next", next)
            .submit(&visitor)
            .await;
        reply.assert_redirect(302, "/admin/");
        assert!(
            reply
                .headers
                .get_all("set-cookie")
                .iter()
                .all(|cookie| !cookie.to_str().unwrap().starts_with("a="))
        );
    }
}

#[tokio::test]
async fn input_is_escaped_or_not_echoed() {
    let app = TestApp::new(Backend::Sqlite).await;
    let visitor = app.visitor();
    visitor
        .get("/The%20site%20has%20moved%20to%20evil.example")
        .await
        .assert_status(404)
        .assert_lacks("evil.example");
    let admin = app.superuser().await;
    let evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let list = "/admin/polls_app/question/";
    for (client, path, status) in [
        (&admin, format!("{list}?q={evil}"), 200),
        (&admin, format!("{list}?pub_date__gte={evil}"), 302),
        (
            &admin,
            format!("{list}add/?_changelist_filters={evil}&question_text={evil}"),
            200,
        ),
        (&visitor, format!("/admin/login/?next={evil}"), 200),
        (&admin, format!("/admin/{evil}/"), 404),
        (&visitor, format!("/polls/{evil}/"), 404),
    ] {
        let reply = client.get(&path).await;
        reply.assert_status(status).assert_lacks("<script>alert");
    }
}

#[tokio::test]
async fn odd_paths_and_numbers_are_handled_quickly() {
    let app = TestApp::new(Backend::Sqlite).await;
    let admin = app.superuser().await;
    let start = Instant::now();
    let nines = "9".repeat(4000);
    let list = "/admin/polls_app/question/";
    for (path, status) in [
        (format!("/{}", "%ff".repeat(1300)), 404),
        ("/polls/%ff/".to_owned(), 404),
        (format!("/polls/{nines}/"), 404),
        (format!("/polls/1e{}/", &nines[..100]), 404),
        (format!("/polls/-{}/", "0".repeat(4000)), 404),
        (format!("{list}?p={nines}"), 302),
        (format!("{list}{nines}/change/"), 302),
        (format!("{list}?pub_date__year={nines}"), 302),
    ] {
        admin.get(&path).await.assert_status(status);
    }
    let forwarded = "1:".repeat(4000);
    admin
        .get_with("/polls/", &[("x-forwarded-for", &forwarded)])
        .await
        .assert_status(200);
    assert_within(start, Duration::from_secs(3));
}

#[tokio::test]
async fn plain_http_behind_a_proxy_redirects_to_https() {
    let app = with_https().await;
    let visitor = app.visitor();
    visitor
        .get("/polls/?a=b")
        .await
        .assert_redirect(301, "https://testserver/polls/?a=b");
    visitor
        .get_with("/polls/", &[("x-forwarded-proto", "http")])
        .await
        .assert_redirect(301, "https://testserver/polls/");
    visitor
        .get_with("/polls/", &[("x-forwarded-proto", "https")])
        .await
        .assert_status(200);
    // Probes have no name to be led to.
    visitor.get("/livez").await.assert_status(200);
}

#[tokio::test]
async fn a_semicolon_does_not_separate_parameters() {
    let app = TestApp::new(Backend::Sqlite).await;
    let question = app.question("Best season?", &["Summer"]).await;
    let visitor = app.visitor();
    let page = visitor.get(format!("/polls/{}/", question.id)).await;
    let reply = visitor
        .submit(
            &page,
            &[("a", &format!("1;choice={}", question.choices[0]))],
        )
        .await;
    reply
        .assert_status(200)
        .assert_contains("You didn&#x27;t select a choice.");
}

#[tokio::test]
async fn an_ip_address_with_leading_zeros_is_invalid() {
    let app = TestApp::new(Backend::Sqlite).await;
    app.add_user("editor", Kind::Staff, &[]).await;
    let visitor = app.visitor();
    // Failures are counted against the proxy, not against a made-up address that some would read as another.
    for number in 0..6 {
        let form = visitor
            .form("/admin/login/", "login-form")
            .await
            .set("username", "editor")
            .set("password", "wrong");
        let address = format!("0177.0.0.{number:03}");
        let reply = form
            .submit_with(&visitor, &[("x-forwarded-for", &address)])
            .await;
        reply.assert_status(if number < 5 { 200 } else { 429 });
    }
}

#[tokio::test]
async fn a_newline_at_the_end_of_a_path_is_not_ignored() {
    let app = TestApp::new(Backend::Sqlite).await;
    let question = app.question("Best season?", &["Summer"]).await;
    for path in [
        format!("/polls/{}/%0a", question.id),
        format!("/polls/{}%0a/", question.id),
        "/livez%0a".to_owned(),
    ] {
        app.visitor().get(&path).await.assert_status(404);
    }
    app.visitor()
        .get("/admin/%0a")
        .await
        .assert_redirect(302, "/admin/login/?next=/admin/%250a");
}

#[tokio::test]
async fn long_passwords_and_names_are_refused_quickly() {
    let app = TestApp::new(Backend::Sqlite).await;
    app.add_user("editor", Kind::Staff, &[]).await;
    let start = Instant::now();
    let visitor = app.visitor();
    visitor
        .log_in("editor", &"x".repeat(1_000_000))
        .await
        .assert_status(200);
    visitor
        .log_in(&"¾".repeat(300_000), "x")
        .await
        .assert_status(200);
    let admin = app.superuser().await;
    let form = admin.form("/admin/password_change/", "narrow").await;
    let long = "editor".repeat(100_000);
    form.set("old_password", PASSWORD)
        .set("new_password1", &long)
        .set("new_password2", &long)
        .submit(&admin)
        .await
        .assert_status(200);
    assert_within(start, Duration::from_secs(5));
}

#[tokio::test]
async fn uploads_are_refused_and_repeated_headers_do_no_harm() {
    let app = TestApp::new(Backend::Sqlite).await;
    let visitor = app.visitor();
    let token = "s".repeat(32);
    visitor.set_cookie("csrftoken", &token);
    let headers = [
        ("content-type", "multipart/form-data; boundary=x"),
        ("x-csrftoken", &*token),
    ];
    let body = "--x\r\nContent-Disposition: form-data; name=a\r\n".repeat(1000);
    visitor
        .request(poem::http::Method::POST, "/polls/1/vote/", &headers, &body)
        .await
        .assert_status(415);
    let repeated = vec![("x-forwarded-for", "1.1.1.1"); 90];
    visitor
        .get_with("/polls/", &repeated)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn long_email_addresses_are_validated_quickly() {
    let app = TestApp::new(Backend::Sqlite).await;
    let id = app.add_user("target", Kind::Staff, &[]).await;
    let admin = app.superuser().await;
    let start = Instant::now();
    let form = admin
        .form(format!("/admin/auth/user/{id}/change/"), "object-form")
        .await;
    let long = format!("{}@{}", "a.".repeat(50_000), "b.".repeat(50_000));
    form.set("email", &long)
        .submit(&admin)
        .await
        .assert_status(200);
    assert_within(start, Duration::from_secs(5));
}
