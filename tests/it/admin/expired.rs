//! A session that ends while a form is open: the form's values are kept through the login.

use poem::http::Method;
use polls::signing::Purpose;

use super::{ADD, LIST, change, choices, filled, text};
use crate::support::{
    Client, Form, Reply, TestApp,
    app::{Kind, PASSWORD},
};

const ENDED: &str = "Your session has ended. Log in and your changes will be saved.";
const RESUMED: &str = "Nothing was lost. Look it over and save.";

fn end_session(client: &Client) {
    client.set_cookie("sessionid", "");
}

/// Logs in with the form of a page.
async fn log_in_again(client: &Client, page: &Reply, username: &str) -> Reply {
    let form = Form::find(page, "login-form", "/");
    form.set("username", username)
        .set("password", PASSWORD)
        .submit(client)
        .await
}

on_both_databases! {
    async fn an_unsaved_form_is_restored_after_the_login(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Before?", &["A", "B"]).await;
        let path = format!("{}?_changelist_filters=q%3Dbefore", change(question.id));
        let form = admin.form(&path, "object-form").await;
        end_session(&admin);
        let typed = form.set("question_text", "After <b>?").set("choice_set-0-choice_text", "Ä & ö").set("choice_set-2-choice_text", "New");
        let page = typed.submit(&admin).await;
        page.assert_status(200).assert_contains(ENDED).assert_contains("login-form");
        assert_eq!(text(&app, question.id).await, "Before?");
        // A wrong password does not lose it.
        let again = Form::find(&page, "login-form", "/").set("username", "admin").set("password", "wrong").submit(&admin).await;
        again.assert_status(200).assert_contains(ENDED).assert_contains("Please enter the correct username");
        let reply = log_in_again(&admin, &again, "admin").await;
        reply.assert_redirect(302, &path);
        let page = admin.get(&path).await;
        page.assert_status(200).assert_contains(RESUMED).assert_contains("After &lt;b&gt;?").assert_contains("value=\"New\"").assert_contains("Ä &amp; ö");
        assert_eq!(text(&app, question.id).await, "Before?");
        let saved = Form::find(&page, "object-form", &path).submit(&admin).await;
        saved.assert_redirect(302, &format!("{LIST}?q=before"));
        assert_eq!(text(&app, question.id).await, "After <b>?");
        assert_eq!(choices(&app, question.id).await.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["Ä & ö", "B", "New"]);
        // It is shown once.
        admin.get(&path).await.assert_lacks(RESUMED);
    }

    async fn a_login_in_another_tab_loses_nothing(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Before?", &["A"]).await;
        let path = change(question.id);
        let first = admin.form(&path, "object-form").await.set("question_text", "After?");
        let second = filled(admin.form(ADD, "object-form").await, "Added?", &["Yes"]);
        end_session(&admin);
        // Both tabs have the login; the first one's changes the token that the second one has.
        let (first_login, second_login) = (first.submit(&admin).await, second.submit(&admin).await);
        log_in_again(&admin, &first_login, "admin").await.assert_redirect(302, &path);
        let page = admin.get(&path).await;
        page.assert_contains(RESUMED).assert_contains("value=\"After?\"");
        log_in_again(&admin, &second_login, "admin").await.assert_redirect(302, ADD);
        admin.get(ADD).await.assert_contains(RESUMED).assert_contains("value=\"Added?\"");
        // A form from before the login is saved after it.
        let form = admin.form(&path, "object-form").await.set("question_text", "Third?");
        let login = app.visitor();
        login.log_in("admin", PASSWORD).await;
        for name in ["sessionid", "csrftoken"] {
            admin.set_cookie(name, &login.cookie(name).unwrap());
        }
        form.submit(&admin).await.assert_redirect(302, &path);
        let page = admin.get(&path).await;
        page.assert_contains(RESUMED).assert_contains("value=\"Third?\"");
        assert_eq!(text(&app, question.id).await, "Before?");
        Form::find(&page, "object-form", &path).submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(text(&app, question.id).await, "Third?");
        // Not that of another user, nor one that does not say whose it is.
        app.add_user("other", Kind::Superuser, &[]).await;
        let form = admin.form(&path, "object-form").await.set("question_text", "Fourth?");
        let other = app.logged_in("other").await;
        form.clone().submit(&other).await.assert_status(403);
        other.get(&path).await.assert_lacks("Fourth?");
        admin.set_cookie("csrftoken", &other.cookie("csrftoken").unwrap());
        form.set("_editor", "made-up").submit(&admin).await.assert_status(403);
    }

    async fn add_forms_are_restored_and_passwords_are_not(app: TestApp) {
        let admin = app.superuser().await;
        let form = filled(admin.form(ADD, "object-form").await, "Added?", &["Yes"]);
        end_session(&admin);
        let page = form.submit(&admin).await;
        log_in_again(&admin, &page, "admin").await.assert_redirect(302, ADD);
        let page = admin.get(ADD).await;
        page.assert_contains(RESUMED).assert_contains("value=\"Added?\"").assert_lacks("Passwords have to be typed again");
        Form::find(&page, "object-form", ADD).submit(&admin).await.assert_redirect(302, LIST);
        let path = "/admin/auth/user/add/";
        let form = admin.form(path, "object-form").await.set("username", "new").set("password1", "Secret-91x").set("password2", "Secret-91x");
        end_session(&admin);
        let page = form.submit(&admin).await;
        let keys = &app.site.core.settings.security.keys;
        let carried = keys.loads(page.between("name=\"unsaved\" value=\"", "\""), Purpose::UnsavedForm).unwrap();
        log_in_again(&admin, &page, "admin").await.assert_redirect(302, path);
        let stored = keys.loads(&session_data(&app, &admin).await, Purpose::Sessions).unwrap();
        for text in [carried.to_string(), stored.to_string()] {
            assert!(text.contains("[\"username\",\"new\"]") && !text.contains("Secret-91x"), "{text}");
        }
        // Looking at the head only does not take it.
        admin.request(Method::HEAD, path, &[], "").await.assert_status(200);
        let page = admin.get(path).await;
        page.assert_contains("value=\"new\"").assert_contains("Passwords have to be typed again").assert_lacks("Secret-91x");
    }

    async fn a_restored_form_shows_conflicts_when_saved(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Before?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await.set("question_text", "Mine?");
        end_session(&admin);
        let page = form.submit(&admin).await;
        app.add_user("other", Kind::Superuser, &[]).await;
        let other = app.logged_in("other").await;
        let theirs = other.form(change(question.id), "object-form").await;
        theirs.set("question_text", "Theirs?").submit(&other).await.assert_redirect(302, LIST);
        log_in_again(&admin, &page, "admin").await.assert_redirect(302, &change(question.id));
        let page = admin.get(change(question.id)).await;
        page.assert_contains(RESUMED).assert_contains("value=\"Mine?\"");
        let conflict = Form::find(&page, "object-form", &change(question.id)).submit(&admin).await;
        conflict.assert_status(200).assert_contains("Another user has changed this question");
        assert_eq!(text(&app, question.id).await, "Theirs?");
        // The same, and it is gone.
        let form = admin.form(change(question.id), "object-form").await.set("question_text", "Again?");
        end_session(&admin);
        let page = form.submit(&admin).await;
        let confirm = other.form(format!("{LIST}{}/delete/", question.id), "submit-row").await;
        confirm.submit(&other).await.assert_redirect(302, LIST);
        log_in_again(&admin, &page, "admin").await;
        admin.get(change(question.id)).await.assert_contains("was deleted while you were editing it").assert_contains("value=\"Again?\"");
    }

    async fn another_user_does_not_get_the_unsaved_form(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Before?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await.set("question_text", "Secret plans?");
        end_session(&admin);
        let page = form.submit(&admin).await;
        app.add_user("other", Kind::Superuser, &[]).await;
        log_in_again(&admin, &page, "other").await.assert_redirect(302, "/admin/");
        admin.get("/admin/").await.assert_contains("Unsaved changes of another account were discarded.");
        admin.get(change(question.id)).await.assert_lacks("Secret plans?").assert_lacks(RESUMED);
    }

    async fn only_forms_with_a_valid_token_are_kept(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Before?", &["A"]).await;
        let login = |path: &str| format!("/admin/login/?next={path}");
        let form = admin.form(change(question.id), "object-form").await.set("question_text", "Lost?");
        let list = admin.form(LIST, "changelist-form").await;
        end_session(&admin);
        // An unsigned `_editor` value, a form without one, and an invalid CSRF token.
        let other = form.clone().set("_editor", "MQ:1tWmjf:aaaa");
        other.submit(&admin).await.assert_redirect(302, &login(&change(question.id)));
        form.clone().without("_editor").submit(&admin).await.assert_redirect(302, &login(&change(question.id)));
        form.clone().set("csrfmiddlewaretoken", "x").submit(&admin).await.assert_redirect(302, &login(&change(question.id)));
        list.submit(&admin).await.assert_redirect(302, &login(LIST));
        // Too much to carry along.
        let long = form.clone().set("question_text", &"x".repeat(300_000));
        long.submit(&admin).await.assert_redirect(302, &login(&change(question.id)));
        // What is kept is signed.
        let page = form.submit(&admin).await;
        let forged = Form::find(&page, "login-form", "/").set("unsaved", "eyJ1c2VyIjoxfQ:1tWmjf:aaaa");
        let reply = forged.set("username", "admin").set("password", PASSWORD).submit(&admin).await;
        reply.assert_redirect(302, &change(question.id));
        admin.get(change(question.id)).await.assert_lacks(RESUMED).assert_contains("value=\"Before?\"");
    }
}

async fn session_data(app: &TestApp, client: &Client) -> String {
    let key = client.cookie("sessionid").unwrap();
    let found = <polls::entities::session::Entity as sea_orm::EntityTrait>::find_by_id(key);
    found
        .one(app.site.core.db.write())
        .await
        .unwrap()
        .unwrap()
        .session_data
}
