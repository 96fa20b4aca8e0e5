//! The dashboard on the index.

use chrono::TimeDelta;
use polls::entities::question_options::Model as Options;
use sea_orm::ConnectionTrait;

use crate::support::{
    Backend, Site, TestApp,
    app::{Kind, add_questions, now},
    http::status,
    voters::vote_once,
};

on_both_databases! {
    async fn the_index_counts_questions_and_votes(app: TestApp) {
        app.question("Open?", &["A"]).await;
        app.question("Draft?", &[]).await;
        app.question_at("Later?", now() + TimeDelta::hours(1), &["A"]).await;
        app.question_at("Later, too?", now() + TimeDelta::hours(2), &["A"]).await;
        let closed = app.question("Closed?", &["A"]).await;
        app.set_options(closed.id, Options { closes_at: Some((now() - TimeDelta::minutes(1)).into()), ..Options::default() }).await;
        // 2026-11-20 is the day 20777.
        let tx = app.site.core.db.write().begin().await.unwrap();
        tx.execute_unprepared("INSERT INTO polls_vote_days (day, votes) VALUES (20777, 1200), (20776, 600), (20748, 3), (20747, 5000), (20778, 7000)").await.unwrap();
        tx.commit().await.unwrap();
        let staff = app.staff(&["polls_app.view_question"]).await;
        let page = staff.get("/admin/").await;
        for (count, label) in [("1", "Open"), ("2", "Scheduled"), ("1", "Drafts"), ("1,200", "Votes today"), ("1,803", "Votes in 30 days")] {
            page.assert_contains(&format!("<strong class=\"figure-number\">{count}</strong> {label}"));
        }
        page.assert_contains("href=\"/admin/polls_app/question/?status=open\"").assert_lacks("newest")
            .assert_contains("<rect x=\"291\" y=\"0\" width=\"8\" height=\"100\"><title>Nov 20: 1,200</title>")
            .assert_contains("<rect x=\"281\" y=\"50\" width=\"8\" height=\"50\"><title>Nov 19: 600</title>")
            .assert_contains("<rect x=\"1\" y=\"98\" width=\"8\" height=\"2\"><title>Oct 22: 3</title>")
            .assert_contains("<td><time datetime=\"2026-11-20\">Nov 20</time></td><td>1,200</td>").assert_lacks("7,000").assert_lacks("5,000");
        assert_eq!(page.text().matches("</title></rect>").count(), 30);
        // For those who may see questions only.
        app.add_user("other", Kind::Staff, &["auth.view_user"]).await;
        app.logged_in("other").await.get("/admin/").await.assert_lacks("Votes today");
        staff.get("/admin/polls_app/").await.assert_lacks("Votes today");
    }

    async fn of_many_questions_the_newest_are_counted(app: TestApp) {
        add_questions(app.site.core.db.write(), 10_050).await;
        let page = app.superuser().await.get("/admin/").await;
        page.assert_contains("<strong class=\"figure-number\">10,000</strong> Open").assert_contains("Of the newest 10,000 questions.");
    }

    async fn votes_are_added_to_their_day(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        for votes in [3, 2] {
            let server = site.serve();
            for _ in 0..votes {
                assert_eq!(status(&vote_once(&server.address, 1)), 302);
            }
            let (log, code) = server.stop();
            assert_eq!(code, Some(0), "{log}");
        }
        assert_eq!(site.number("SELECT CAST(sum(votes) AS bigint) FROM polls_vote_days").await, 5);
    }
}

#[tokio::test]
async fn without_our_migrations_the_index_has_no_dashboard() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::new(backend).await;
        let staff = app.superuser().await;
        let tx = app.site.core.db.write().begin().await.unwrap();
        tx.execute_unprepared("DROP TABLE polls_vote_days")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        staff
            .get("/admin/")
            .await
            .assert_status(200)
            .assert_lacks("Votes today");
    }
}
