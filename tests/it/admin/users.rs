//! Users and groups: added in two steps, given permissions, and never more than one has oneself.

use polls::{
    auth::{hashers, permissions::Permissions, users},
    db::Connection,
    entities::user,
};
use sea_orm::EntityTrait;

use crate::support::{Client, Form, Reply, TestApp, app::Kind};

const USERS: &str = "/admin/auth/user/";
const ADD: &str = "/admin/auth/user/add/";

fn change(id: i32) -> String {
    format!("{USERS}{id}/change/")
}

async fn user(app: &TestApp, username: &str) -> user::Model {
    users::find(app.site.core.db.write(), username)
        .await
        .unwrap()
        .unwrap()
}

async fn add(client: &Client, username: &str, password: [&str; 2]) -> Reply {
    let form = client.form(ADD, "object-form").await;
    form.set("username", username)
        .set("password1", password[0])
        .set("password2", password[1])
        .add("usable_password", "true")
        .submit(client)
        .await
}

on_both_databases! {
    async fn the_password_link_needs_the_permission(app: TestApp) {
        let admin = app.superuser().await;
        let id = app.add_user("other", Kind::NonStaff, &[]).await;
        let path = format!("/admin/auth/user/{id}/change/");
        admin.get(&path).await.assert_contains("Reset password");
        let viewer = app.staff(&["auth.view_user"]).await;
        viewer.get(&path).await.assert_contains("A password is set").assert_lacks("Reset password");
        // With the permission, but not for who has more rights.
        app.add_user("manager", Kind::Staff, &["auth.view_user", "auth.change_user"]).await;
        let manager = app.logged_in("manager").await;
        manager.get(&path).await.assert_contains("Reset password");
        manager.get("/admin/auth/user/1/change/").await.assert_status(200).assert_lacks("Reset password");
    }

    async fn a_user_is_added_in_two_steps(app: TestApp) {
        let admin = app.superuser().await;
        admin.get(ADD).await.assert_contains("After you’ve created a user").assert_contains("type=\"password\"").assert_lacks("is_superuser");
        let reply = add(&admin, "ﬁrst", ["Quite-new-91", "Quite-new-91"]).await;
        let found = user(&app, "first").await;
        reply.assert_redirect(302, &change(found.id));
        assert!(found.is_active && !found.is_staff && !found.is_superuser && found.password.starts_with("pbkdf2_sha256$1000$"));
        assert_eq!(found.date_joined, polls::db::microseconds(crate::support::app::now()));
        let page = admin.get(change(found.id)).await;
        page.assert_contains("was added successfully. You may edit it again below.").assert_contains("A password is set (pbkdf2_sha256).").assert_lacks(&found.password).assert_lacks("pbkdf2_sha256$");
        let form = Form::find(&page, "object-form", &change(found.id));
        let view = app.permission("polls_app.view_question").await.to_string();
        form.set("first_name", "Ann").set("email", "Ann@EXAMPLE.com").add("is_staff", "on").add("user_permissions", &view).submit(&admin).await.assert_redirect(302, USERS);
        let log = app.log().await;
        assert_eq!(log.last().unwrap().3, "[{\"changed\": {\"fields\": [\"First name\", \"Email address\", \"Staff status\", \"User permissions\"]}}]");
        assert_eq!(log[0].3, "[{\"added\": {}}]");
        let client = app.visitor();
        client.log_in("first", "Quite-new-91").await.assert_redirect(302, "/admin/");
        client.get("/admin/").await.assert_contains("Ann").assert_contains("Questions");
    }

    async fn errors_of_a_new_user_are_shown(app: TestApp) {
        let admin = app.superuser().await;
        for (username, password, error) in [
            ("admin", ["Quite-new-91"; 2], "A user with that username already exists."),
            ("", ["Quite-new-91"; 2], "This field is required."),
            ("a b", ["Quite-new-91"; 2], "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."),
            (&"x".repeat(151), ["Quite-new-91"; 2], "Ensure this value has at most 150 characters (it has 151)."),
            ("new", ["", ""], "This field is required."),
            ("new", ["Quite-new-91", "Quite-new-92"], "The two password fields didn’t match."),
            ("new", ["password", "password"], "This password is too common."),
            ("quitenew", ["quitenew1", "quitenew1"], "The password is too similar to the username."),
        ] {
            let reply = add(&admin, username, password).await;
            reply.assert_status(200).assert_contains(error).assert_lacks("value=\"Quite").assert_lacks("value=\"pass");
        }
        assert_eq!(user::Entity::find().all(app.site.core.db.write()).await.unwrap().len(), 1);
        let form = admin.form(ADD, "object-form").await;
        form.without("usable_password").set("username", "sso").add("usable_password", "false").submit(&admin).await;
        assert!(!hashers::is_usable(&user(&app, "sso").await.password));
    }

    async fn an_invalid_password_of_a_new_user_has_one_error(app: TestApp) {
        let admin = app.superuser().await;
        let form = admin.form(format!("{USERS}add/"), "object-form").await;
        let form = form.set("username", "new").set("password1", "Quite-\0new-91").set("password2", "Quite-\0new-91");
        let page = form.submit(&admin).await;
        page.assert_status(200).assert_contains("Null characters are not allowed.").assert_lacks("This field is required.");
    }

    async fn a_password_can_be_set_and_disabled(app: TestApp) {
        let admin = app.superuser().await;
        let id = app.add_user("other", Kind::Staff, &[]).await;
        let other = app.logged_in("other").await;
        let path = format!("{USERS}{id}/password/");
        let page = admin.get(&path).await;
        page.assert_contains("Change password: other").assert_contains("Disable password-based authentication");
        let form = Form::find(&page, "narrow", &path);
        form.clone().set("password1", "short").set("password2", "short").submit(&admin).await.assert_status(200).assert_contains("This password is too short.");
        form.clone().submit(&admin).await.assert_status(200).assert_contains("This field is required.");
        // No login accepts these.
        for (password, error) in [("Quite-\0new-91".to_owned(), "Null characters are not allowed."), ("Quite-new-91".repeat(342), "This password is too long.")] {
            form.clone().set("password1", &password).set("password2", &password).submit(&admin).await.assert_status(200).assert_contains(error);
        }
        form.clone().set("password1", "Quite-new-91").set("password2", "Quite-new-91").submit(&admin).await.assert_redirect(302, &change(id));
        admin.get(change(id)).await.assert_contains("Password changed successfully.");
        assert_eq!(app.log().await.last().unwrap().3, "[{\"changed\": {\"fields\": [\"Password\"]}}]");
        other.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
        app.visitor().log_in("other", "Quite-new-91").await.assert_redirect(302, "/admin/");
        form.clone().add("unset-password", "1").submit(&admin).await.assert_redirect(302, &change(id));
        app.visitor().log_in("other", "Quite-new-91").await.assert_status(200);
        admin.get(change(id)).await.assert_contains("Password-based authentication was disabled.").assert_contains("No password set.");
        admin.get(&path).await.assert_contains("Set password: other").assert_lacks("unset-password");
        // One's own session stays.
        let own = format!("{USERS}1/password/");
        let form = admin.form(&own, "narrow").await;
        form.set("password1", "Quite-new-91").set("password2", "Quite-new-91").submit(&admin).await.assert_redirect(302, &change(1));
        admin.get("/admin/").await.assert_status(200);
        for path in ["/admin/auth/user/999/password/", "/admin/auth/user/x/password/"] {
            admin.get(path).await.assert_status(404);
        }
    }

    async fn users_cannot_grant_permissions_they_do_not_have(app: TestApp) {
        let editor = app.staff(&["auth.add_user", "auth.change_user", "auth.view_user", "auth.add_group", "auth.change_group", "auth.view_group", "polls_app.view_question"]).await;
        let own = user(&app, "editor").await.id;
        let boss = app.add_user("boss", Kind::Superuser, &[]).await;
        let deleter = app.add_user("deleter", Kind::Staff, &["polls_app.delete_question"]).await;
        let (has, lacks) = (app.permission("polls_app.view_question").await.to_string(), app.permission("polls_app.delete_question").await.to_string());
        let path = change(own);
        let form = editor.form(&path, "object-form").await;
        form.clone().add("is_superuser", "on").submit(&editor).await.assert_status(200).assert_contains("Only a superuser can make another user a superuser.");
        form.clone().add("user_permissions", &lacks).submit(&editor).await.assert_status(200).assert_contains("You cannot give a right that you do not have yourself: polls_app.delete_question.");
        // Those who have more cannot be changed, nor their passwords set, nor can they be looked into by a forged form.
        for id in [boss, deleter] {
            editor.get(change(id)).await.assert_status(200).assert_lacks("_save");
            let forged = form.clone();
            let forged = Form { action: change(id), ..forged }.without("_version").set("username", "taken");
            forged.submit(&editor).await.assert_status(403);
            editor.get(format!("{USERS}{id}/password/")).await.assert_status(403);
        }
        // A group is no way around, neither a new one nor one that is there.
        let group = editor.form("/admin/auth/group/add/", "object-form").await.set("name", "Around");
        group.clone().add("permissions", &lacks).submit(&editor).await.assert_status(200).assert_contains("You cannot give a right");
        group.add("permissions", &has).submit(&editor).await.assert_redirect(302, "/admin/auth/group/");
        let admin = app.superuser().await;
        let strong = admin.form("/admin/auth/group/add/", "object-form").await.set("name", "Strong").add("permissions", &lacks);
        strong.submit(&admin).await.assert_redirect(302, "/admin/auth/group/");
        form.clone().add("groups", "2").submit(&editor).await.assert_status(200).assert_contains("You cannot give a right");
        form.clone().add("groups", "1").submit(&editor).await.assert_redirect(302, USERS);
        // What they have they may give.
        add(&editor, "helper", ["Quite-new-91"; 2]).await;
        let helper = user(&app, "helper").await.id;
        editor.form(&change(helper), "object-form").await.add("is_staff", "on").add("user_permissions", &has).submit(&editor).await.assert_redirect(302, USERS);
        let rights = Permissions::load(Connection::Database(app.site.core.db.write()), &user(&app, "editor").await).await.unwrap();
        assert!(!rights.contains("polls_app.delete_question") && rights.contains("auth.change_user"));
        assert!(!user(&app, "editor").await.is_superuser && user(&app, "boss").await.username == "boss");
    }

    async fn users_are_filtered_searched_and_deleted(app: TestApp) {
        let admin = app.superuser().await;
        let id = app.add_user("Zoë", Kind::Staff, &["polls_app.view_question"]).await;
        app.add_user("plain", Kind::NonStaff, &[]).await;
        let names = async |query: &str| {
            let page = admin.get(format!("{USERS}?{query}")).await;
            page.assert_status(200);
            ["admin", "Zoë", "plain"].into_iter().filter(|name| page.text().contains(&format!("dir=\"auto\">{name}</span>\n</a>"))).collect::<Vec<_>>()
        };
        assert_eq!(names("").await, ["admin", "Zoë", "plain"]);
        assert_eq!(names("is_staff__exact=1").await, ["admin", "Zoë"]);
        assert_eq!(names("is_superuser__exact=0&is_staff__exact=1").await, ["Zoë"]);
        assert_eq!(names("groups__isnull=True").await.len(), 3);
        assert_eq!(names("groups__id__exact=1").await.len(), 0);
        assert_eq!(names("q=zo").await, ["Zoë"]);
        assert_eq!(names("q=Zoë").await, ["Zoë"]);
        let page = admin.get(format!("{USERS}{id}/delete/")).await;
        page.assert_contains("1 user-permission relationship");
        Form::find(&page, "submit-row", &format!("{USERS}{id}/delete/")).submit(&admin).await.assert_redirect(302, USERS);
        assert!(users::find(app.site.core.db.write(), "Zoë").await.unwrap().is_none());
        // Who deletes themselves is gone at once.
        admin.form(&format!("{USERS}1/delete/"), "submit-row").await.submit(&admin).await;
        admin.get("/admin/").await.assert_redirect(302, "/admin/login/?next=/admin/");
    }

    async fn groups_are_unique_and_forged_choices_refused(app: TestApp) {
        let admin = app.superuser().await;
        let form = admin.form("/admin/auth/group/add/", "object-form").await;
        form.clone().set("name", "One").submit(&admin).await.assert_redirect(302, "/admin/auth/group/");
        form.clone().set("name", "One").submit(&admin).await.assert_status(200).assert_contains("Group with this Name already exists.");
        for (value, error) in [("99999", "Select a valid choice. 99999 is not one of the available choices."), ("x", "“x” is not a valid value."), ("99999999999999", "“99999999999999” is not a valid value.")] {
            form.clone().set("name", "Two").add("permissions", value).submit(&admin).await.assert_status(200).assert_contains(error);
        }
        admin.get("/admin/auth/group/").await.assert_contains("1 group");
        let page = admin.get("/admin/auth/group/1/change/").await;
        page.assert_contains("Polls_App | question | Can view question").assert_contains("Administration | log entry | Can add log entry").assert_contains("data-chooser=\"permissions\"");
    }

    async fn a_save_after_permissions_were_revoked_is_refused(app: TestApp) {
        let admin = app.superuser().await;
        let editor = app.staff(&["auth.change_user", "auth.view_user"]).await;
        let target = app.add_user("target", Kind::NonStaff, &[]).await;
        let form = editor.form(change(target), "object-form").await;
        admin.form(&change(2), "object-form").await.without("user_permissions").submit(&admin).await.assert_redirect(302, USERS);
        form.set("username", "renamed").submit(&editor).await.assert_status(403);
        assert_eq!(user(&app, "target").await.id, target);
    }

    async fn password_hashes_cannot_be_read_through_lookups(app: TestApp) {
        let viewer = app.staff(&["auth.view_user"]).await;
        for query in ["password__startswith=pbkdf2", "password__gt=a", "password=x", "password__isnull=0", "password__contains=%24", "password__in=a,b", "password_info__isnull=1", "password1=x"] {
            viewer.get(format!("{USERS}?{query}")).await.assert_redirect(302, &format!("{USERS}?e=1"));
        }
        viewer.get(format!("{USERS}?q=pbkdf2")).await.assert_contains("0 users");
    }

    async fn usernames_are_normalized(app: TestApp) {
        let admin = app.superuser().await;
        // One letter that stands for eighteen, blanks among them.
        add(&admin, "\u{fdfa}", ["Quite-new-91"; 2]).await.assert_status(200).assert_contains("Enter a valid username.");
        add(&admin, &"\u{fb03}".repeat(60), ["Quite-new-91"; 2]).await.assert_status(200).assert_contains("Ensure this value has at most 150 characters (it has 180).");
        add(&admin, "\u{ff41}dmin", ["Quite-new-91"; 2]).await.assert_status(200).assert_contains("A user with that username already exists.");
    }

    async fn groups_with_more_permissions_cannot_be_assigned(app: TestApp) {
        let admin = app.superuser().await;
        let delete = app.permission("polls_app.delete_question").await.to_string();
        admin.form("/admin/auth/group/add/", "object-form").await.set("name", "Strong").add("permissions", &delete).submit(&admin).await;
        let editor = app.staff(&["auth.change_group", "auth.delete_group", "auth.view_group"]).await;
        editor.get("/admin/auth/group/1/change/").await.assert_status(200).assert_lacks("_save");
        editor.get("/admin/auth/group/1/delete/").await.assert_status(403);
        let form = editor.form("/admin/auth/group/", "changelist-form").await;
        form.set("action", "delete_selected").add("_selected_action", "1").add("post", "yes").submit(&editor).await.assert_status(403);
        admin.get("/admin/auth/group/").await.assert_contains("1 group");
    }

    async fn conflicting_permission_changes_are_merged(app: TestApp) {
        let admin = app.superuser().await;
        app.add_user("other", Kind::Superuser, &[]).await;
        let other = app.logged_in("other").await;
        let [view, add, change] = ["view", "add", "change"].map(|action| format!("polls_app.{action}_question"));
        let (view, add, change) = (app.permission(&view).await.to_string(), app.permission(&add).await.to_string(), app.permission(&change).await.to_string());
        admin.form("/admin/auth/group/add/", "object-form").await.set("name", "Team").add("permissions", &view).submit(&admin).await;
        let path = "/admin/auth/group/1/change/";
        let (mine, theirs) = (admin.form(path, "object-form").await, other.form(path, "object-form").await);
        theirs.add("permissions", &add).submit(&other).await.assert_redirect(302, "/admin/auth/group/");
        let page = mine.without("permissions").add("permissions", &change).submit(&admin).await;
        page.assert_contains("Another user has changed this group").assert_contains("Polls_App | question | Can add question, Polls_App | question | Can view question");
        Form::find(&page, "object-form", path).submit(&admin).await.assert_redirect(302, "/admin/auth/group/");
        let form = admin.form(path, "object-form").await;
        let mut chosen: Vec<&String> = form.fields.iter().filter(|(name, _)| name == "permissions").map(|(_, value)| value).collect();
        chosen.sort();
        let mut expected = [&add, &change];
        expected.sort();
        assert_eq!(chosen, expected);
    }
}
