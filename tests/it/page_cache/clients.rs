//! What differs between clients: tokens, previews, sessions, hosts, and their own changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use poem::EndpointExt;
use polls::polls_app::urls;
use sea_orm::ConnectionTrait;
use tokio::sync::Mutex;

use super::{TIMEOUT, assert_shown_in_time, from_memory, other_server};
use crate::support::{
    Client, TestApp,
    app::{now, settings},
};

/// Held while a test uses the clock of [`after_change`].
static CLOCK: Mutex<()> = Mutex::const_new(());
/// Seconds that the clock of [`after_change`] is ahead of [`now`].
static AFTER_CHANGE: AtomicI64 = AtomicI64::new(0);

fn after_change() -> DateTime<Utc> {
    now() + TimeDelta::seconds(AFTER_CHANGE.load(Ordering::SeqCst))
}

on_both_databases! {
    async fn each_client_gets_a_token_of_its_own(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let path = urls::detail(question.id);
        let (first, second) = (app.visitor(), app.visitor());
        let page = from_memory(&app, &first, &path, &[]).await;
        let other = from_memory(&app, &second, &path, &[]).await;
        assert_ne!(first.cookie("csrftoken"), second.cookie("csrftoken"));
        assert_ne!(page.csrf_token(), other.csrf_token());
        // A new token for the same secret.
        let again = from_memory(&app, &first, &path, &[]).await;
        assert_ne!(page.csrf_token(), again.csrf_token());
        for (client, page) in [(&first, &page), (&first, &again), (&second, &other)] {
            client.submit(page, &[("choice", &question.choices[0].to_string())]).await.assert_status(302);
        }
        second.submit(&page, &[("choice", &question.choices[0].to_string())]).await.assert_status(403);
        assert_eq!(app.votes(question.choices[0]).await, 3);
    }

    async fn pages_that_differ_by_client_are_not_kept(app: TestApp) {
        let draft = app.question_at("Draft?", now() + TimeDelta::days(1), &["a"]).await;
        let (visitor, staff) = (app.visitor(), app.staff(&[]).await);
        app.question("Public?", &["a"]).await;
        from_memory(&app, &visitor, urls::INDEX, &[]).await;
        let renders = app.site.pages.counters().renders.get();
        for _ in 0..5 {
            for path in [urls::detail(draft.id), urls::results(draft.id)] {
                let preview = staff.get_with(&path, &[("accept-encoding", "")]).await;
                preview.assert_contains("Draft?").assert_contains("Preview");
                assert!(preview.header("cache-control").unwrap().contains("no-store"));
                visitor.get(&path).await.assert_status(404).assert_lacks("Draft?");
            }
        }
        assert_eq!(app.site.pages.counters().renders.get(), renders);
        // The token of the preview is the client's.
        let preview = staff.get(urls::detail(draft.id)).await;
        staff.post(urls::vote(draft.id), &[("csrfmiddlewaretoken", &preview.csrf_token())], &[]).await.assert_status(404);
    }

    async fn a_client_s_change_through_another_process_is_read_from_the_database(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let (_other, voter) = other_server(settings(&app.database), now).await;
        let page = voter.get(urls::detail(question.id)).await;
        voter.submit(&page, &[("choice", &question.choices[0].to_string())]).await.assert_status(302);
        let mark = voter.cookie("polls_recent").unwrap();
        let cookie = format!("polls_recent={mark}");
        let path = urls::results(question.id);
        from_memory(&app, &app.visitor(), &path, &[]).await;
        let hits = app.site.pages.counters().hits.get();
        let reply = app.visitor().get_with(&path, &[("cookie", &cookie)]).await;
        reply.assert_contains("1 vote<");
        assert_eq!(app.site.pages.counters().hits.get(), hits);
        // Changes through both.
        let (third, client) = other_server(settings(&app.database), now).await;
        let page = client.get(urls::detail(question.id)).await;
        let vote = [("csrfmiddlewaretoken", &*page.csrf_token()), ("choice", &question.choices[0].to_string())];
        let both = format!("{cookie}; csrftoken={}", client.cookie("csrftoken").unwrap());
        client.post(urls::vote(question.id), &vote, &[("cookie", &both)]).await.assert_status(302);
        assert_ne!(client.cookie("polls_recent").unwrap(), mark);
        for _ in 0..3 {
            let hits = third.pages.counters().hits.get();
            client.get(&path).await.assert_contains("2 votes<");
            assert_eq!(third.pages.counters().hits.get(), hits);
        }
        // Redirects without a change make no mark, and leave the pages in memory.
        assert_shown_in_time(&app.visitor(), &path, "2 votes<").await;
        from_memory(&app, &app.visitor(), &path, &[]).await;
        let renders = app.site.pages.counters().renders.get();
        for address in ["/", "/polls", "/polls/1/vote", "/admin/", "/admin/polls_app/question/add/", "/admin/login/", "/admin/logout/"] {
            let anonymous = app.visitor();
            anonymous.post(address, &[("username", "admin"), ("password", "x")], &[]).await;
            assert_eq!(anonymous.cookie("polls_recent"), None, "{address}");
            from_memory(&app, &anonymous, &path, &[]).await;
        }
        assert_eq!(app.site.pages.counters().renders.get(), renders);
        // Forged marks do not keep a client from the memory.
        for forged in [cookie.replace('.', ".0"), format!("{cookie}0"), "polls_recent=99999999999.1.x".to_owned()] {
            from_memory(&app, &app.visitor(), &path, &[("cookie", &forged)]).await;
        }
    }

    async fn the_mark_of_a_slow_change_is_valid_from_its_end(app: TestApp) {
        let _clock = CLOCK.lock().await;
        let question = app.question("Best season?", &["Summer"]).await;
        let (_site, voter) = other_server(settings(&app.database), after_change).await;
        let page = voter.get(urls::detail(question.id)).await;
        let before = AFTER_CHANGE.load(Ordering::SeqCst);
        let db = app.database.connect().await;
        let tx = db.begin().await.unwrap();
        let touch = format!("UPDATE polls_app_choice SET votes = votes WHERE id = {}", question.choices[0]);
        tx.execute_unprepared(&touch).await.unwrap();
        let choice = question.choices[0].to_string();
        let fields = [("choice", &*choice)];
        let vote = voter.submit(&page, &fields);
        let release = async {
            // The vote waits for the lock by now, or for its turn.
            tokio::time::sleep(Duration::from_millis(50)).await;
            AFTER_CHANGE.fetch_add(60, Ordering::SeqCst);
            drop(tx);
        };
        let (reply, ()) = tokio::join!(vote, release);
        reply.assert_status(302);
        let mark = voter.cookie("polls_recent").unwrap();
        let seconds: i64 = mark.split('.').next().unwrap().parse().unwrap();
        assert!(seconds >= now().timestamp() + before + 60, "{seconds}");
        db.close().await;
    }

    async fn sessions_that_are_saved_with_each_request_are_not_shared(app: TestApp) {
        let mut saved = settings(&app.database);
        saved.security.session_save_every_request = true;
        let (site, user) = other_server(saved, now).await;
        let visitor = Client::new(Arc::new(site.router().boxed()));
        app.question("Best season?", &["Summer"]).await;
        let staff = app.superuser().await;
        let cookie = format!("sessionid={}", staff.cookie("sessionid").unwrap());
        for _ in 0..20 {
            let own = user.get_with(urls::INDEX, &[("cookie", &cookie)]).await;
            assert!(own.header("set-cookie").unwrap().contains(&cookie), "{:?}", own.headers);
            let hits = site.pages.counters().hits.get();
            while site.pages.counters().hits.get() == hits {
                let page = visitor.get(urls::INDEX).await;
                assert_eq!(page.header("set-cookie"), None);
            }
        }
    }

    async fn hosts_and_https_are_checked_before_the_memory(app: TestApp) {
        let question = app.question("Best season?", &["Summer"]).await;
        let path = urls::detail(question.id);
        from_memory(&app, &app.visitor(), &path, &[]).await;
        let reply = app.visitor().get_with(&path, &[("host", "evil.example")]).await;
        reply.assert_status(400).assert_lacks("Best season?");
        let mut strict = settings(&app.database);
        strict.security.headers.ssl_redirect = true;
        let (site, client) = other_server(strict, now).await;
        let start = Instant::now();
        while site.pages.counters().hits.get() < 10 {
            assert!(start.elapsed() < TIMEOUT);
            let secure = client.get_with(&path, &[("x-forwarded-proto", "https")]).await;
            secure.assert_status(200);
            client.get(&path).await.assert_redirect(301, &format!("https://testserver{path}"));
        }
    }
}
