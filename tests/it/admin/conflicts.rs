//! Concurrent edits of one object: nothing is overwritten silently, and no vote is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{LIST, change, choices, text};
use crate::support::{Form, TestApp, app::Kind};
use polls::{entities::question, polls_app::votes::VoteResult};
use sea_orm::{EntityTrait, PaginatorTrait};

on_both_databases! {
    async fn the_second_of_two_saves_shows_the_conflict(app: TestApp) {
        let admin = app.superuser().await;
        let editor = app.staff(&["polls_app.change_question", "polls_app.change_choice", "polls_app.add_choice", "polls_app.delete_choice"]).await;
        let question = app.question("First?", &["A", "B"]).await;
        let path = change(question.id);
        let (first, second) = (admin.form(&path, "object-form").await, editor.form(&path, "object-form").await);
        first.set("question_text", "Admin's?").set("choice_set-1-choice_text", "Admin's B").submit(&admin).await.assert_redirect(302, LIST);
        let page = second.clone().set("question_text", "Editor's?").set("pub_date_0", "2020-01-01").submit(&editor).await;
        page.assert_status(200).assert_contains("Another user has changed this question while you were editing it.")
            .assert_contains("<strong>admin</strong>").assert_contains("Changed Question text. Changed Choice text for choice “Admin&#x27;s B”.")
            .assert_contains("First?").assert_contains("Now stored: ").assert_contains("Admin&#x27;s?");
        assert_eq!(text(&app, question.id).await, "Admin's?");
        // The form has their changes where the editor made none.
        let merged = Form::find(&page, "object-form", &path);
        assert_eq!((merged.value("question_text"), merged.value("choice_set-1-choice_text"), merged.value("pub_date_0")), ("Editor's?", "Admin's B", "2020-01-01"));
        merged.submit(&editor).await.assert_redirect(302, LIST);
        assert_eq!(text(&app, question.id).await, "Editor's?");
        assert_eq!(choices(&app, question.id).await[1].0, "Admin's B");
        let log = app.log().await;
        assert_eq!(log.last().unwrap().3, "[{\"changed\": {\"fields\": [\"Question text\", \"Date published\"]}}]");
    }

    async fn votes_during_an_edit_are_kept(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Hot?", &["A", "B"]).await;
        app.set_votes(question.choices[0], 10).await;
        let form = admin.form(change(question.id), "object-form").await;
        for _ in 0..3 {
            assert_eq!(app.site.votes.add(question.id, question.choices[0]).await.unwrap(), VoteResult::Counted);
        }
        // The editor does not touch them.
        form.clone().set("question_text", "Hotter?").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(app.votes(question.choices[0]).await, 13);
        // The editor takes five away, of which they knew; those that came since stay.
        let form = admin.form(change(question.id), "object-form").await;
        for _ in 0..4 {
            assert_eq!(app.site.votes.add(question.id, question.choices[0]).await.unwrap(), VoteResult::Counted);
        }
        form.set("choice_set-0-votes", "8").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(app.votes(question.choices[0]).await, 12);
    }

    async fn no_vote_is_lost_by_saves_during_voting(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Hot?", &["A"]).await;
        let is_edited = AtomicBool::new(false);
        let voting = async {
            let mut votes = 0;
            while !is_edited.load(Ordering::SeqCst) {
                assert_eq!(app.site.votes.add(question.id, question.choices[0]).await.unwrap(), VoteResult::Counted);
                votes += 1;
            }
            votes
        };
        let editing = async {
            for number in 0..20 {
                let form = admin.form(change(question.id), "object-form").await;
                let version: serde_json::Value = serde_json::from_str(form.value("_version")).unwrap();
                let known = &version["inlines"]["choice_set"][question.choices[0].to_string()]["votes"][0];
                assert_eq!(known, form.value("choice_set-0-votes"), "form {number}");
                form.set("question_text", &format!("Hot {number}?")).submit(&admin).await.assert_redirect(302, LIST);
            }
            is_edited.store(true, Ordering::SeqCst);
        };
        let (votes, ()) = tokio::join!(voting, editing);
        assert_eq!(app.votes(question.choices[0]).await, votes);
    }

    async fn votes_that_two_users_take_away_are_a_conflict(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Hot?", &["A"]).await;
        app.set_votes(question.choices[0], 10).await;
        let path = change(question.id);
        let (first, second) = (admin.form(&path, "object-form").await, admin.form(&path, "object-form").await);
        let unchanged = second.clone();
        first.set("choice_set-0-votes", "0").submit(&admin).await.assert_redirect(302, LIST);
        for _ in 0..4 {
            assert_eq!(app.site.votes.add(question.id, question.choices[0]).await.unwrap(), VoteResult::Counted);
        }
        let page = second.set("choice_set-0-votes", "0").submit(&admin).await;
        page.assert_status(200).assert_contains("choice “A”: Votes").assert_contains("Now stored: ");
        assert_eq!(app.votes(question.choices[0]).await, 4);
        // The form that is shown has the current votes in its version: two of the four are taken away, and a vote after it stays.
        let merged = Form::find(&page, "object-form", &path);
        assert_eq!(merged.value("choice_set-0-votes"), "0");
        assert_eq!(app.site.votes.add(question.id, question.choices[0]).await.unwrap(), VoteResult::Counted);
        merged.set("choice_set-0-votes", "2").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(app.votes(question.choices[0]).await, 3);
        // A form whose votes were not changed is no conflict.
        unchanged.set("question_text", "Hotter?").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!((text(&app, question.id).await.as_str(), app.votes(question.choices[0]).await), ("Hotter?", 3));
    }

    async fn rows_added_and_deleted_during_an_edit_are_conflicts(app: TestApp) {
        let admin = app.superuser().await;
        app.add_user("other", Kind::Superuser, &[]).await;
        let other = app.logged_in("other").await;
        let question = app.question("Rows?", &["A", "B", "C"]).await;
        let path = change(question.id);
        let mine = admin.form(&path, "object-form").await;
        let theirs = other.form(&path, "object-form").await;
        theirs.add("choice_set-0-DELETE", "on").add("choice_set-1-DELETE", "on").set("choice_set-3-choice_text", "D").submit(&other).await.assert_redirect(302, LIST);
        let page = mine.set("choice_set-1-choice_text", "B, but better").submit(&admin).await;
        page.assert_status(200).assert_contains("choice “A”").assert_contains("deleted").assert_contains("choice “D”").assert_contains("added");
        let merged = Form::find(&page, "object-form", &path);
        merged.submit(&admin).await.assert_redirect(302, LIST);
        let texts: Vec<String> = choices(&app, question.id).await.into_iter().map(|choice| choice.0).collect();
        // The unchanged row is deleted; the changed one is added again.
        assert_eq!(texts, ["C", "D", "B, but better"]);
    }

    async fn an_object_deleted_during_an_edit_can_be_restored(app: TestApp) {
        let admin = app.superuser().await;
        app.add_user("other", Kind::Superuser, &[]).await;
        let other = app.logged_in("other").await;
        let question = app.question("DeletedObject?", &["A", "B"]).await;
        let path = change(question.id);
        let form = admin.form(&path, "object-form").await;
        other.form(&format!("{LIST}{}/delete/", question.id), "submit-row").await.submit(&other).await.assert_redirect(302, LIST);
        let page = form.clone().set("question_text", "Saved after all?").submit(&admin).await;
        page.assert_status(200).assert_contains("This question was deleted while you were editing it.").assert_contains("<strong>other</strong>").assert_contains("Deleted it.");
        let again = Form::find(&page, "object-form", &path);
        assert_eq!((again.action.as_str(), again.value("question_text")), ("/admin/polls_app/question/add/", "Saved after all?"));
        again.submit(&admin).await.assert_redirect(302, LIST);
        let page = admin.get(LIST).await;
        let id: i32 = page.between("“<a href=\"/admin/polls_app/question/", "/change/").parse().unwrap();
        assert_eq!(choices(&app, id).await.len(), 2);
        // Without the mark, as Django has it.
        form.without("_version").submit(&admin).await.assert_redirect(302, "/admin/");
    }

    async fn an_invalid_version_token_is_refused(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Marked?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        for mark in ["", "x", "{}", "[]", "{\"at\": 1}", "{\"at\":\"+200000-01-01T00:00:00Z\",\"object\":{},\"inlines\":{}}"] {
            form.clone().set("_version", mark).submit(&admin).await.assert_status(400);
        }
        assert!(app.log().await.is_empty());
    }

    async fn of_ten_concurrent_saves_one_succeeds(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Race?", &["A"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        let saves = (0..10).map(|number| {
            let form = form.clone().set("question_text", &format!("Racer {number}?"));
            let admin = &admin;
            async move { form.submit(admin).await.status.as_u16() }
        });
        let statuses = futures_util::future::join_all(saves).await;
        assert_eq!(statuses.iter().filter(|status| **status == 302).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 9, "{statuses:?}");
        assert_eq!(app.log().await.len(), 1);
    }

    async fn concurrent_deletions_delete_once(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Twice?", &["A", "B"]).await;
        let form = admin.form(format!("{LIST}{}/delete/", question.id), "submit-row").await;
        let deletes = (0..8).map(|_| form.submit(&admin));
        for reply in futures_util::future::join_all(deletes).await {
            reply.assert_status(302);
        }
        assert_eq!(app.log().await.len(), 1);
    }

    async fn votes_saves_and_deletes_do_not_block_each_other(app: TestApp) {
        let admin = app.superuser().await;
        let mut questions = Vec::new();
        for number in 0..6 {
            questions.push(app.question(&format!("Busy {number}?"), &["A", "B", "C"]).await);
        }
        let form = admin.form(change(questions[0].id), "object-form").await.without("_version");
        let delete = admin.form(LIST, "changelist-form").await.set("action", "delete_selected").add("post", "yes");
        let delete = questions[3..].iter().rev().fold(delete, |form, question| form.add("_selected_action", &question.id.to_string()));
        let vote = async {
            for _ in 0..20 {
                let votes = questions.iter().flat_map(|question| question.choices.iter().map(|choice| app.site.votes.add(question.id, *choice)));
                let counted: Vec<_> = futures_util::future::join_all(votes).await.into_iter().map(Result::unwrap).collect();
                // Only those of the deleted questions may have no choice any more.
                assert_eq!(counted[..9], [VoteResult::Counted; 9]);
            }
        };
        let save = async {
            for number in 0..20 {
                form.clone().set("question_text", &format!("Saved {number}?")).submit(&admin).await.assert_redirect(302, LIST);
            }
        };
        let remove = async { delete.submit(&admin).await.assert_redirect(302, LIST) };
        futures_util::join!(vote, save, remove);
        assert_eq!(text(&app, questions[0].id).await, "Saved 19?");
        // The saved form had the votes of the first question in it, and no version: they are overwritten, as Django does.
        for choice in questions[1..3].iter().flat_map(|question| &question.choices) {
            assert_eq!(app.votes(*choice).await, 20);
        }
        assert_eq!(question::Entity::find().count(app.site.core.db.write()).await.unwrap(), 3);
    }
}
