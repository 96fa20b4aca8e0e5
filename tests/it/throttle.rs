//! Limits on failed logins.

use chrono::TimeDelta;
use polls::auth::throttle::{Admission, Throttle};

use crate::support::{
    Client, Reply, TestApp,
    app::{Kind, PASSWORD, now, settings},
};

async fn try_from(client: &Client, password: &str, headers: &[(&str, &str)]) -> Reply {
    let page = client.get("/admin/login/").await;
    let token = page.csrf_token();
    let fields = [
        ("csrfmiddlewaretoken", token.as_str()),
        ("username", "admin"),
        ("password", password),
    ];
    client.post("/admin/login/", &fields, headers).await
}

on_both_databases! {
    async fn the_sixth_failed_attempt_is_refused_without_a_hash(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        let visitor = app.visitor();
        for _ in 0..5 {
            try_from(&visitor, "wrong", &[]).await.assert_status(200).assert_contains("Please enter the correct username and password");
        }
        for password in ["wrong", PASSWORD] {
            let reply = try_from(&visitor, password, &[]).await;
            reply.assert_status(429).assert_contains("Too many tries to log in have failed.");
            assert_eq!(reply.header("retry-after"), Some("899"));
        }
        // Another user at the same address, and the same user elsewhere.
        app.add_user("other", Kind::Superuser, &[]).await;
        app.visitor().log_in("other", PASSWORD).await.assert_redirect(302, "/admin/");
        try_from(&visitor, PASSWORD, &[("x-forwarded-for", "203.0.113.7")]).await.assert_redirect(302, "/admin/");
    }

    async fn the_right_password_resets_the_failures(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        for _ in 0..3 {
            for _ in 0..5 {
                try_from(&app.visitor(), "wrong", &[]).await.assert_status(200);
            }
            // Not even one is left to spare.
            let here = Some("127.0.0.1".parse().unwrap());
            let refused = Throttle::of(&app.site.core).admit_login("admin", here, now()).await.unwrap();
            assert!(matches!(refused, Admission::Refused(wait) if wait.num_minutes() >= 14));
            let later = now() + TimeDelta::minutes(16);
            let Admission::Admitted(this) = Throttle::of(&app.site.core).admit_login("admin", here, later).await.unwrap() else { panic!() };
            let tx = app.site.core.db.write().begin().await.unwrap();
            Throttle::of(&app.site.core).succeeded(&tx, &this, later).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    async fn an_attempt_that_was_not_checked_is_not_counted(app: TestApp) {
        for _ in 0..20 {
            let Admission::Admitted(this) = Throttle::of(&app.site.core).admit_login("admin", None, now()).await.unwrap() else { panic!() };
            Throttle::of(&app.site.core).withdraw(&this).await.unwrap();
        }
        Throttle::of(&app.site.core).clean(now() + TimeDelta::minutes(16)).await.unwrap();
        assert!(matches!(Throttle::of(&app.site.core).admit_login("admin", None, now()).await.unwrap(), Admission::Admitted(_)));
    }

    async fn concurrent_attempts_are_all_counted(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        let address = Some("198.51.100.1".parse().unwrap());
        let tries = (0..20).map(|_| Throttle::of(&app.site.core).admit_login("admin", address, now()));
        let outcomes = futures_util::future::join_all(tries).await;
        let admitted = outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(Admission::Admitted(_)))).count();
        assert_eq!(admitted, 5);
    }

    async fn an_address_that_tries_many_users_is_limited(app: TestApp) {
        let mut admitted = 0;
        for number in 0..130 {
            // A customer of an IPv6 provider has many addresses, in one network of 56 bits.
            let address = Some(format!("2001:db8:1:2{number:02x}::{number:x}").parse().unwrap());
            let outcome = Throttle::of(&app.site.core).admit_login(&format!("user{number}"), address, now()).await.unwrap();
            admitted += i32::from(matches!(outcome, Admission::Admitted(_)));
        }
        assert_eq!(admitted, 100);
        let elsewhere = Some("2001:db8:1:300::1".parse().unwrap());
        assert!(matches!(Throttle::of(&app.site.core).admit_login("user1", elsewhere, now()).await.unwrap(), Admission::Admitted(_)));
    }

    async fn distributed_attempts_are_limited_without_locking_the_user_out(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        let known = [("x-forwarded-for", "198.51.100.7")];
        try_from(&app.visitor(), PASSWORD, &known).await.assert_redirect(302, "/admin/");
        let mut admitted = 0;
        for number in 0..80 {
            let address = Some(format!("203.0.113.{number}").parse().unwrap());
            let outcome = Throttle::of(&app.site.core).admit_login("admin", address, now()).await.unwrap();
            admitted += i32::from(matches!(outcome, Admission::Admitted(_)));
        }
        assert_eq!(admitted, 50);
        try_from(&app.visitor(), PASSWORD, &[("x-forwarded-for", "203.0.113.200")]).await.assert_status(429);
        // The way in that the user has used before stays open, and has its own limit.
        try_from(&app.visitor(), PASSWORD, &known).await.assert_redirect(302, "/admin/");
        for _ in 0..5 {
            try_from(&app.visitor(), "wrong", &known).await.assert_status(200);
        }
        try_from(&app.visitor(), PASSWORD, &known).await.assert_status(429);
        // Other users are not concerned.
        app.add_user("other", Kind::Superuser, &[]).await;
        app.visitor().log_in("other", PASSWORD).await.assert_redirect(302, "/admin/");
    }

    async fn a_clock_set_back_does_not_extend_the_wait(app: TestApp) {
        for _ in 0..5 {
            Throttle::of(&app.site.core).admit_login("admin", None, now()).await.unwrap();
        }
        let wait = async |time| match Throttle::of(&app.site.core).admit_login("admin", None, time).await.unwrap() {
            Admission::Refused(wait) => wait.num_seconds(),
            Admission::Admitted(_) => 0,
        };
        assert!((890..=900).contains(&wait(now() - TimeDelta::minutes(10)).await));
        assert_eq!(wait(now() - TimeDelta::hours(2)).await, 0);
    }

    async fn x_forwarded_for_is_trusted_from_trusted_proxies_only(app: TestApp) {
        app.add_user("admin", Kind::Superuser, &[]).await;
        // The client comes from loopback, which is trusted: the last address counts, which the proxy adds.
        for number in 0..5 {
            let header = format!("10.9.8.{number}, 203.0.113.9");
            try_from(&app.visitor(), "wrong", &[("x-forwarded-for", &header)]).await.assert_status(200);
        }
        try_from(&app.visitor(), "wrong", &[("x-forwarded-for", "10.1.1.1, 203.0.113.9")]).await.assert_status(429);
        try_from(&app.visitor(), "wrong", &[("x-forwarded-for", "nonsense, 203.0.113.9, 127.0.0.1")]).await.assert_status(429);
        let mut settings = settings(&app.database);
        settings.security.trusted_proxies = Vec::new();
        let strict = TestApp::with_settings(crate::support::TestDatabase::migrated(app.database.backend).await, settings).await;
        for number in 0..5 {
            try_from(&strict.visitor(), "wrong", &[("x-forwarded-for", &format!("203.0.113.{number}"))]).await.assert_status(200);
        }
        try_from(&strict.visitor(), "wrong", &[("x-forwarded-for", "203.0.113.99")]).await.assert_status(429);
    }
}
