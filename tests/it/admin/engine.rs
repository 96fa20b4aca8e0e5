//! Registering another model takes a declaration only; invalid declarations are reported.

use polls::{
    admin::{
        AdminSite, Cell, Computed, FieldOptions, Fieldset, Inline, ModelAdmin, Source, check_models,
    },
    entities::{choice, log_entry, question, session, user},
    site::admin_site,
};
use sea_orm::{EntityTrait, Value};

use super::{ADD, LIST, change, choices, filled};
use crate::support::{Form, TestApp, TestDatabase, app::settings};

const CHOICES: &str = "/admin/polls_app/choice/";

/// The site with choices and the log of their own, which the real one has not.
fn site() -> AdminSite {
    let mut site = admin_site();
    site.register(ModelAdmin {
        fields: vec![FieldOptions {
            default: Some(|_| Value::Int(Some(0))),
            ..FieldOptions::new("votes")
        }],
        list_display: &[
            "choice_text",
            "question",
            "question__pub_date",
            "votes",
            "__str__",
        ],
        list_editable: &["votes"],
        list_filter: &["question"],
        search_fields: &["choice_text", "question__question_text"],
        save_as: true,
        ..ModelAdmin::new::<choice::Entity>("polls_app", ("choice", "choices"), |choice| {
            format!("Choice {}", choice.choice_text)
        })
    });
    let entries = ModelAdmin {
        fields: vec![
            FieldOptions {
                choices: &[("1", "Addition"), ("2", "Change"), ("3", "Deletion")],
                ..FieldOptions::new("action_flag")
            },
            FieldOptions {
                blank: true,
                ..FieldOptions::new("change_message")
            },
        ],
        verbose_name: "log entry",
        list_display: &["object_repr", "action_flag", "user", "content_type"],
        list_filter: &["action_flag", "user", "action_time"],
        readonly_fields: &["action_time", "user", "content_type"],
        ..ModelAdmin::new::<log_entry::Entity>("admin", ("logentry", "log entries"), |entry| {
            entry.object_repr.clone()
        })
    };
    site.register(entries);
    site
}

async fn with_more_models(app: &TestApp) -> TestApp {
    let database = TestDatabase::migrated(app.database.backend).await;
    let settings = settings(&database);
    TestApp::with_site(database, settings, site()).await
}

