//! Adding a poll on the public pages.

use chrono::{DateTime, Utc};
use polls::{
    entities::question_options::{Model as Options, Policy, ResultsShown},
    polls_app::{queries, urls},
};

use crate::support::{Client, Form, TestApp, app::Kind};

/// The form, as `visitor` gets it.
async fn form(visitor: &Client) -> Form {
    let page = visitor.get(urls::NEW).await;
    Form::find(page.assert_status(200), "new-poll", urls::NEW)
}

/// The form with a question and choices.
fn filled(form: Form, question: &str, choices: &[&str]) -> Form {
    let form = form.set("question_text", question).without("choice");
    choices
        .iter()
        .fold(form, |form, text| form.add("choice", text))
}

on_both_databases! {
    async fn those_who_may_add_questions_add_a_poll(app: TestApp) {
        app.add_user("author", Kind::NonStaff, &["polls_app.add_question"]).await;
        app.add_user("reader", Kind::NonStaff, &["polls_app.view_question"]).await;
        let visitor = app.visitor();
        visitor.get("/polls/").await.assert_lacks(">New poll<");
        visitor.get(urls::NEW).await.assert_redirect(302, "/accounts/login/?next=/polls/new/");
        let reader = app.public_login("reader").await;
        reader.get("/polls/").await.assert_lacks(">New poll<").assert_contains("Log out");
        reader.get(urls::NEW).await.assert_status(403);
        let author = app.public_login("author").await;
        author.get("/polls/").await.assert_contains("href=\"/polls/new/\">New poll</a>").assert_lacks("href=\"/admin/\"");
        let form = form(&author).await;
        // The author could not see results that are shown to staff only.
        author.get(urls::NEW).await.assert_contains("value=\"closed\"").assert_lacks("value=\"staff\"");
        filled(form.clone(), "X?", &["A", "B"]).set("results", "staff").submit(&author).await.assert_status(200).assert_contains("id=\"results-error\">Select a valid choice.");
        let reply = filled(form.clone(), " Best season? ", &["Summer", "", "Winter ", ""]).submit(&author).await;
        let id = app.latest_question().await;
        reply.assert_redirect(302, &urls::share(id));
        let found = queries::find(app.site.core.db.write(), id).await.unwrap().unwrap();
        let choices: Vec<_> = found.choices.iter().map(|choice| (choice.choice_text.as_str(), choice.votes.0)).collect();
        assert_eq!((found.question.question_text.as_str(), choices), ("Best season?", vec![("Summer", 0), ("Winter", 0)]));
        assert_eq!((*found.question.pub_date, found.options), (crate::support::app::now(), Options::default()));
        app.visitor().get("/polls/").await.assert_contains("Best season?");
        // The history is that of the admin.
        let log = app.log().await.pop().unwrap();
        let staff = app.superuser().await;
        staff.form("/admin/polls_app/question/add/", "data-guard").await.set("question_text", "Best season?")
            .set("choice_set-0-choice_text", "Summer").set("choice_set-1-choice_text", "Winter").add("_save", "Save").submit(&staff).await;
        let of_admin = app.log().await.pop().unwrap();
        assert_eq!((log.1, &log.2, &log.3), (of_admin.1, &of_admin.2, &of_admin.3));
        assert!(log.3.contains(r#"{"added": {"name": "choice", "object": "Winter"}}"#), "{}", log.3);
        // Without a token.
        author.post(urls::NEW, &[("question_text", "X"), ("choice", "A"), ("choice", "B")], &[]).await.assert_status(403);
    }

    async fn mistakes_are_shown_at_their_fields(app: TestApp) {
        let staff = app.superuser().await;
        let form = form(&staff).await;
        let long = "x".repeat(201);
        let valid = |question: &str, choices: &[&str]| filled(form.clone(), question, choices);
        for (form, field, text) in [
            (valid("", &["A", "B"]), "question_text", "This field is required."),
            (valid(&long, &["A", "B"]), "question_text", "Ensure this value has at most 200 characters (it has 201)."),
            (valid("X\0", &["A", "B"]), "question_text", "Null characters are not allowed."),
            (valid("X?", &["A", ""]), "choices", "Enter at least two different choices."),
            (valid("X?", &["A", " a "]), "choice2", "This choice is already in the list."),
            (valid("X?", &["A", "B", "A"]), "choice3", "This choice is already in the list."),
            (valid("X?", &["A", &long]), "choice2", "Ensure this value has at most 200 characters (it has 201)."),
            (valid("X?", &vec!["A"; 101]), "choices", "Enter at least two different choices."),
            (valid("X?", &["A", "B"]).set("publish", "later"), "pub_date", "This field is required."),
            (valid("X?", &["A", "B"]).set("pub_date", "2030-01-01T00:00"), "pub_date", "Select “At a time”, or leave the time empty."),
            (valid("X?", &["A", "B"]).set("publish", "zzz"), "pub_date", "Select a valid choice."),
            (valid("X?", &["A", "B"]).set("publish", "later").set("pub_date", "0000-06-01T00:00"), "pub_date", "Enter a valid date and time"),
            (valid("\u{200b}", &["A", "B"]), "question_text", "Enter a text that can be seen."),
            (valid("X?", &["é", "e\u{301}"]), "choice2", "This choice is already in the list."),
            (valid("X?", &["A", "b\nc"]), "choice2", "Control characters and line breaks are not allowed."),
            (valid("X?", &["A", "B"]).set("closes_at", "2026-11-31T10:00"), "closes_at", "Enter a valid date and time, such as 2027-01-31 18:00."),
            (valid("X?", &["A", "B"]).set("closes_at", "9999-12-31T23:59:59-12:00"), "closes_at", "Enter a valid date and time, such as 2027-01-31 18:00."),
            (valid("X?", &["A", "B"]).set("closes_at", "2026-11-20T11:00"), "closes_at", "Voting has to end after the question is published."),
            (valid("X?", &["A", "B"]).set("max_choices", "0"), "max_choices", "Ensure this value is greater than or equal to 1."),
            (valid("X?", &["A", "B"]).set("max_choices", "3"), "max_choices", "There are only 2 choices."),
            (valid("X?", &["A", "B"]).set("max_choices", "x"), "max_choices", "Enter a whole number."),
            (valid("X?", &["A", "B"]).set("results", "voted"), "results", "With any number of votes it is not known who has voted"),
            (valid("X?", &["A", "B"]).set("policy", "zzz"), "policy", "Select a valid choice."),
        ] {
            let reply = form.submit(&staff).await;
            reply.assert_status(200).assert_contains("<title>Error: New poll").assert_contains("The poll was not published.")
                .assert_contains(&format!("id=\"{field}-error\">{text}")).assert_contains(&format!("aria-describedby=\"{field}-error\""));
        }
        let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        valid("X?", &many).submit(&staff).await.assert_contains("A poll may have 100 choices at most (it has 101).");
        assert_eq!(app.number("SELECT count(*) FROM polls_app_question").await + app.number("SELECT count(*) FROM polls_app_choice").await, 0);
        // What was typed is still there; options with errors are unfolded.
        let reply = valid("<X>?", &["A & B", "C"]).set("max_choices", "9").submit(&staff).await;
        reply.assert_contains("value=\"&lt;X&gt;?\"").assert_contains("value=\"A &amp; B\"").assert_contains("options\" open>");
    }

    async fn without_script_a_button_adds_rows(app: TestApp) {
        let staff = app.superuser().await;
        let form = form(&staff).await;
        assert_eq!(form.fields.iter().filter(|(name, _)| name == "choice").count(), 2);
        let reply = filled(form, "X?", &["A", "B"]).add("add_choice", "1").submit(&staff).await;
        reply.assert_status(200).assert_lacks("was not published");
        let form = Form::find(&reply, "new-poll", urls::NEW);
        let choices: Vec<_> = form.fields.iter().filter(|(name, _)| name == "choice").map(|(_, value)| value.as_str()).collect();
        assert_eq!((choices, form.value("question_text")), (vec!["A", "B", ""], "X?"));
        assert_eq!(app.number("SELECT count(*) FROM polls_app_question").await, 0);
    }

    async fn a_poll_with_options_is_published_later(app: TestApp) {
        app.add_user("author", Kind::NonStaff, &["polls_app.add_question"]).await;
        let author = app.public_login("author").await;
        let form = filled(form(&author).await, "Later?", &["A", "B", "C"]).set("publish", "later").set("pub_date", "2026-12-01T10:00")
            .set("closes_at", "2026-12-02T10:00").set("policy", "browser").set("results", "voted").set("max_choices", "2");
        let reply = form.submit(&author).await;
        let id = app.latest_question().await;
        reply.assert_redirect(302, &urls::share(id));
        let found = queries::find(app.site.core.db.write(), id).await.unwrap().unwrap();
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(*found.question.pub_date, time("2026-12-01T10:00:00Z"));
        let options = found.options;
        assert_eq!((options.policy, options.results, options.max_choices), (Policy::Browser, ResultsShown::AfterVoting, 2));
        assert_eq!(options.closes_at.map(|time| *time), Some(time("2026-12-02T10:00:00Z")));
        assert!(options.agreed_at.is_some());
        // The author may see it before it is published, others not.
        author.get(urls::share(id)).await.assert_status(200).assert_contains("Preview: visitors see this from <time datetime=\"2026-12-01T10:00");
        author.get(urls::detail(id)).await.assert_status(200).assert_lacks(">Vote</button>");
        for path in [urls::share(id), urls::detail(id), urls::qr_code(id) + "?format=png", urls::embed(id), urls::present(id), urls::events(id)] {
            app.visitor().get(&path).await.assert_status(404);
        }
    }
}
