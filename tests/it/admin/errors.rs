//! The admin's error pages: account bar, links, and the request id on a 500.

use sea_orm::ConnectionTrait;

use super::{LIST, change};
use crate::support::{Form, TestApp};

/// The link that every page of the admin has for who is logged in.
const ACCOUNT: &str = "/admin/password_change/";
const WAY_ON: &str = "Go to the administration";

/// Makes queries of choices fail.
async fn break_choices(app: &TestApp) {
    let tx = app.site.core.db.write().begin().await.unwrap();
    tx.execute_unprepared("ALTER TABLE polls_app_choice RENAME COLUMN votes TO renamed")
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

on_both_databases! {
    async fn error_pages_keep_the_account_bar(app: TestApp) {
        let editor = app.staff(&["polls_app.view_question"]).await;
        for (path, status) in [
            ("/admin/auth/user/", 403),
            ("/admin/polls_app/question/add/", 403),
            ("/admin/nosuch/", 404),
            ("/admin/a/b/c/d/e/", 404),
        ] {
            let page = editor.get(path).await;
            page.assert_status(status).assert_contains(ACCOUNT).assert_contains(WAY_ON).assert_contains("id=\"logout-form\"").assert_contains(LIST);
            assert!(page.header("cache-control").unwrap().contains("no-store"), "{path}");
            page.assert_lacks("Request ID");
        }
        // A form without its token.
        let page = editor.post("/admin/logout/", &[], &[]).await;
        page.assert_status(403).assert_contains(ACCOUNT).assert_contains("CSRF verification failed");
        // The form to log out works from there.
        let form = Form::find(&editor.get("/admin/nosuch/").await, "logout-form", "/admin/nosuch/");
        form.submit(&editor).await.assert_status(200).assert_contains("Logged out");
    }

    async fn the_429_page_has_links_with_and_without_a_login(app: TestApp) {
        let admin = app.superuser().await;
        let stranger = app.visitor();
        let mut last = stranger.log_in("admin", "wrong").await;
        for _ in 0..30 {
            if last.status == 429 { break; }
            last = stranger.log_in("admin", "wrong").await;
        }
        last.assert_status(429).assert_contains(WAY_ON).assert_lacks(ACCOUNT);
        let mut form = admin.form("/admin/password_change/", "narrow").await;
        form = form.set("old_password", "wrong").set("new_password1", "Quite-new-91").set("new_password2", "Quite-new-91");
        let mut last = form.submit(&admin).await;
        for _ in 0..30 {
            if last.status == 429 { break; }
            last = form.submit(&admin).await;
        }
        last.assert_status(429).assert_contains(ACCOUNT).assert_contains(WAY_ON);
    }

    async fn the_500_page_shows_the_request_id(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Where?", &["A"]).await;
        break_choices(&app).await;
        let page = admin.get(change(question.id)).await;
        let id = page.header("x-request-id").unwrap();
        page.assert_status(500).assert_contains(ACCOUNT).assert_contains(&format!("<code class=\"request-id\">{id}</code>"));
        let page = app.visitor().get(format!("/polls/{}/", question.id)).await;
        let id = page.header("x-request-id").unwrap();
        page.assert_status(500).assert_contains(&format!("<code class=\"request-id\">{id}</code>")).assert_lacks(WAY_ON);
    }

    async fn public_pages_link_staff_to_the_admin(app: TestApp) {
        let (visitor, link) = (app.visitor(), "href=\"/admin/\"");
        visitor.get("/polls/").await.assert_lacks(link);
        let editor = app.staff(&[]).await;
        editor.get("/admin/").await.assert_status(200);
        let question = app.question("Where?", &["A"]).await;
        for path in ["/polls/".to_owned(), format!("/polls/{}/", question.id), format!("/polls/{}/results/", question.id), "/polls/999/".to_owned()] {
            editor.get(path).await.assert_contains(link);
        }
        let form = editor.form("/admin/", "logout-form").await;
        form.submit(&editor).await.assert_status(200);
        editor.get("/polls/").await.assert_lacks(link);
    }
}
