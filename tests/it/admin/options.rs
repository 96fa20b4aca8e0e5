//! The options of questions in the admin: form, list, actions and codes.

use chrono::TimeDelta;
use polls::{
    entities::question_options::{self, Model as Options, Policy, ResultsShown},
    polls_app::urls,
};
use sea_orm::EntityTrait;

use super::{LIST, change};
use crate::support::{TestApp, app::now};

async fn options(app: &TestApp, id: i32) -> Option<Options> {
    let found = question_options::Entity::find_by_id(id);
    found.one(app.site.core.db.write()).await.unwrap()
}

on_both_databases! {
    async fn options_are_part_of_the_form_and_of_its_history(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Dinner?", &["Pizza", "Pasta"]).await;
        let form = admin.form(change(question.id), "object-form").await;
        // Unchanged options are not stored.
        form.clone().set("question_text", "Supper?").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(options(&app, question.id).await, None);
        let form = admin.form(change(question.id), "object-form").await;
        form.set("policy", "browser").set("max_choices", "2").set("closes_at_0", "2026-11-21").set("closes_at_1", "15:00")
            .set("results", "voted").submit(&admin).await.assert_redirect(302, LIST);
        let stored = options(&app, question.id).await.unwrap();
        assert_eq!((stored.policy, stored.max_choices, stored.results), (Policy::Browser, 2, ResultsShown::AfterVoting));
        assert_eq!(stored.closes_at.unwrap().to_rfc3339(), "2026-11-21T15:00:00+00:00");
        let message = &app.log().await[1].3;
        assert_eq!(message, "[{\"changed\": {\"fields\": [\"Closing time\", \"Votes per visitor\", \"Choices per vote\", \"Results are shown\"]}}]");
        app.visitor().get(urls::detail(question.id)).await.assert_contains("Select up to 2 choices.").assert_contains("Nov. 21, 2026, 15:00 UTC");
        // A form without them, as Django's.
        let form = admin.form(change(question.id), "object-form").await;
        let names = ["policy", "max_choices", "closes_at_0", "closes_at_1", "results"];
        let fields: Vec<_> = form.fields.iter().filter(|(name, _)| !names.contains(&name.as_str()) && name != "_version").cloned().collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        admin.post(change(question.id), &fields, &[]).await.assert_redirect(302, LIST);
        assert_eq!(options(&app, question.id).await.unwrap(), stored);
        // Mistakes are at their fields, and nothing is stored.
        let form = admin.form(change(question.id), "object-form").await;
        form.clone().set("policy", "any").submit(&admin).await.assert_status(200).assert_contains("With any number of votes it is not known who has voted");
        form.clone().set("closes_at_0", "2026-11-20").set("closes_at_1", "11:00").submit(&admin).await.assert_status(200)
            .assert_contains("Voting has to end after the question is published.");
        form.clone().set("max_choices", "0").submit(&admin).await.assert_status(200).assert_contains("greater than or equal to 1.");
        form.set("policy", "other").submit(&admin).await.assert_status(200).assert_contains("other is not one of the available choices.");
        assert_eq!(options(&app, question.id).await.unwrap(), stored);
    }

    async fn a_new_question_is_published_now_and_warns_without_choices(app: TestApp) {
        let admin = app.superuser().await;
        let form = admin.form("/admin/polls_app/question/add/", "object-form").await;
        let reply = form.set("question_text", "Lunch?").set("policy", "account").submit(&admin).await;
        reply.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_contains("Visitors will not see this question until it has a choice.").assert_contains("status-warning\">Draft</span>");
        let id = question_options::Entity::find().one(app.site.core.db.write()).await.unwrap().unwrap().question_id;
        let form = admin.form(change(id), "object-form").await;
        assert!(form.fields.contains(&("pub_date_0".to_owned(), "2026-11-20".to_owned())));
        form.set("choice_set-0-choice_text", "Soup").submit(&admin).await.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_lacks("Visitors will not see").assert_contains("status-success\">Open</span>");
    }

    async fn the_list_shows_and_filters_by_status_and_sorts_by_votes(app: TestApp) {
        let admin = app.superuser().await;
        app.question("Draft?", &[]).await;
        app.question_at("Scheduled?", now() + TimeDelta::hours(1), &["A"]).await;
        let open = app.question("Open?", &["A", "B"]).await;
        let closed = app.question("Closed?", &["A"]).await;
        app.set_options(closed.id, Options { closes_at: Some(now().into()), ..Options::default() }).await;
        app.set_votes(open.choices[1], 7).await;
        app.set_votes(closed.choices[0], 3).await;
        for (status, text) in [("draft", "Draft?"), ("scheduled", "Scheduled?"), ("open", "Open?"), ("closed", "Closed?")] {
            let page = admin.get(format!("{LIST}?status={status}")).await;
            page.assert_contains("1 question").assert_contains(&format!(">{text}</span>"));
        }
        admin.get(format!("{LIST}?status=odd")).await.assert_redirect(302, &format!("{LIST}?e=1"));
        admin.get(format!("{LIST}?status=open&_facets=True")).await.assert_contains("<span class=\"facet\">1</span>");
        for (order, first) in [("-4", "Open?"), ("4", "Scheduled?")] {
            let page = admin.get(format!("{LIST}?o={order}")).await;
            assert_eq!(page.between("class=\"title-cell\"><a", "</span>").rsplit('>').next().unwrap(), first, "{order}");
        }
    }

    async fn questions_are_closed_and_reopened_at_once(app: TestApp) {
        let admin = app.superuser().await;
        let questions = [app.question("One?", &["A"]).await, app.question("Two?", &["A"]).await];
        let later = app.question_at("Later?", now() + TimeDelta::hours(1), &["A"]).await;
        let token = admin.get(LIST).await.csrf_token();
        let ids = [questions[0].id, questions[1].id, later.id].map(|id| id.to_string());
        let selected = |action: &'static str| {
            let mut fields = vec![("csrfmiddlewaretoken", token.as_str()), ("action", action)];
            fields.extend(ids.iter().map(|id| ("_selected_action", id.as_str())));
            fields
        };
        app.visitor().get(urls::detail(questions[0].id)).await.assert_contains(">Vote</button>");
        admin.post(LIST, &selected("close_now"), &[]).await.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_contains("Close now: 2 questions changed.");
        app.visitor().get(urls::detail(questions[0].id)).await.assert_lacks(">Vote</button>").assert_contains("Voting ended");
        assert_eq!(app.log().await.len(), 2);
        assert_eq!(app.log().await[0].3, "[{\"changed\": {\"fields\": [\"Closing time\"]}}]");
        // On the page of the object.
        let page = admin.get(change(questions[0].id)).await;
        page.assert_contains("name=\"action\" value=\"reopen\">Reopen</button>").assert_lacks("Close now");
        let fields = [("csrfmiddlewaretoken", token.as_str()), ("action", "reopen"), ("_selected_action", ids[0].as_str()), ("_return", "change")];
        admin.post(LIST, &fields, &[]).await.assert_redirect(302, &change(questions[0].id));
        app.visitor().get(urls::detail(questions[0].id)).await.assert_contains(">Vote</button>");
        admin.post(LIST, &[("csrfmiddlewaretoken", token.as_str()), ("action", "reopen")], &[]).await.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_contains("Items must be selected");
        // Who may only view has no action.
        let viewer = app.staff(&["polls_app.view_question"]).await;
        let page = viewer.get(LIST).await;
        page.assert_lacks("close_now");
        viewer.get(change(questions[0].id)).await.assert_lacks("close_now");
        let token = viewer.get("/admin/").await.csrf_token();
        let fields = [("csrfmiddlewaretoken", token.as_str()), ("action", "close_now"), ("_selected_action", ids[0].as_str())];
        viewer.post(LIST, &fields, &[]).await.assert_status(403);
        viewer.get(format!("/admin/polls_app/question/{}/codes/", ids[0])).await.assert_status(403);
    }

    async fn codes_are_issued_downloaded_and_printed(app: TestApp) {
        let admin = app.superuser().await;
        let question = app.question("Dinner?", &["Pizza"]).await;
        app.set_options(question.id, Options { policy: Policy::Code, ..Options::default() }).await;
        let address = format!("/admin/polls_app/question/{}/codes/", question.id);
        admin.get(change(question.id)).await.assert_contains("../codes/").assert_contains("Add and download codes");
        for count in ["", "0", "-1", "100001", "x"] {
            let form = admin.form(&address, "method=\"post\" class=\"narrow\"").await;
            let reply = form.set("count", count).submit(&admin).await;
            reply.assert_status(200).assert_contains("Enter a number from 1 to 100000.");
        }
        let form = admin.form(&address, "method=\"post\" class=\"narrow\"").await;
        form.clone().set("count", "3").submit(&admin).await.assert_redirect(302, &address);
        form.set("count", "2").submit(&admin).await.assert_redirect(302, &address);
        admin.get(&address).await.assert_contains("The question has 5 codes.");
        let csv = admin.get(format!("{address}?format=csv")).await;
        assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
        let lines: Vec<&str> = csv.text().lines().collect();
        assert_eq!((lines.len(), lines[0]), (6, "code,link"));
        admin.get(format!("{address}?format=sheet")).await.assert_contains("code-card");
        // Each is valid once.
        for line in &lines[1..] {
            let (code, link) = line.split_once(',').unwrap();
            let path = link.strip_prefix("http://testserver").unwrap();
            let visitor = app.visitor();
            let page = visitor.get(path).await;
            page.assert_contains(&format!("value=\"{code}\""));
            for _ in 0..2 {
                let fields = [("policy", "code"), ("code", code), ("choice", &*question.choices[0].to_string())];
                visitor.submit(&page, &fields).await.assert_redirect(302, &urls::results(question.id));
            }
        }
        assert_eq!(app.votes(question.choices[0]).await, 5);
        assert_eq!(app.log().await.iter().filter(|entry| entry.3.contains("Codes")).count(), 2);
    }
}