on_both_databases! {
    async fn another_registered_model_has_every_page(app: TestApp) {
        let app = with_more_models(&app).await;
        assert_eq!(check_models(&app.site.admin.site), []);
        let admin = app.superuser().await;
        let first = app.question("First question?", &["Red", "Blue"]).await;
        app.question("Second question?", &["Green"]).await;
        let page = admin.get(CHOICES).await;
        page.assert_contains("First question?").assert_contains("Nov. 20, 2026, 11 a.m.").assert_contains("Choice Red").assert_contains("Select choice to change");
        admin.get(format!("{CHOICES}?o=3.-1")).await.assert_status(200);
        admin.get(format!("{CHOICES}?q=first")).await.assert_contains("2 choices");
        admin.get(format!("{CHOICES}?question__id__exact=2")).await.assert_contains("1 choice").assert_contains("By question");
        admin.get(format!("{CHOICES}?question=1&_facets=1")).await.assert_contains("2 choices");
        // The question is chosen from a list.
        let page = admin.get(&format!("{CHOICES}add/")).await;
        page.assert_contains("Second question?").assert_contains("---------");
        let form = Form::find(&page, "object-form", &format!("{CHOICES}add/"));
        form.clone().submit(&admin).await.assert_status(200).assert_contains("This field is required.");
        for question in ["999", "x", "99999999999"] {
            form.clone().set("choice_text", "Pink").set("question", question).submit(&admin).await.assert_status(200).assert_contains("That choice is not one of the available choices.");
        }
        form.set("choice_text", "Pink").set("question", &first.id.to_string()).submit(&admin).await.assert_redirect(302, CHOICES);
        assert_eq!(choices(&app, first.id).await.len(), 3);
        // A question's choices are now of a model of their own: without its right they cannot go with it.
        let editor = app.staff(&["polls_app.delete_question", "polls_app.view_question"]).await;
        let path = format!("{}{}/delete/", LIST, first.id);
        let page = editor.get(&path).await;
        page.assert_contains("your account may not delete the following types of objects").assert_contains("<li>choice</li>").assert_lacks("Yes, I’m sure");
        let token = page.csrf_token();
        editor.post(&path, &[("csrfmiddlewaretoken", &token), ("post", "yes")], &[]).await.assert_status(403);
    }

    async fn save_as_new_makes_a_copy(app: TestApp) {
        let app = with_more_models(&app).await;
        let admin = app.superuser().await;
        let question = app.question("Copied?", &["Red"]).await;
        let path = format!("{CHOICES}{}/change/", question.choices[0]);
        let page = admin.get(&path).await;
        page.assert_contains("Save as new").assert_lacks("_addanother");
        let reply = Form::find(&page, "object-form", &path).set("choice_text", "Copy").add("_saveasnew", "1").submit(&admin).await;
        assert!(reply.assert_status(302).header("location").unwrap().ends_with("/change/"));
        assert_eq!(choices(&app, question.id).await, [("Red".to_owned(), 0), ("Copy".to_owned(), 0)]);
        // The real question does not offer it.
        admin.get(change(question.id)).await.assert_lacks("_saveasnew");
    }

    async fn list_editable_saves_from_the_list(app: TestApp) {
        let app = with_more_models(&app).await;
        let admin = app.superuser().await;
        let question = app.question("Edited?", &["Red", "Blue"]).await;
        let form = admin.form(CHOICES, "changelist-form").await;
        let (red, blue) = if form.value("form-0-id") == question.choices[0].to_string() { (0, 1) } else { (1, 0) };
        form.clone().set(&format!("form-{red}-votes"), "5").add("_save", "Save").submit(&admin).await.assert_redirect(302, CHOICES);
        admin.get(CHOICES).await.assert_contains("1 choice was changed successfully.");
        assert_eq!(choices(&app, question.id).await, [("Red".to_owned(), 5), ("Blue".to_owned(), 0)]);
        assert_eq!(app.log().await.last().unwrap().3, "[{\"changed\": {\"fields\": [\"Votes\"]}}]");
        // All of it or nothing.
        let page = form.clone().set(&format!("form-{red}-votes"), "5").set(&format!("form-{blue}-votes"), "many").add("_save", "Save").submit(&admin).await;
        page.assert_status(200).assert_contains("Please correct the error below.").assert_contains("Enter a whole number.").assert_contains("value=\"many\"");
        // Votes were counted meanwhile: the old list does not overwrite them.
        app.set_votes(question.choices[1], 9).await;
        let page = form.set(&format!("form-{blue}-votes"), "1").add("_save", "Save").submit(&admin).await;
        page.assert_status(200).assert_contains("Another user has changed this to “9” meanwhile.");
        assert_eq!(choices(&app, question.id).await[1].1, 9);
        Form::find(&page, "changelist-form", CHOICES).add("_save", "Save").submit(&admin).await.assert_redirect(302, CHOICES);
        assert_eq!(choices(&app, question.id).await[1].1, 1);
    }

    async fn stacked_inlines_are_rendered(app: TestApp) {
        let mut site = AdminSite::default();
        let rows = ModelAdmin {
            fields: vec![FieldOptions { default: Some(|_| Value::Int(Some(0))), ..FieldOptions::new("votes") }],
            ..ModelAdmin::new::<choice::Entity>("polls_app", ("choice", "choices"), |choice| choice.choice_text.clone())
        };
        site.register(ModelAdmin {
            inlines: vec![Inline::stacked(rows, "question").extra(1)],
            ..ModelAdmin::new::<question::Entity>("polls_app", ("question", "questions"), |question| question.question_text.clone())
        });
        assert_eq!(check_models(&site), []);
        let database = TestDatabase::migrated(app.database.backend).await;
        let settings = settings(&database);
        let app = TestApp::with_site(database, settings, site).await;
        let admin = app.superuser().await;
        let question = app.question("Stacked?", &["A", "B"]).await;
        let page = admin.get(change(question.id)).await;
        page.assert_contains("stacked-row").assert_contains("Stacked?").assert_lacks("inline-table");
        let form = Form::find(&page, "object-form", &change(question.id));
        form.set("choice_set-2-choice_text", "C").add("choice_set-0-DELETE", "on").submit(&admin).await.assert_redirect(302, LIST);
        assert_eq!(choices(&app, question.id).await, [("B".to_owned(), 0), ("C".to_owned(), 0)]);
    }

    async fn choices_and_readonly_fields_show_labels(app: TestApp) {
        let app = with_more_models(&app).await;
        let admin = app.superuser().await;
        let form = admin.form(ADD, "object-form").await;
        filled(form, "Logged?", &[]).submit(&admin).await;
        let page = admin.get("/admin/admin/logentry/").await;
        page.assert_contains("Addition").assert_contains("Logged?").assert_contains(">admin<").assert_contains("By action flag").assert_contains("By user");
        admin.get("/admin/admin/logentry/?action_flag__exact=3").await.assert_contains("0 log entries");
        admin.get("/admin/admin/logentry/?user__id__exact=1").await.assert_contains("1 log entry");
        let page = admin.get("/admin/admin/logentry/1/change/").await;
        page.assert_contains("Nov. 20, 2026, noon").assert_lacks("name=\"action_time_0\"").assert_contains("<option value=\"1\" selected>Addition</option>").assert_contains("<textarea");
        let form = Form::find(&page, "object-form", "/admin/admin/logentry/1/change/");
        form.clone().set("action_flag", "7").submit(&admin).await.assert_status(200).assert_contains("Select a valid choice. 7 is not one of the available choices.");
        form.set("change_message", "two\nlines").add("action_time_0", "1999-01-01").submit(&admin).await.assert_redirect(302, "/admin/admin/logentry/");
        let row = log_entry::Entity::find_by_id(1).one(app.site.core.db.write()).await.unwrap().unwrap();
        assert_eq!((row.change_message.as_str(), row.action_time), ("two\nlines", polls::db::microseconds(crate::support::app::now())));
    }
}

