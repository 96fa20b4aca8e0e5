//! Adding and changing questions with their choices.

use sea_orm::EntityTrait;

use super::{ADD, LIST, change, choices, filled, text};
use crate::support::{Form, TestApp, app::now};

on_both_databases! {
    async fn a_blank_inline_row_is_ignored(app: TestApp) {
        let admin = app.superuser().await;
        let table = async |path: &str| {
            let page = admin.get(path).await;
            page.between("data-inline=\"choice_set\"", "<template").to_owned()
        };
        let blank = table(ADD).await;
        assert!(!blank.contains("Delete?") && !blank.contains("class=\"star\"") && !blank.contains(" required"), "{blank}");
        let question = app.question("Any?", &["One"]).await;
        let one = table(&change(question.id)).await;
        assert_eq!(one.matches("data-label=\"Delete?\"").count(), 1, "{one}");
        assert!(one.contains("class=\"star\"") && one.matches(" required").count() == 2, "{one}");
    }

    async fn a_question_is_added_with_choices(app: TestApp) {
        let admin = app.superuser().await;
        let page = admin.get(ADD).await;
        page.assert_contains("Add question").assert_contains("Question text").assert_contains("Date information");
        let form = Form::find(&page, "object-form", ADD);
        assert_eq!((form.value("choice_set-TOTAL_FORMS"), form.value("choice_set-INITIAL_FORMS"), form.value("choice_set-2-votes")), ("3", "0", "0"));
        let reply = filled(form, " What's <i>new</i>? ünï 🎉 ", &["Not much", "", "The sky"]).add("_save", "Save").submit(&admin).await;
        reply.assert_redirect(302, LIST);
        let page = admin.get(LIST).await;
        page.assert_contains("What&#x27;s &lt;i&gt;new&lt;/i&gt;? ünï 🎉</a>” was added successfully.").assert_contains("Nov. 20, 2026, 8:30 a.m.");
        let id: i32 = page.between("“<a href=\"/admin/polls_app/question/", "/change/").parse().unwrap();
        // A message links to the object; blanks around are gone.
        assert_eq!(text(&app, id).await, "What's <i>new</i>? ünï 🎉");
        assert_eq!(choices(&app, id).await, [("Not much".to_owned(), 0), ("The sky".to_owned(), 0)]);
        let message = "[{\"added\": {}}, {\"added\": {\"name\": \"choice\", \"object\": \"Not much\"}}, {\"added\": {\"name\": \"choice\", \"object\": \"The sky\"}}]";
        assert_eq!(app.log().await, [(1, 1, "What's <i>new</i>? ünï 🎉".to_owned(), message.to_owned())]);
    }

    async fn each_save_button_redirects_as_in_django(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Old?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        for (button, target, told) in [
            ("_save", LIST.to_owned(), "was changed successfully."),
            ("_continue", change(question.id), "was changed successfully. You may edit it again below."),
            ("_addanother", ADD.to_owned(), "was changed successfully. You may add another question below."),
        ] {
            form.clone().add(button, "1").submit(&admin).await.assert_redirect(302, &target);
            admin.get(&target).await.assert_contains(told);
        }
        let form = filled(admin.form(ADD, "object-form").await, "New?", &[]);
        let reply = form.clone().add("_continue", "1").submit(&admin).await;
        assert!(reply.header("location").unwrap().ends_with("/change/"));
        admin.get("/admin/").await.assert_contains("was added successfully. You may edit it again below.");
        form.add("_addanother", "1").submit(&admin).await.assert_redirect(302, ADD);
        admin.get(ADD).await.assert_contains("was added successfully. You may add another question below.");
        // Nothing was changed, and it is logged so.
        assert_eq!(app.log().await[0].3, "[]");
    }

    async fn a_change_is_logged_as_django_does(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Old?", &["Not much", "The sky", "Gone"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        let form = form.set("question_text", "Edited").set("pub_date_0", "2020-01-02").set("pub_date_1", "03:04:05")
            .set("choice_set-0-votes", "1").set("choice_set-1-choice_text", "Hacking").add("choice_set-2-DELETE", "on")
            .set("choice_set-3-choice_text", "New one");
        form.submit(&admin).await.assert_redirect(302, LIST);
        let expected = "[{\"changed\": {\"fields\": [\"Question text\", \"Date published\"]}}, \
            {\"added\": {\"name\": \"choice\", \"object\": \"New one\"}}, \
            {\"changed\": {\"name\": \"choice\", \"object\": \"Not much\", \"fields\": [\"Votes\"]}}, \
            {\"changed\": {\"name\": \"choice\", \"object\": \"Hacking\", \"fields\": [\"Choice text\"]}}, \
            {\"deleted\": {\"name\": \"choice\", \"object\": \"Gone\"}}]";
        assert_eq!(app.log().await, [(1, 2, "Edited".to_owned(), expected.to_owned())]);
        assert_eq!(choices(&app, question.id).await, [("Not much".to_owned(), 1), ("Hacking".to_owned(), 0), ("New one".to_owned(), 0)]);
    }

    async fn all_errors_are_shown_together_with_the_input(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Old?", &["A", "B"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        let page = form.set("question_text", " ").set("pub_date_0", "x\">").set("pub_date_1", "25:00").set("choice_set-0-choice_text", "")
            .set("choice_set-1-votes", "many").set("choice_set-2-votes", "5").submit(&admin).await;
        page.assert_status(200).assert_contains("Please correct the errors below.").assert_contains("Error: ");
        page.assert_contains("href=\"#id_question_text\"").assert_contains("href=\"#id_pub_date_0\"").assert_contains("href=\"#id_choice_set-0-choice_text\"")
            .assert_contains("Enter a valid date.").assert_contains("Enter a valid time.").assert_contains("Enter a whole number.");
        page.assert_contains("aria-invalid=\"true\"").assert_contains("aria-describedby=\"id_question_text_error\"").assert_contains("id=\"id_question_text_error\"");
        let again = Form::find(&page, "object-form", &change(question.id));
        assert_eq!((again.value("pub_date_0"), again.value("pub_date_1"), again.value("choice_set-1-votes"), again.value("choice_set-2-votes")), ("x\">", "25:00", "many", "5"));
        // A date that an input for dates cannot show is shown as text.
        page.assert_contains("type=\"text\" name=\"pub_date_0\"");
        assert_eq!(text(&app, question.id).await, "Old?");
        assert!(app.log().await.is_empty());
        let page = admin.form(ADD, "object-form").await.submit(&admin).await;
        page.assert_contains("Please correct the error below.").assert_contains("This field is required.");
        let page = filled(admin.form(ADD, "object-form").await, &"é".repeat(201), &[]).submit(&admin).await;
        page.assert_contains("Please correct the error below.").assert_contains("Ensure this value has at most 200 characters (it has 201).");
    }

    async fn dates_are_accepted_in_django_s_formats(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("When?", &[]).await;
        let form = admin.form(change(question.id), "object-form").await.without("_version");
        for (date, time, shown) in [
            ("2026-02-03", "04:05", "Feb. 3, 2026, 4:05 a.m."),
            ("02/03/2026", "16:05:06", "Feb. 3, 2026, 4:05 p.m."),
            ("Feb 3, 2026", "12:00", "Feb. 3, 2026, noon"),
            (" 3 february 2026 ", " 0:00 ", "Feb. 3, 2026, midnight"),
        ] {
            form.clone().set("pub_date_0", date).set("pub_date_1", time).submit(&admin).await.assert_redirect(302, LIST);
            admin.get(LIST).await.assert_contains(shown);
        }
        for (date, time, error) in [
            ("2026-02-03", "", "This field is required."), ("0000-01-01", "00:00", "Enter a valid date."), ("10000-01-01", "00:00", "Enter a valid date."),
            ("2026-02-30", "00:00", "Enter a valid date."), ("2026-02-03", "24:00", "Enter a valid time."),
        ] {
            form.clone().set("pub_date_0", date).set("pub_date_1", time).submit(&admin).await.assert_status(200).assert_contains(error);
        }
    }

    async fn times_in_forms_are_in_the_site_s_time_zone(app: TestApp) {
        let mut settings = crate::support::app::settings(&app.database);
        settings.time_zone = "Europe/Berlin".parse().unwrap();
        let app = TestApp::with_settings(crate::support::TestDatabase::migrated(app.database.backend).await, settings).await;
        let admin = app.superuser().await;
        let form = filled(admin.form(ADD, "object-form").await, "Where?", &[]).set("pub_date_0", "2026-07-01").set("pub_date_1", "12:00:00");
        form.clone().submit(&admin).await.assert_redirect(302, LIST);
        let found = polls::entities::question::Entity::find();
        let row = found.one(app.site.core.db.write()).await.unwrap().unwrap();
        assert_eq!(row.pub_date.to_rfc3339(), "2026-07-01T10:00:00+00:00");
        let page = admin.get(change(row.id)).await;
        assert_eq!(Form::find(&page, "object-form", "").value("pub_date_1"), "12:00:00");
        page.assert_contains("Times are in Europe/Berlin.");
        admin.get(LIST).await.assert_contains("July 1, 2026, noon");
        form.set("pub_date_0", "2026-03-29").set("pub_date_1", "02:30:00").submit(&admin).await.assert_status(200)
            .assert_contains("2026-03-29 02:30:00 couldn’t be interpreted in time zone Europe/Berlin; it may be ambiguous or it may not exist.");
    }

    async fn unchanged_fields_are_not_written(app: TestApp) {
        let admin = app.superuser().await;
        // With microseconds, which the form does not show.
        let question = app.question_at("Exact?", now(), &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        form.clone().set("question_text", "Exactly?").submit(&admin).await.assert_redirect(302, LIST);
        let row = polls::polls_app::queries::find(app.site.core.db.write(), question.id).await.unwrap().unwrap().question;
        assert_eq!((row.question_text.as_str(), *row.pub_date), ("Exactly?", now()));
        assert_eq!(app.log().await[0].3, "[{\"changed\": {\"fields\": [\"Question text\"]}}]");
    }

    async fn the_list_s_filters_are_preserved(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Filtered?", &[]).await;
        let list = format!("{LIST}?q=filtered&o=-1");
        let page = admin.get(&list).await;
        let link = format!("{}?_changelist_filters=q%3Dfiltered%26o%3D-1", change(question.id));
        page.assert_contains(&format!("href=\"{link}\""));
        let form = admin.form(&link, "object-form").await;
        form.clone().submit(&admin).await.assert_redirect(302, &list);
        form.clone().add("_continue", "1").submit(&admin).await.assert_redirect(302, &link);
        admin.get(&link).await.assert_contains(&format!("{LIST}{}/delete/?_changelist_filters=q%3Dfiltered%26o%3D-1", question.id));
        let delete = format!("{LIST}{}/delete/?_changelist_filters=q%3Dfiltered%26o%3D-1", question.id);
        admin.form(&delete, "submit-row").await.submit(&admin).await.assert_redirect(302, &list);
        // What the query string holds stays a query.
        let evil = format!("{ADD}?_changelist_filters=%0d%0aSet-Cookie:x%3D1");
        let reply = filled(admin.form(&evil, "object-form").await, "X?", &[]).submit(&admin).await;
        reply.assert_redirect(302, LIST);
    }

    async fn initial_values_come_from_the_query_string(app: TestApp) {
        let admin = app.superuser().await;
        let form = admin.form(&format!("{ADD}?question_text=From+a+link%3F&pub_date_0=2026-01-02&nosuch=1"), "object-form").await;
        assert_eq!((form.value("question_text"), form.value("pub_date_0")), ("From a link?", "2026-01-02"));
    }

    async fn a_form_without_a_version_token_is_saved_as_in_django(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Django's?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await.without("_version");
        app.set_votes(question.choices[0], 5).await;
        form.set("question_text", "Ours?").set("choice_set-0-votes", "1").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!((text(&app, question.id).await.as_str(), app.votes(question.choices[0]).await), ("Ours?", 1));
    }

    async fn digits_of_other_scripts_are_accepted(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Digits?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        form.set("choice_set-0-votes", "\u{661}\u{662}\u{ff13}").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(app.votes(question.choices[0]).await, 123);
        let choice: String = question.choices[0].to_string().chars().map(|digit| char::from_u32(0x966 + u32::from(digit) - 48).unwrap()).collect();
        let visitor = app.visitor();
        let form = visitor.form(format!("/polls/{}/", question.id), "/vote/").await;
        form.add("choice", &choice).submit(&visitor).await.assert_redirect(302, &format!("/polls/{}/results/", question.id));
        assert_eq!(app.votes(question.choices[0]).await, 124);
    }
}

