//! The index, app pages, history, deleting, view on site, themes and messages.

use poem::http::Method;
use polls::entities::content_type;
use sea_orm::EntityTrait;

use super::{ADD, LIST, change, choices, filled};
use crate::support::{Form, TestApp};

on_both_databases! {
    async fn the_index_shows_permitted_models_and_recent_actions(app: TestApp) {
        let admin = app.superuser().await;
        admin.get("/admin/").await.assert_contains("Site administration").assert_contains("Authentication and Authorization")
            .assert_contains("Polls_App").assert_contains("None available");
        let form = admin.form(ADD, "object-form").await;
        filled(form, "Best <b>season</b>?", &[]).add("_save", "Save").submit(&admin).await.assert_redirect(302, LIST);
        admin.get("/admin/").await.assert_contains("Best &lt;b&gt;season&lt;/b&gt;?").assert_contains(">Added<");
        let page = admin.get("/admin/polls_app/").await;
        page.assert_status(200).assert_contains("Polls_App administration").assert_lacks("app-auth");
        admin.get("/admin/nosuch/").await.assert_status(404);
        admin.get("/admin/polls_app").await.assert_redirect(301, "/admin/polls_app/");
        let editor = app.staff(&["polls_app.view_question"]).await;
        editor.get("/admin/").await.assert_contains(">View<").assert_lacks("Users").assert_lacks("question/add/");
        editor.get("/admin/auth/").await.assert_status(404);
    }

    async fn staff_without_permissions_see_an_empty_index(app: TestApp) {
        let editor = app.staff(&[]).await;
        editor.get("/admin/").await.assert_status(200).assert_contains("You don’t have permission to view or edit anything.");
    }

    async fn the_history_shows_user_and_action(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Old?", &["A"]).await;
        let path = format!("{LIST}{}/history/", question.id);
        admin.get(&path).await.assert_contains("This object doesn’t have a change history.");
        let form = admin.form(change(question.id), "object-form").await;
        form.set("question_text", "New?").set("choice_set-0-votes", "7").submit(&admin).await.assert_redirect(302, LIST);
        admin.get(&path).await.assert_contains("Change history: New?").assert_contains("admin").assert_contains("Nov. 20, 2026, noon UTC")
            .assert_contains("Changed Question text. Changed Votes for choice “A”.");
        admin.get(format!("{path}?p=2")).await.assert_status(404);
        admin.get(format!("{LIST}999/history/")).await.assert_redirect(302, "/admin/");
    }

    async fn the_delete_confirmation_lists_and_counts_objects(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Delete me & mine?", &["One", "Two"]).await;
        let other = app.question("Stays?", &["Three"]).await;
        let path = format!("{LIST}{}/delete/", question.id);
        let page = admin.get(&path).await;
        page.assert_contains("1 question").assert_contains("2 choices").assert_contains("Delete me &amp; mine?").assert_contains("Choice: One").assert_lacks("Three");
        let form = Form::find(&page, "submit-row", &path);
        form.submit(&admin).await.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_contains("The question “Delete me &amp; mine?” was deleted successfully.").assert_contains("Stays?");
        assert_eq!(choices(&app, other.id).await.len(), 1);
        assert_eq!(app.log().await.last().unwrap(), &(1, 3, "Delete me & mine?".to_owned(), String::new()));
        // Twice is once.
        form.submit(&admin).await.assert_redirect(302, "/admin/");
        admin.get("/admin/").await.assert_contains(&format!("question with ID “{}” doesn’t exist. Perhaps it was deleted?", question.id));
        assert_eq!(app.log().await.len(), 1);
    }

    async fn the_delete_confirmation_shows_the_number_of_votes(app: TestApp) {
        let admin = app.superuser().await;
        let lost = "<strong>1,012,345 votes will be lost.</strong>";
        let question = app.question("Popular?", &["One", "Two", "Three"]).await;
        let quiet = app.question("Quiet?", &["One"]).await;
        let path = |id: i32| format!("{LIST}{id}/delete/");
        admin.get(path(question.id)).await.assert_lacks("will be lost");
        app.set_votes(question.choices[0], 1_012_344).await;
        app.set_votes(question.choices[2], 1).await;
        let page = admin.get(path(question.id)).await;
        page.assert_contains(lost);
        assert_eq!(page.text().matches("Yes, I’m sure").count(), 1);
        admin.get(path(quiet.id)).await.assert_lacks("will be lost");
        app.set_votes(quiet.choices[0], 1).await;
        admin.get(path(quiet.id)).await.assert_contains("<strong>1 vote will be lost.</strong>");
        app.set_votes(quiet.choices[0], 0).await;
        // Of many, and with the buttons above the list as well as below.
        let mut form = admin.form(LIST, "changelist-form").await.set("action", "delete_selected");
        for number in 0..12 {
            let more = app.question(&format!("Number {number}?"), &[]).await;
            form = form.add("_selected_action", &more.id.to_string());
        }
        let page = form.add("_selected_action", &question.id.to_string()).submit(&admin).await;
        page.assert_status(200).assert_contains(lost);
        assert_eq!(page.text().matches("Yes, I’m sure").count(), 2);
        assert!(page.text().find("form=\"delete-form\"").unwrap() < page.text().find("Number 1?").unwrap());
    }

    async fn a_missing_object_redirects_with_a_warning(app: TestApp) {
        let admin = app.superuser().await;
        for path in ["999/change/", "999/delete/", "999/history/", "abc/change/", "99999999999/change/", "-1/change/", "1%2F2/change/"] {
            admin.get(format!("{LIST}{path}")).await.assert_redirect(302, "/admin/");
            admin.get("/admin/").await.assert_contains("Perhaps it was deleted?");
        }
        admin.get(format!("{LIST}7/")).await.assert_redirect(302, &format!("{LIST}7/change/"));
        admin.get(format!("{LIST}7")).await.assert_redirect(301, &format!("{LIST}7/"));
        admin.get(format!("{LIST}x/")).await.assert_redirect(302, "/admin/");
    }

    async fn view_on_site_redirects_to_the_public_page(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Where?", &[]).await;
        admin.get(change(question.id)).await.assert_contains(&format!("href=\"/polls/{}/\"", question.id));
        let all = content_type::Entity::find().all(app.site.core.db.write()).await.unwrap();
        let of = |name: &str| all.iter().find(|row| row.model == name).unwrap().id;
        admin.get(format!("/admin/r/{}/{}/", of("question"), question.id)).await.assert_redirect(302, &format!("/polls/{}/", question.id));
        for path in [format!("/admin/r/{}/999/", of("question")), format!("/admin/r/{}/1/", of("group")), "/admin/r/999/1/".to_owned()] {
            admin.get(path).await.assert_status(404);
        }
    }

    async fn the_theme_is_kept_in_a_cookie(app: TestApp) {
        let admin = app.superuser().await;
        admin.get("/admin/").await.assert_contains("data-bs-theme=\"auto\"");
        let form = admin.form(LIST, "/theme/").await;
        let reply = form.clone().add("theme", "dark").submit(&admin).await;
        reply.assert_redirect(302, LIST);
        for path in ["/admin/", "/polls/", "/polls/999/"] {
            admin.get(path).await.assert_contains("data-bs-theme=\"dark\"");
        }
        form.clone().add("theme", "<script>").submit(&admin).await.assert_redirect(302, LIST);
        admin.get("/admin/").await.assert_contains("data-bs-theme=\"auto\"");
        form.set("next", "//evil.example").add("theme", "light").submit(&admin).await.assert_redirect(302, "/");
        admin.set_cookie("theme", "\"><script>");
        admin.get("/admin/").await.assert_contains("data-bs-theme=\"auto\"");
    }

    async fn messages_too_long_for_a_cookie_are_kept_in_the_session(app: TestApp) {
        let admin = app.superuser().await;
        // Nothing is shown between, so that they gather; the texts differ, so that they do not compress.
        let form = filled(admin.form(ADD, "object-form").await, "", &[]);
        for number in 0..4_u32 {
            let text: String = (0..190_u32).map(|i| char::from_u32(0x4e00 + (i * 7919 + number * 104_729) % 20_000).unwrap()).collect();
            form.clone().set("question_text", &text).submit(&admin).await.assert_redirect(302, LIST);
        }
        assert!(admin.cookie("messages").unwrap().len() <= 2048);
        let page = admin.get("/admin/").await;
        assert_eq!(page.text().matches("message-success").count(), 4);
        assert_eq!(admin.cookie("messages"), None);
        admin.get("/admin/").await.assert_lacks("message-success");
    }

    async fn pages_have_a_strict_csp_and_no_inline_script(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("A?", &["B"]).await;
        for path in ["/admin/", LIST, ADD, &change(question.id), "/admin/auth/user/add/", "/admin/login/"] {
            let page = admin.get(path).await;
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.contains("script-src 'self'") && policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            for script in page.text().split("<script").skip(1) {
                assert!(script.starts_with(" src=\"/static/admin/admin."), "{path}");
            }
        }
        // Without a CSRF token.
        admin.request(Method::PUT, LIST, &[], "").await.assert_status(403);
    }

    async fn pages_are_compressed_and_small(app: TestApp) {
        let admin = app.superuser().await;
        for number in 0..100 {
            app.question(&format!("Question number {number} of a hundred?"), &["Yes", "No"]).await;
        }
        let page = admin.get(LIST).await;
        assert_eq!(page.text().matches("_selected_action").count(), 100);
        let packed = admin.get_with(LIST, &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert!(packed.headers.get_all("vary").iter().any(|value| value == "Accept-Encoding"));
        // A page that was visited before, with all its files in the browser's cache.
        assert!(packed.bytes.len() < 10_000, "{}", packed.bytes.len());
        let mut total = packed.bytes.len();
        let files: std::collections::BTreeSet<String> =
            page.text().split("\"/static/").skip(1).map(|rest| format!("/static/{}", rest.split('"').next().unwrap())).collect();
        for path in &files {
            total += admin.get_with(path, &[("accept-encoding", "br")]).await.assert_status(200).bytes.len();
        }
        assert!(files.len() >= 4 && total < 100_000, "{total}");
        let mut unpacked = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed.bytes[..]), &mut unpacked).unwrap();
        assert!(unpacked.contains("</html>"));
    }
}