#[test]
fn check_reports_every_invalid_declaration() {
    assert_eq!(check_models(&admin_site()), []);
    let question = || {
        ModelAdmin::new::<question::Entity>("polls_app", ("question", "questions"), |q| {
            q.question_text.clone()
        })
    };
    let choice = || {
        ModelAdmin::new::<choice::Entity>("polls_app", ("choice", "choices"), |c| {
            c.choice_text.clone()
        })
    };
    let wrong: Vec<(&str, ModelAdmin)> = vec![
        (
            "admin.E108",
            ModelAdmin {
                list_display: &["question_text", "nosuch"],
                ..question()
            },
        ),
        (
            "admin.E108",
            ModelAdmin {
                list_display: &["nosuch__x"],
                ..question()
            },
        ),
        (
            "admin.E116",
            ModelAdmin {
                list_filter: &["question_text"],
                ..question()
            },
        ),
        (
            "admin.E121",
            ModelAdmin {
                list_display: &["__str__", "x"],
                list_editable: &["x"],
                computed: vec![Computed {
                    name: "x",
                    heading: "X",
                    ordered_by: None,
                    source: Source::row(|_: &question::Model, _| Cell::Empty),
                }],
                ..question()
            },
        ),
        (
            "admin.E122",
            ModelAdmin {
                list_editable: &["question_text"],
                ..question()
            },
        ),
        (
            "polls.E005",
            ModelAdmin {
                search_fields: &["pub_date"],
                ..question()
            },
        ),
        (
            "polls.E005",
            ModelAdmin {
                search_fields: &["choice__choice_text"],
                ..question()
            },
        ),
        (
            "admin.E128",
            ModelAdmin {
                date_hierarchy: Some("question_text"),
                ..question()
            },
        ),
        (
            "admin.E033",
            ModelAdmin {
                ordering: &["-nosuch"],
                ..question()
            },
        ),
        (
            "polls.E006",
            ModelAdmin {
                computed: vec![Computed {
                    name: "x",
                    heading: "X",
                    ordered_by: Some("nosuch"),
                    source: Source::row(|_: &question::Model, _| Cell::Empty),
                }],
                ..question()
            },
        ),
        (
            "admin.E035",
            ModelAdmin {
                readonly_fields: &["nosuch"],
                ..question()
            },
        ),
        (
            "admin.E012",
            ModelAdmin {
                fieldsets: vec![Fieldset::new(None, &["pub_date", "pub_date"])],
                ..question()
            },
        ),
        (
            "polls.E009",
            ModelAdmin {
                fieldsets: vec![Fieldset::new(None, &["nosuch"])],
                ..question()
            },
        ),
        (
            "polls.E008",
            ModelAdmin {
                fields: vec![FieldOptions::new("nosuch")],
                ..question()
            },
        ),
        (
            "admin.E202",
            ModelAdmin {
                inlines: vec![Inline::stacked(choice(), "votes")],
                ..question()
            },
        ),
    ];
    for (id, admin) in wrong {
        let mut site = AdminSite::default();
        site.register(admin);
        let found = check_models(&site);
        assert!(
            found.iter().any(|(known, _)| *known == id),
            "{id}: {found:?}"
        );
    }
    let mut site = AdminSite::default();
    site.register(question());
    site.register(question());
    site.register(ModelAdmin::new::<session::Entity>(
        "sessions",
        ("session", "sessions"),
        |row| row.session_key.clone(),
    ));
    site.register(ModelAdmin::new::<user::Entity>(
        "auth",
        ("user", "users"),
        |row| row.username.clone(),
    ));
    let ids: Vec<&str> = check_models(&site).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["polls.E011", "polls.E007"]);
}
