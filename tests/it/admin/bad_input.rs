//! Invalid and forged input: an error, no crash, and nothing saved in part.

use poem::http::Method;

use super::{ADD, LIST, change, choices, filled, text};
use crate::support::TestApp;

on_both_databases! {
    async fn forms_cannot_change_choices_of_other_questions(app: TestApp) {
        let admin = app.superuser().await;
        let mine = app.question("Mine?", &["A"]).await;
        let other = app.question("Other?", &["B"]).await;
        let form = admin.form(change(mine.id), "object-form").await;
        let reply = form.clone().set("choice_set-0-id", &other.choices[0].to_string()).set("choice_set-0-choice_text", "stolen").submit(&admin).await;
        reply.assert_status(200).assert_contains("Select a valid choice. That choice is not one of the available choices.");
        let reply = form.clone().add("choice_set-0-question", &other.id.to_string()).submit(&admin).await;
        reply.assert_status(200).assert_contains("The inline value did not match the parent instance.");
        // A row of another question cannot be deleted either.
        form.clone().set("choice_set-0-id", &other.choices[0].to_string()).add("choice_set-0-DELETE", "on").submit(&admin).await.assert_status(200);
        assert_eq!(choices(&app, other.id).await, [("B".to_owned(), 0)]);
        assert_eq!(choices(&app, mine.id).await, [("A".to_owned(), 0)]);
    }

    async fn formset_management_fields_are_validated(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Forms?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        for (name, value) in [("TOTAL_FORMS", "x"), ("TOTAL_FORMS", "-1"), ("TOTAL_FORMS", "99999999999999999999"), ("INITIAL_FORMS", "x"), ("INITIAL_FORMS", "9")] {
            form.clone().set(&format!("choice_set-{name}"), value).submit(&admin).await.assert_status(400);
        }
        form.clone().without("choice_set-TOTAL_FORMS").submit(&admin).await.assert_status(400);
        form.clone().set("choice_set-TOTAL_FORMS", "1001").submit(&admin).await.assert_status(200).assert_contains("Please submit at most 1000 forms.");
        assert_eq!(choices(&app, question.id).await.len(), 1);
    }

    async fn invalid_values_are_form_errors(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Values?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        for (name, value, error) in [
            ("question_text", "a\0b", "Null characters are not allowed."),
            ("pub_date_0", "2026-\0", "Null characters are not allowed."),
            ("choice_set-0-votes", "99999999999", "Ensure this value is less than or equal to 2147483647."),
            ("choice_set-0-votes", "-99999999999999999999999", "Ensure this value is greater than or equal to 0."),
            ("choice_set-0-votes", "1e3", "Enter a whole number."),
            ("choice_set-0-votes", "", "This field is required."),
            ("choice_set-0-choice_text", "x", ""),
        ] {
            let reply = form.clone().set(name, value).submit(&admin).await;
            if error.is_empty() {
                reply.assert_redirect(302, LIST);
            } else {
                reply.assert_status(200).assert_contains(error);
            }
        }
        form.without("_version").set("choice_set-0-votes", "3.0").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(choices(&app, question.id).await[0].1, 3);
        // A lone surrogate cannot be said in UTF-8: what stands for it is stored.
        let form = admin.form(change(question.id), "object-form").await;
        let token = form.value("csrfmiddlewaretoken").to_owned();
        let body = format!("csrfmiddlewaretoken={token}&question_text=%ED%A0%80&pub_date_0=2026-01-01&pub_date_1=00:00&choice_set-TOTAL_FORMS=0&choice_set-INITIAL_FORMS=0");
        let reply = admin.request(Method::POST, &change(question.id), &[("content-type", "application/x-www-form-urlencoded")], &body).await;
        reply.assert_redirect(302, LIST);
        assert!(text(&app, question.id).await.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
    }

    async fn request_bodies_are_limited(app: TestApp) {
        let admin = app.superuser().await;
        let token = admin.get(ADD).await.csrf_token();
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let large = format!("csrfmiddlewaretoken={token}&question_text={}", "x".repeat(2_700_000));
        admin.request(Method::POST, ADD, &kind, &large).await.assert_status(413);
        let many = format!("csrfmiddlewaretoken={token}{}", "&a=1".repeat(1001));
        admin.request(Method::POST, ADD, &kind, &many).await.assert_status(400);
        let repeated = format!("csrfmiddlewaretoken={token}&choice_set-TOTAL_FORMS=0&choice_set-INITIAL_FORMS=0{}&question_text=last&pub_date_0=2026-01-01&pub_date_1=00:00", "&question_text=x".repeat(500));
        admin.request(Method::POST, ADD, &kind, &repeated).await.assert_redirect(302, LIST);
        let long = format!("{LIST}?q={}", "a+".repeat(20_000));
        admin.get(&long).await.assert_status(200);
        admin.get(format!("{LIST}?{}", "q=x&".repeat(2000))).await.assert_status(200);
        let bad = format!("{LIST}?e=1");
        admin.get(format!("{LIST}?id__in={}", "1,".repeat(5000).trim_end_matches(','))).await.assert_redirect(302, &bad);
        admin.get(format!("{LIST}?{}", "id__exact=1&".repeat(900))).await.assert_redirect(302, &bad);
        admin.get(format!("{LIST}?id__in={}", "1,".repeat(200).trim_end_matches(','))).await.assert_status(200);
    }

    async fn unknown_fields_and_actions_are_ignored(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Forged?", &["A"]).await;
        let form = filled(admin.form(change(question.id), "object-form").await, "Fine?", &[]);
        form.add("id", "999").add("pk", "999").add("nosuch", "1").add("choice_set-0-question_id", "999").add("_saveasnew", "1").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(text(&app, question.id).await, "Fine?");
        let list = admin.form(LIST, "changelist-form").await;
        for action in ["nosuch", "delete_selected\0", "__init__"] {
            list.clone().set("action", action).add("_selected_action", &question.id.to_string()).submit(&admin).await.assert_redirect(302, LIST);
        }
        assert_eq!(text(&app, question.id).await, "Fine?");
        admin.post(LIST, &[("action", "delete_selected")], &[]).await.assert_status(403);
        let page = admin.get(ADD).await;
        admin.post(change(question.id), &[("csrfmiddlewaretoken", &page.csrf_token()), ("question_text", "x")], &[("origin", "https://evil.example")]).await.assert_status(403);
    }
}
