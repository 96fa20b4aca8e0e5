//! Permissions: the status of every URL for every kind of user, as in Django.

use super::{ADD, LIST, change, choices, filled, text};
use crate::support::{
    Client, Form, TestApp,
    app::{Kind, PASSWORD},
};
use polls::entities::user;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};

/// The statuses of a client's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answers {
    index: u16,
    app: u16,
    list: u16,
    add: u16,
    change: u16,
    save: u16,
    delete: u16,
    history: u16,
    action: u16,
    user: u16,
    password: u16,
}

const LOGIN: u16 = 302;
const NOBODY: Answers = Answers {
    index: LOGIN,
    app: LOGIN,
    list: LOGIN,
    add: LOGIN,
    change: LOGIN,
    save: LOGIN,
    delete: LOGIN,
    history: LOGIN,
    action: LOGIN,
    user: LOGIN,
    password: LOGIN,
};
const STAFF: Answers = Answers {
    index: 200,
    app: 404,
    list: 403,
    add: 403,
    change: 403,
    save: 403,
    delete: 403,
    history: 403,
    action: 403,
    user: 403,
    password: 403,
};
const ALL: Answers = Answers {
    index: 200,
    app: 200,
    list: 200,
    add: 200,
    change: 200,
    save: 302,
    delete: 200,
    history: 200,
    action: 200,
    user: 200,
    password: 200,
};

/// Who, with which permissions, and what they get. To view is to see the list, the object and its history; who may
/// change may view too.
const TABLE: &[(&str, Option<Kind>, &[&str], Answers)] = &[
    ("anonymous", None, &[], NOBODY),
    (
        "outsider",
        Some(Kind::NonStaff),
        &["polls_app.view_question", "polls_app.change_question"],
        NOBODY,
    ),
    ("bare staff", Some(Kind::Staff), &[], STAFF),
    (
        "viewer",
        Some(Kind::Staff),
        &["polls_app.view_question"],
        Answers {
            app: 200,
            list: 200,
            change: 200,
            history: 200,
            ..STAFF
        },
    ),
    (
        "adder",
        Some(Kind::Staff),
        &["polls_app.add_question"],
        Answers {
            app: 200,
            add: 200,
            ..STAFF
        },
    ),
    (
        "changer",
        Some(Kind::Staff),
        &["polls_app.change_question"],
        Answers {
            app: 200,
            list: 200,
            change: 200,
            save: 302,
            history: 200,
            ..STAFF
        },
    ),
    (
        "deleter",
        Some(Kind::Staff),
        &["polls_app.delete_question"],
        Answers {
            app: 200,
            delete: 200,
            ..STAFF
        },
    ),
    (
        "viewing deleter",
        Some(Kind::Staff),
        &["polls_app.view_question", "polls_app.delete_question"],
        Answers {
            app: 200,
            list: 200,
            change: 200,
            history: 200,
            delete: 200,
            action: 200,
            ..STAFF
        },
    ),
    (
        "of choices only",
        Some(Kind::Staff),
        &["polls_app.change_choice", "polls_app.view_choice"],
        STAFF,
    ),
    (
        "user viewer",
        Some(Kind::Staff),
        &["auth.view_user"],
        Answers { user: 200, ..STAFF },
    ),
    (
        "user changer",
        Some(Kind::Staff),
        &["auth.change_user"],
        Answers {
            user: 200,
            password: 200,
            ..STAFF
        },
    ),
    ("superuser", Some(Kind::Superuser), &[], ALL),
];

async fn answers(app: &TestApp, client: &Client, question: i32, target: i32) -> Answers {
    let get = async |path: &str| client.get(path).await.status.as_u16();
    // Any page has a CSRF token.
    let token = match client.get("/admin/").await {
        page if page.status.as_u16() == 200 => page.csrf_token(),
        _ => client.get("/admin/login/").await.csrf_token(),
    };
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("csrfmiddlewaretoken", token.as_str())];
        all.extend_from_slice(fields);
        client.post(path, &all, &[]).await.status.as_u16()
    };
    let (id, object) = (question.to_string(), change(question));
    let fields = [
        ("question_text", "Saved?"),
        ("pub_date_0", "2026-01-01"),
        ("pub_date_1", "00:00:00"),
        ("choice_set-TOTAL_FORMS", "0"),
        ("choice_set-INITIAL_FORMS", "0"),
    ];
    let before = text(app, question).await;
    let save = post(&object, &fields).await;
    let is_saved = text(app, question).await != before;
    assert_eq!(is_saved, save == 302 && get("/admin/").await == 200);
    Answers {
        index: get("/admin/").await,
        app: get("/admin/polls_app/").await,
        list: get(LIST).await,
        add: get(ADD).await,
        change: get(&object).await,
        save,
        delete: get(&format!("{LIST}{question}/delete/")).await,
        history: get(&format!("{LIST}{question}/history/")).await,
        action: post(
            LIST,
            &[("action", "delete_selected"), ("_selected_action", &id)],
        )
        .await,
        user: get(&format!("/admin/auth/user/{target}/change/")).await,
        password: get(&format!("/admin/auth/user/{target}/password/")).await,
    }
}

async fn set_staff(app: &TestApp, username: &str, is_staff: bool) {
    let tx = app.site.core.db.write().begin().await.unwrap();
    let update = user::Entity::update_many()
        .col_expr(user::Column::IsStaff, Expr::value(is_staff))
        .filter(user::Column::Username.eq(username));
    assert_eq!(update.exec(&tx).await.unwrap().rows_affected, 1);
    tx.commit().await.unwrap();
}

