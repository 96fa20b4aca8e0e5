//! Logging in and out, sessions, and limits on failed logins.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use polls::{
    auth::{hashers, users},
    entities::{session, user},
    signing::{Keys, Purpose},
};
use sea_orm::{ActiveValue::Set, EntityTrait, QueryFilter, sea_query::Expr};

use crate::support::{
    Client, TestApp,
    app::{Kind, PASSWORD, now, settings},
};

const WRONG: &str = "Please enter the correct username and password for a staff account. Note that both fields may be case-sensitive.";

async fn sessions(app: &TestApp) -> Vec<session::Model> {
    session::Entity::find()
        .all(app.site.core.db.write())
        .await
        .unwrap()
}

async fn set_password(app: &TestApp, username: &str, encoded: String) {
    let tx = app.site.core.db.write().begin().await.unwrap();
    let id = users::find(&tx, username).await.unwrap().unwrap().id;
    users::set_password(&tx, id, encoded).await.unwrap();
    tx.commit().await.unwrap();
}

on_both_databases! {
    async fn users_who_are_not_staff_log_in_on_the_public_page(app: TestApp) {
        app.add_user("ann", Kind::NonStaff, &[]).await;
        let visitor = app.visitor();
        visitor.get("/polls/").await.assert_contains(">Log in</a>").assert_lacks(">Log out</a>").assert_lacks(">Admin</a>");
        let address = "/accounts/login/?next=/polls/%3Fa%3Db";
        let form = visitor.form(address, "login-form").await;
        form.clone().set("username", "ann").set("password", "wrong").submit(&visitor).await.assert_status(200)
            .assert_contains("Please enter a correct username and password. Note that both fields may be case-sensitive.");
        form.set("username", "ann").set("password", PASSWORD).submit(&visitor).await.assert_redirect(302, "/polls/?a=b");
        visitor.get("/polls/").await.assert_contains(">Log out</a>").assert_lacks(">Admin</a>");
        visitor.get(address).await.assert_redirect(302, "/polls/?a=b");
        visitor.get("/accounts/login/?next=//evil.example/").await.assert_redirect(302, "/");
        visitor.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        let form = visitor.form("/accounts/logout/", "class=\"login\"").await;
        assert_eq!(sessions(&app).await.len(), 1);
        form.submit(&visitor).await.assert_redirect(302, "/");
        assert_eq!(sessions(&app).await.len(), 0);
        visitor.get("/polls/").await.assert_contains(">Log in</a>");
        // Staff get the link to the admin from both logins.
        app.add_user("editor", Kind::Staff, &[]).await;
        let form = visitor.form("/accounts/login/", "login-form").await;
        form.set("username", "editor").set("password", PASSWORD).submit(&visitor).await.assert_redirect(302, "/");
        visitor.get("/polls/").await.assert_contains(">Admin</a>").assert_contains(">Log out</a>");
        visitor.get("/admin/").await.assert_status(200);
    }

    async fn a_login_redirects_to_next(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        let visitor = app.visitor();
        visitor.get("/admin").await.assert_redirect(301, "/admin/");
        let reply = visitor.get("/admin/polls_app/question/?q=a&o=1").await;
        reply.assert_redirect(302, "/admin/login/?next=/admin/polls_app/question/%3Fq%3Da%26o%3D1");
        visitor.get("/admin/nosuch/").await.assert_redirect(302, "/admin/login/?next=/admin/nosuch/");
        let form = visitor.form(reply.header("location").unwrap(), "login-form").await;
        let secret = visitor.cookie("csrftoken").unwrap();
        let reply = form.set("username", "admin").set("password", PASSWORD).submit(&visitor).await;
        reply.assert_redirect(302, "/admin/polls_app/question/?q=a&o=1");
        let cookies: Vec<&str> = reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
        let cookie = cookies.iter().find(|cookie| cookie.starts_with("sessionid=")).unwrap();
        assert!(cookie.ends_with("; expires=Fri, 04 Dec 2026 12:00:00 GMT; HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax"), "{cookie}");
        assert_ne!(visitor.cookie("csrftoken").unwrap(), secret);
        assert_eq!(reply.header("vary"), Some("Cookie"));
        assert_eq!(reply.header("cache-control"), Some("max-age=0, no-cache, no-store, must-revalidate, private"));
        assert!(reply.header("expires").is_some());
        visitor.get("/admin/login/").await.assert_redirect(302, "/admin/");
        let [row] = &sessions(&app).await[..] else { panic!() };
        assert_eq!((row.session_key.len(), *row.expire_date), (32, polls::db::microseconds(now() + TimeDelta::seconds(1_209_600))));
        assert_eq!(Some(row.session_key.clone()), visitor.cookie("sessionid"));
        let found = users::find(app.site.core.db.write(), "admin").await.unwrap().unwrap();
        assert_eq!(found.last_login, Some(now()));
        // A page that only looks writes nothing.
        visitor.get("/admin/").await.assert_status(200);
        assert_eq!(sessions(&app).await, std::slice::from_ref(row));
    }

    async fn next_never_redirects_to_another_site(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        for next in ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "https:evil.example", "\t//evil.example", ""] {
            let visitor = app.visitor();
            let form = visitor.form("/admin/login/", "login-form").await;
            let reply = form.set("username", "admin").set("password", PASSWORD).set("next", next).submit(&visitor).await;
            reply.assert_redirect(302, "/admin/");
        }
        let visitor = app.visitor();
        let form = visitor.form("/admin/login/?next=http://testserver/polls/", "login-form").await;
        form.set("username", "admin").set("password", PASSWORD).submit(&visitor).await.assert_redirect(302, "http://testserver/polls/");
        // As Django's `iri_to_uri`.
        let visitor = app.visitor();
        let form = visitor.form("/admin/login/", "login-form").await;
        let reply = form.set("username", "admin").set("password", PASSWORD).set("next", "/polls/?x=é\"<%C3%A9>&a=b#c").submit(&visitor).await;
        reply.assert_redirect(302, "/polls/?x=%C3%A9%22%3C%C3%A9%3E&a=b#c");
    }

    async fn over_long_input_is_not_echoed(app: TestApp) {
        let visitor = app.visitor();
        let form = visitor.form("/admin/login/", "login-form").await;
        let long = "\"".repeat(300_000);
        let reply = form.set("username", &long).set("password", "x").set("next", &format!("/{long}")).submit(&visitor).await;
        reply.assert_status(200).assert_contains("Ensure this value has at most 150 characters (it has 300000).");
        assert!(reply.bytes.len() < 10_000, "{}", reply.bytes.len());
        let token = reply.csrf_token();
        let next = format!("/{}", "x".repeat(300_000));
        let reply = visitor.post("/theme/", &[("csrfmiddlewaretoken", &token), ("theme", "dark"), ("next", &next)], &[]).await;
        reply.assert_redirect(302, "/");
    }

    async fn failed_old_passwords_are_limited(app: TestApp) {
        let admin = app.superuser().await;
        let guess = async |password: &str, address: &str| {
            let token = admin.get("/admin/password_change/").await.csrf_token();
            let fields = [("csrfmiddlewaretoken", token.as_str()), ("old_password", password), ("new_password1", "Quite-new-91"), ("new_password2", "Quite-new-91")];
            admin.post("/admin/password_change/", &fields, &[("x-forwarded-for", address)]).await
        };
        for number in 0..5 {
            guess("wrong", &format!("203.0.113.{number}")).await.assert_status(200).assert_contains("Your old password was entered incorrectly");
        }
        guess(PASSWORD, "203.0.113.9").await.assert_status(429);
        // Logging in has counts of its own.
        app.logged_in("admin").await;
    }

    async fn inactive_and_unknown_users_get_the_same_error(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        app.add_user("outsider", Kind::NonStaff, &[]).await;
        let sleeper = app.add_user("sleeper", Kind::Superuser, &[]).await;
        let tx = app.site.core.db.write().begin().await.unwrap();
        let update = user::Entity::update_many().col_expr(user::Column::IsActive, Expr::value(false));
        update.filter(user::COLUMN.id.eq(sleeper)).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        for (username, password) in [("admin", "wrong"), ("ADMIN", PASSWORD), ("outsider", PASSWORD), ("sleeper", PASSWORD), ("nobody", PASSWORD)] {
            let reply = app.visitor().log_in(username, password).await;
            reply.assert_status(200).assert_contains(WRONG).assert_contains("Error: Log in").assert_lacks(PASSWORD);
        }
        let reply = app.visitor().log_in("", "").await;
        reply.assert_status(200).assert_contains("Please correct the errors below.").assert_contains("This field is required.");
        assert!(sessions(&app).await.is_empty());
        for (username, password) in [("a\0b", "x"), ("x", "a\0b"), ("x", "y".repeat(5000).as_str())] {
            app.visitor().log_in(username, password).await.assert_status(200).assert_contains(WRONG);
        }
    }

    async fn logging_out_ends_the_session_and_only_by_post(app: TestApp) {
        let admin = app.superuser().await;
        let reply = admin.get("/admin/logout/").await;
        assert_eq!(reply.assert_status(405).header("allow"), Some("POST, OPTIONS"));
        let form = admin.form("/admin/", "logout-form").await;
        let reply = form.submit(&admin).await;
        reply.assert_status(200).assert_contains("Logged out").assert_contains("Log in again");
        let deleted = "=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0;";
        for cookie in ["sessionid", "polls_user"] {
            let mut cookies = reply.headers.get_all("set-cookie").iter();
            assert!(cookies.any(|value| value.to_str().unwrap().starts_with(&format!("{cookie}{deleted}"))), "{cookie}");
        }
        assert!(sessions(&app).await.is_empty());
        admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        form.submit(&admin).await.assert_redirect(302, "/admin/");
    }

    async fn login_rotates_the_session_key(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        app.add_user("other", Kind::Superuser, &[]).await;
        let tx = app.site.core.db.write().begin().await.unwrap();
        let data = app.site.core.settings.security.keys.dumps(&serde_json::json!({"basket": 7}), Purpose::Sessions, now());
        let row = session::ActiveModel {
            session_key: Set("planted0by0somebody0else00000000".to_owned()),
            session_data: Set(data),
            expire_date: Set((now() + TimeDelta::days(1)).into()),
        };
        session::Entity::insert(row).exec_without_returning(&tx).await.unwrap();
        tx.commit().await.unwrap();
        let visitor = app.visitor();
        visitor.set_cookie("sessionid", "planted0by0somebody0else00000000");
        visitor.log_in("admin", PASSWORD).await.assert_redirect(302, "/admin/");
        let [row] = &sessions(&app).await[..] else { panic!() };
        assert_ne!(row.session_key, "planted0by0somebody0else00000000");
        let data = app.site.core.settings.security.keys.loads(&row.session_data, Purpose::Sessions).unwrap();
        assert_eq!((data["basket"].as_i64(), data["_auth_user_backend"].as_str()), (Some(7), Some("django.contrib.auth.backends.ModelBackend")));
        assert!(data["_auth_user_id"].is_string() && data["_auth_user_hash"].as_str().unwrap().len() == 64);
        // The contents of another user's session are not kept.
        let first = row.session_key.clone();
        let page = visitor.get("/polls/").await;
        assert_eq!(page.status.as_u16(), 200);
        let stranger = app.visitor();
        stranger.set_cookie("sessionid", &first);
        let token = stranger.get("/admin/").await.csrf_token();
        let fields = [("csrfmiddlewaretoken", token.as_str()), ("username", "other"), ("password", PASSWORD)];
        stranger.post("/admin/login/", &fields, &[]).await.assert_redirect(302, "/admin/");
        let [row] = &sessions(&app).await[..] else { panic!() };
        let data = app.site.core.settings.security.keys.loads(&row.session_data, Purpose::Sessions).unwrap();
        assert!(row.session_key != first && data.get("basket").is_none());
    }

    async fn a_password_change_ends_all_other_sessions(app: TestApp) {
        let here = app.superuser().await;
        let elsewhere = app.logged_in("admin").await;
        let form = here.form("/admin/password_change/", "class=\"narrow\"").await;
        let fill = |old: &str, new: &str, again: &str| {
            form.clone().set_all(&[("old_password", old), ("new_password1", new), ("new_password2", again)])
        };
        for (old, new, again, error) in [
            ("", "", "", "This field is required."),
            ("wrong", "Quite-new-91", "Quite-new-91", "Your old password was entered incorrectly. Please enter it again."),
            (PASSWORD, "Quite-new-91", "Quite-new-92", "The two password fields didn’t match."),
            (PASSWORD, "12345678", "12345678", "This password is entirely numeric."),
            (PASSWORD, "password", "password", "This password is too common."),
            (PASSWORD, "short", "short", "This password is too short. It must contain at least 8 characters."),
            (PASSWORD, "adminadm", "adminadm", "The password is too similar to the username."),
        ] {
            let reply = fill(old, new, again).submit(&here).await;
            reply.assert_status(200).assert_contains(error).assert_lacks("value=\"Quite");
        }
        let key = here.cookie("sessionid");
        fill(PASSWORD, "Quite-new-91", "Quite-new-91").submit(&here).await.assert_redirect(302, "/admin/password_change/done/");
        assert_ne!(here.cookie("sessionid"), key);
        here.get("/admin/password_change/done/").await.assert_status(200).assert_contains("Your password was changed.");
        elsewhere.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        assert_eq!(elsewhere.cookie("sessionid"), None);
        app.visitor().log_in("admin", PASSWORD).await.assert_contains(WRONG);
        app.visitor().log_in("admin", "Quite-new-91").await.assert_redirect(302, "/admin/");
    }

    async fn sessions_signed_with_a_fallback_key_are_renewed(app: TestApp) {
        let old = { let mut settings = settings(&app.database); settings.security.keys = Keys { current: "older-key".into(), fallbacks: Vec::new() }; settings };
        app.add_user("admin", Kind::Superuser, &[]).await;
        let before = polls::site::Site::build(old, polls::site::admin_site(), now).await.unwrap().router();
        let visitor = Client::new(std::sync::Arc::new(poem::EndpointExt::boxed(before)));
        visitor.log_in("admin", PASSWORD).await.assert_redirect(302, "/admin/");
        let after = app.visitor();
        after.set_cookie("sessionid", &visitor.cookie("sessionid").unwrap());
        after.get("/admin/").await.assert_status(200);
        let [row] = &sessions(&app).await[..] else { panic!() };
        assert_eq!(Some(row.session_key.clone()), after.cookie("sessionid"));
        assert_ne!(visitor.cookie("sessionid"), after.cookie("sessionid"));
        let only_present = Keys { current: "test-secret-key-0123456789".into(), fallbacks: Vec::new() };
        assert!(only_present.loads(&row.session_data, Purpose::Sessions).is_some());
    }

    async fn sessions_end(app: TestApp) {
        let admin = app.superuser().await;
        let key = admin.cookie("sessionid").unwrap();
        let set = async |data: Option<&str>, expire: chrono::DateTime<chrono::Utc>| {
            let tx = app.site.core.db.write().begin().await.unwrap();
            let mut update = session::Entity::update_many().col_expr(session::Column::ExpireDate, Expr::value(expire));
            if let Some(data) = data {
                update = update.col_expr(session::Column::SessionData, Expr::value(data));
            }
            update.exec(&tx).await.unwrap();
            tx.commit().await.unwrap();
        };
        set(None, now() - TimeDelta::seconds(1)).await;
        admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        admin.set_cookie("sessionid", &key);
        set(None, now() + TimeDelta::days(1)).await;
        admin.get("/admin/").await.assert_status(200);
        // A session that is not signed with the key is an empty session.
        set(Some("eyJhIjoxfQ:1r31eq:forged"), now() + TimeDelta::days(1)).await;
        admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        for cookie in ["short", "'; DROP TABLE django_session; --", &"x".repeat(500)] {
            admin.set_cookie("sessionid", cookie);
            admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        }
    }

    async fn old_password_hashes_are_upgraded_at_login(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        for old in [hashers::pbkdf2_sha256(PASSWORD, "seasalt", 1000), hashers::pbkdf2_sha256(PASSWORD, "saltsaltsaltsaltsaltsa", 10)] {
            set_password(&app, "admin", old.clone()).await;
            let visitor = app.logged_in("admin").await;
            let renewed = users::find(app.site.core.db.write(), "admin").await.unwrap().unwrap().password;
            assert!(renewed != old && renewed.starts_with("pbkdf2_sha256$1000$"), "{renewed}");
            // The session is that of the new hash.
            visitor.get("/admin/").await.assert_status(200);
        }
        for unusable in ["!", "!whatever", "", "plain", "nosuch$1$2$3"] {
            set_password(&app, "admin", unusable.to_owned()).await;
            app.visitor().log_in("admin", unusable).await.assert_status(200);
            set_password(&app, "admin", hashers::make_password(PASSWORD, 1000)).await;
            app.visitor().log_in("admin", PASSWORD).await.assert_redirect(302, "/admin/");
        }
    }

    async fn unknown_cookies_are_ignored(app: TestApp) {
        let admin = app.superuser().await;
        let session = admin.cookie("sessionid").unwrap();
        for cookies in [format!("x=é; sessionid={session}"), format!("sessionid=\"{session}\""), format!("sessionid=other; sessionid={session}; ;=;a")] {
            app.visitor().get_with("/admin/", &[("cookie", &cookies)]).await.assert_status(200);
        }
    }

    async fn users_without_staff_status_are_offered_another_login(app: TestApp) {
        let admin = app.superuser().await;
        let tx = app.site.core.db.write().begin().await.unwrap();
        user::Entity::update_many().col_expr(user::Column::IsStaff, Expr::value(false)).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        admin.get("/admin/login/?next=/admin/").await.assert_contains("You are authenticated as").assert_contains("not authorized to access this page");
    }

    async fn staff_can_preview_unpublished_questions(app: TestApp) {
        let question = app.question_at("Tomorrow?", now() + TimeDelta::days(1), &["A"]).await;
        let path = polls::polls_app::urls::detail(question.id);
        app.visitor().get(&path).await.assert_status(404);
        let staff = app.staff(&[]).await;
        staff.get(&path).await.assert_status(200).assert_contains("Tomorrow?").assert_contains("Preview: visitors see this from").assert_contains("Nov. 21, 2026, 12:00 UTC").assert_lacks("type=\"submit\">Vote");
        staff.get(polls::polls_app::urls::results(question.id)).await.assert_status(200);
        for page in [path.clone(), polls::polls_app::urls::results(question.id)] {
            let reply = staff.get(page).await;
            assert_eq!(reply.header("cache-control"), Some("max-age=0, no-cache, no-store, must-revalidate, private"));
        }
        staff.get("/polls/").await.assert_lacks("Tomorrow?");
        let tx = app.site.core.db.write().begin().await.unwrap();
        user::Entity::update_many().col_expr(user::Column::IsStaff, Expr::value(false)).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        staff.get(&path).await.assert_status(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_takes_the_same_time() {
    let backend = crate::support::Backend::Sqlite;
    let database = crate::support::TestDatabase::migrated(backend).await;
    let mut settings = settings(&database);
    settings.security.password_iterations = 8_000;
    let app = TestApp::with_settings(database, settings).await;
    app.add_user("current", Kind::Superuser, &[]).await;
    set_password(&app, "current", hashers::make_password(PASSWORD, 8_000)).await;
    app.add_user("old", Kind::Superuser, &[]).await;
    let old = hashers::make_password(PASSWORD, 2_400);
    set_password(&app, "old", old).await;
    // Other processes can spoil several measurements; a real difference shows each time.
    const ATTEMPTS: usize = 8;
    for attempt in 1..=ATTEMPTS {
        let times = times(&app).await;
        let is_even = |time: &f64| (time / times[0] - 1.0).abs() < 0.05;
        if times.iter().all(is_even) {
            return;
        }
        assert!(attempt < ATTEMPTS, "{NAMES:?}: {times:?}");
    }
}

const NAMES: [&str; 3] = ["current", "old", "nobody"];

/// The 5th percentiles of the times that 200 wrong passwords take for each name, turn by turn, in seconds: the times of attempts
/// that no other process delayed.
async fn times(app: &TestApp) -> [f64; 3] {
    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..200 {
        for (name, times) in NAMES.iter().zip(&mut times) {
            // Of earlier tries nothing is left.
            let tx = app.site.core.db.write().begin().await.unwrap();
            sea_orm::ConnectionTrait::execute_unprepared(&tx, "DELETE FROM polls_login_failures")
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let address = format!("198.51.{}.{}", round, times.len() % 250);
            let visitor = app.visitor();
            let token = visitor.get("/admin/login/").await.csrf_token();
            let fields = [
                ("csrfmiddlewaretoken", token.as_str()),
                ("username", name),
                ("password", "wrong"),
            ];
            let start = Instant::now();
            visitor
                .post("/admin/login/", &fields, &[("x-forwarded-for", &address)])
                .await
                .assert_status(200);
            times.push(start.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 20].as_secs_f64()
    })
}