#[tokio::test]
async fn votes_of_more_than_32_bits_on_sqlite_are_read_and_shown() {
    use sea_orm::ConnectionTrait;
    let app = TestApp::new(crate::support::Backend::Sqlite).await;
    let admin = app.superuser().await;
    let question = app.question("Many?", &["A", "B"]).await;
    let tx = app.site.core.db.write().begin().await.unwrap();
    let sql = format!(
        "UPDATE polls_app_choice SET votes = 3000000000 WHERE id = {}",
        question.choices[0]
    );
    tx.execute_unprepared(&sql).await.unwrap();
    tx.commit().await.unwrap();
    app.set_votes(question.choices[1], 1_000_000_000).await;
    let results = app
        .visitor()
        .get(format!("/polls/{}/results/", question.id))
        .await;
    results
        .assert_status(200)
        .assert_contains("3,000,000,000 votes")
        .assert_contains("75%");
    app.visitor()
        .get("/polls/")
        .await
        .assert_contains("4,000,000,000 votes");
    admin
        .get(LIST)
        .await
        .assert_status(200)
        .assert_contains("4,000,000,000");
    // The form keeps the number when something else is changed, and takes from it.
    let stored = async || {
        let statement = sea_orm::Statement::from_string(
            sea_orm::DbBackend::Sqlite,
            "SELECT max(votes) FROM polls_app_choice",
        );
        let row = app
            .site
            .core
            .db
            .write()
            .query_one_raw(statement)
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    let form = admin.form(change(question.id), "object-form").await;
    assert_eq!(form.value("choice_set-0-votes"), "3000000000");
    form.set("choice_set-0-choice_text", "Changed")
        .submit(&admin)
        .await
        .assert_redirect(302, LIST);
    assert_eq!(stored().await, 3_000_000_000);
    let form = admin.form(change(question.id), "object-form").await;
    form.set("choice_set-0-votes", "2000000000")
        .submit(&admin)
        .await
        .assert_redirect(302, LIST);
    assert_eq!(stored().await, 2_000_000_000);
}