on_both_databases! {
    async fn every_url_answers_every_kind_of_user_as_listed(app: TestApp) {
        let target = app.add_user("target", Kind::NonStaff, &[]).await;
        for (index, (who, kind, permissions, expected)) in TABLE.iter().enumerate() {
            let question = app.question(&format!("Question {index}?"), &["A"]).await;
            let client = app.visitor();
            if let Some(kind) = kind {
                let name = format!("user{index}");
                app.add_user(&name, *kind, permissions).await;
                let is_staff = *kind != Kind::NonStaff;
                if !is_staff {
                    // The admin's login refuses this user, who has a session nevertheless.
                    client.log_in(&name, PASSWORD).await.assert_status(200);
                    set_staff(&app, &name, true).await;
                }
                client.log_in(&name, PASSWORD).await.assert_status(302);
                set_staff(&app, &name, is_staff).await;
            }
            assert_eq!(answers(&app, &client, question.id, target).await, *expected, "{who}");
        }
    }

    async fn group_permissions_apply(app: TestApp) {
        let admin = app.superuser().await;
        let view = app.permission("polls_app.view_question").await.to_string();
        let form = admin.form("/admin/auth/group/add/", "object-form").await;
        form.set("name", "Readers").add("permissions", &view).submit(&admin).await.assert_redirect(302, "/admin/auth/group/");
        let reader = app.add_user("reader", Kind::Staff, &[]).await;
        let client = app.logged_in("reader").await;
        client.get(LIST).await.assert_status(403);
        let form = admin.form(&format!("/admin/auth/user/{reader}/change/"), "object-form").await;
        form.add("groups", "1").submit(&admin).await.assert_redirect(302, "/admin/auth/user/");
        client.get(LIST).await.assert_status(200).assert_lacks("Add question");
    }

    async fn with_view_permission_only_the_form_has_no_inputs(app: TestApp) {
        let question = app.question("Look?", &["A <b>"]).await;
        let viewer = app.staff(&["polls_app.view_question", "polls_app.view_choice"]).await;
        let page = viewer.get(change(question.id)).await;
        page.assert_contains("View question").assert_contains("Look?").assert_contains("A &lt;b&gt;").assert_contains("Nov. 20, 2026, 11 a.m.")
            .assert_contains("Close").assert_lacks("name=\"question_text\"").assert_lacks("name=\"choice_set-0").assert_lacks("_save").assert_lacks("object-form");
        viewer.get(LIST).await.assert_contains("Select question to view").assert_lacks("delete_selected").assert_lacks("Add question");
    }

    async fn inline_rows_have_their_own_permissions(app: TestApp) {
        let question = app.question("Rows?", &["A", "B"]).await;
        app.add_user("blind", Kind::Staff, &["polls_app.change_question"]).await;
        let blind = app.logged_in("blind").await;
        let form = blind.form(change(question.id), "object-form").await;
        assert!(!form.has("choice_set-TOTAL_FORMS"));
        // What the page does not offer cannot be sent either.
        let forged = form.set("question_text", "Changed?").add("choice_set-TOTAL_FORMS", "1").add("choice_set-INITIAL_FORMS", "1")
            .add("choice_set-0-id", &question.choices[0].to_string()).add("choice_set-0-choice_text", "X").add("choice_set-0-votes", "9").add("choice_set-0-DELETE", "on");
        forged.submit(&blind).await.assert_redirect(302, LIST);
        assert_eq!(choices(&app, question.id).await, [("A".to_owned(), 0), ("B".to_owned(), 0)]);
        app.add_user("adder", Kind::Staff, &["polls_app.change_question", "polls_app.add_choice"]).await;
        let adder = app.logged_in("adder").await;
        let form = adder.form(change(question.id), "object-form").await;
        assert!(!form.has("choice_set-0-choice_text") && form.has("choice_set-2-choice_text"));
        form.set("choice_set-2-choice_text", "C").add("choice_set-0-choice_text", "X").add("choice_set-0-DELETE", "on").submit(&adder).await.assert_redirect(302, LIST);
        let texts: Vec<String> = choices(&app, question.id).await.into_iter().map(|choice| choice.0).collect();
        assert_eq!(texts, ["A", "B", "C"]);
    }

    async fn with_add_permission_only_saving_redirects_to_the_index(app: TestApp) {
        let adder = app.staff(&["polls_app.add_question"]).await;
        let form = filled(adder.form(ADD, "object-form").await, "Blind?", &[]);
        form.submit(&adder).await.assert_redirect(302, "/admin/");
        // No link to what they may not see.
        adder.get("/admin/").await.assert_contains("The question “Blind?” was added successfully.").assert_lacks("/change/");
    }

    async fn revoked_permissions_apply_at_once(app: TestApp) {
        let admin = app.superuser().await;
        let editor = app.staff(&["polls_app.change_question"]).await;
        editor.get(LIST).await.assert_status(200);
        let page = admin.get("/admin/auth/user/2/change/").await;
        let form = Form::find(&page, "object-form", "/admin/auth/user/2/change/").without("user_permissions");
        form.clone().submit(&admin).await.assert_redirect(302, "/admin/auth/user/");
        editor.get(LIST).await.assert_status(403);
        admin.form("/admin/auth/user/2/change/", "object-form").await.without("is_active").submit(&admin).await.assert_redirect(302, "/admin/auth/user/");
        editor.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
    }
}
