//! The list of questions: columns, order, search, filters, dates, pages, actions.

use chrono::TimeDelta;

use super::{LIST, change};
use crate::support::{Form, Reply, TestApp, app::now};

/// The texts of the rows, in order.
fn rows(page: &Reply) -> Vec<String> {
    let cells = page.text().split("title-cell").skip(1);
    cells
        .map(|cell| {
            let link = cell
                .split("<a")
                .nth(1)
                .unwrap()
                .split("</a>")
                .next()
                .unwrap();
            link.split("dir=\"auto\">")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

async fn listed(app: &TestApp, client: &crate::support::Client, query: &str) -> Vec<String> {
    let _ = app;
    let page = client.get(format!("{LIST}{query}")).await;
    page.assert_status(200);
    rows(&page)
}

on_both_databases! {
    async fn columns_have_headings_and_types(app: TestApp) {
        let admin = app.superuser().await;
        admin.get(LIST).await.assert_contains("There are no questions yet.").assert_contains("Add the first").assert_contains("0 questions");
        let question = app.question("Counted?", &["A", "B"]).await;
        app.set_votes(question.choices[0], 1200).await;
        app.set_votes(question.choices[1], 4).await;
        app.question_at("Long ago?", now() - TimeDelta::days(400), &[]).await;
        let page = admin.get(LIST).await;
        page.assert_contains("Select question to change").assert_contains("Date published").assert_contains("Status").assert_contains("1,204")
            .assert_contains("status-success\">Open<").assert_contains("status-warning\">Draft<").assert_contains("2 questions");
        // Newest first.
        assert_eq!(rows(&page), ["Long ago?", "Counted?"]);
    }

    async fn rows_can_be_ordered_by_several_columns(app: TestApp) {
        let admin = app.superuser().await;
        for (text, days) in [("b", 1), ("a", 2), ("c", 1), ("a", 3)] {
            app.question_at(text, now() - TimeDelta::days(days), &[]).await;
        }
        let order = async |o: &str| listed(&app, &admin, &format!("?o={o}")).await.concat();
        assert_eq!(order("1").await, "aabc");
        assert_eq!(order("-1").await, "cbaa");
        assert_eq!(order("2").await, "aacb");
        assert_eq!(order("-2.1").await, "bcaa");
        // What names no column, or one that cannot be ordered by, counts for nothing.
        for o in ["", "0", "99", "3", "x", "--1", "1.1.1", "-"] {
            assert_eq!(order(o).await.len(), 4, "{o}");
        }
        let page = admin.get(&format!("{LIST}?o=-2.1")).await;
        page.assert_contains("aria-sort=\"descending\"").assert_contains("aria-sort=\"ascending\"").assert_contains("▼1").assert_contains("▲2");
    }

    async fn search_splits_words_and_respects_quotes(app: TestApp) {
        let admin = app.superuser().await;
        app.question("What is the best season?", &["Summer", "Winter 100%"]).await;
        app.question("What is the best city?", &["Berlin"]).await;
        app.question("100_percent", &[]).await;
        let search = async |q: &str| listed(&app, &admin, &format!("?{}", form_urlencoded::Serializer::new(String::new()).append_pair("q", q).finish())).await.len();
        for (q, expected) in [
            ("best", 2), ("BEST season", 1), ("season best", 1), ("\"best season\"", 1), ("\"season best\"", 0), ("'the best'", 2),
            ("berlin", 1), ("winter best", 1), ("nothing", 0), ("100%", 1), ("100_", 1), ("%", 1), ("_", 1), ("\\", 0), ("what's", 0), (" ", 3),
            ("a\0b", 0), ("';--", 0),
        ] {
            assert_eq!(search(q).await, expected, "{q:?}");
        }
        let page = admin.get(&format!("{LIST}?q=nothing")).await;
        page.assert_contains("No questions match.").assert_contains("Clear the search");
    }

    async fn date_filters_have_counts(app: TestApp) {
        let admin = app.superuser().await;
        for (text, days) in [("today", 0), ("week", 5), ("month", 15), ("year", 100), ("older", 400)] {
            app.question_at(text, now() - TimeDelta::days(days), &[]).await;
        }
        let page = admin.get(LIST).await;
        let link = |name: &str| {
            let before = page.text().split(&format!("<span dir=\"auto\">{name}</span>")).next().unwrap();
            crate::support::forms::unescape(before.rsplit("href=\"").next().unwrap().split('"').next().unwrap())
        };
        for (name, expected) in [("Any date", 5), ("Today", 1), ("Past 7 days", 2), ("This month", 3), ("This year", 4)] {
            let query = link(name);
            let page = admin.get(format!("{LIST}{query}")).await;
            assert_eq!(rows(&page).len(), expected, "{name}: {query}");
            let before = page.text().split(&format!("<span dir=\"auto\">{name}</span>")).next().unwrap();
            assert!(before.rsplit("<a").next().unwrap().contains("aria-current=\"true\""), "{name}");
        }
        let page = admin.get(&format!("{LIST}?_facets=True")).await;
        assert_eq!(page.text().split("class=\"facet\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect::<Vec<_>>(), ["5", "5", "0", "0", "0", "5", "1", "2", "3", "4"]);
        // Django's own forms of the parameters.
        for (query, expected) in [
            ("?pub_date__gte=2000-01-01", 5), ("?pub_date__gte=2026-11-20+00%3A00%3A00%2B00%3A00&pub_date__lt=2026-11-21+00%3A00%3A00%2B00%3A00", 1),
            ("?question_text__contains=ea", 1), ("?question_text__istartswith=MON", 1), ("?question_text=older", 1), ("?question_text__exact=old", 0),
            ("?id__exact=1&id__exact=2&id__exact=1", 2), ("?id__in=1,2,99999999999", 2), ("?id__exact=1", 1), ("?pk=99999999999999", 0), ("?pub_date__isnull=True", 0), ("?pub_date__isnull=0", 5),
        ] {
            assert_eq!(listed(&app, &admin, query).await.len(), expected, "{query}");
        }
    }

    async fn invalid_lookups_redirect_to_the_whole_list(app: TestApp) {
        let admin = app.superuser().await;
        app.question("A?", &[]).await;
        for query in ["?nosuch=1", "?pub_date__gte=x", "?pub_date__nosuch=1", "?id__exact=x", "?question_text__year=1", "?pub_date__year=x", "?pub_date__month=3",
                      "?pub_date__year=2026&pub_date__month=13", "?pub_date__year=0", "?pub_date__year=99999", "?choice__votes=1", "?question_text=%00", "?p=0", "?p=2", "?p=x", "?p=-1",
                      "?id__in=1,x", "?pub_date__day=1", "?pub_date__gte=9999999-01-01", "?__=1", "?=1"] {
            admin.get(format!("{LIST}{query}")).await.assert_redirect(302, &format!("{LIST}?e=1"));
        }
        admin.get(format!("{LIST}?e=1")).await.assert_status(200).assert_contains("cannot do");
        admin.get(format!("{LIST}?e=1&nosuch=1")).await.assert_redirect(302, LIST);
        admin.get(format!("{LIST}?_popup=1&_to_field=id&all=")).await.assert_status(200);
    }

    async fn date_hierarchy_drills_down(app: TestApp) {
        let admin = app.superuser().await;
        for date in ["2024-03-05", "2026-01-31", "2026-02-01", "2026-02-01"] {
            app.question_at(date, format!("{date}T10:00:00Z").parse().unwrap(), &[]).await;
        }
        let page = admin.get(LIST).await;
        page.assert_contains("?pub_date__year=2024").assert_contains("?pub_date__year=2026").assert_lacks("?pub_date__year=2025");
        let page = admin.get(format!("{LIST}?pub_date__year=2026")).await;
        assert_eq!(rows(&page).len(), 3);
        page.assert_contains(">January 2026<").assert_contains(">February 2026<").assert_lacks("March 2026").assert_contains("All dates");
        let page = admin.get(format!("{LIST}?pub_date__year=2026&pub_date__month=2")).await;
        assert_eq!(rows(&page).len(), 2);
        page.assert_contains(">February 1<");
        let page = admin.get(format!("{LIST}?pub_date__year=2026&pub_date__month=2&pub_date__day=1")).await;
        assert_eq!(rows(&page).len(), 2);
        admin.get(format!("{LIST}?pub_date__year=1999")).await.assert_contains("No questions match.");
        // A year with a typing error.
        app.question_at("far", "9999-12-31T23:00:00Z".parse().unwrap(), &[]).await;
        let page = admin.get(LIST).await;
        page.assert_contains(">2024<").assert_contains(">2026<").assert_contains(">9999<").assert_lacks(">2025<");
        assert_eq!(rows(&admin.get(format!("{LIST}?pub_date__year=9999&pub_date__month=12&pub_date__day=31")).await), ["far"]);
        admin.get(format!("{LIST}?pub_date__year=1")).await.assert_status(200);
    }

    async fn long_lists_are_paginated(app: TestApp) {
        let admin = app.superuser().await;
        for number in 0..205 {
            app.question(&format!("Number {number:03}"), &[]).await;
        }
        let page = admin.get(LIST).await;
        assert_eq!((rows(&page).len(), rows(&page)[0].as_str()), (100, "Number 204"));
        page.assert_contains("205 questions").assert_contains("href=\"?p=3\"").assert_lacks("Show all");
        let page = admin.get(format!("{LIST}?p=3")).await;
        assert_eq!(rows(&page), ["Number 004", "Number 003", "Number 002", "Number 001", "Number 000"]);
        admin.get(format!("{LIST}?p=4")).await.assert_redirect(302, &format!("{LIST}?e=1"));
        let page = admin.get(format!("{LIST}?q=number+1")).await;
        page.assert_contains("120 questions").assert_contains("?q=number+1&amp;all=");
        assert_eq!(listed(&app, &admin, "?q=number+1&all=").await.len(), 120);
    }

    async fn selected_objects_are_deleted(app: TestApp) {
        let admin = app.superuser().await;
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.push(app.question(&format!("Number {number}"), &["A", "B"]).await.id);
        }
        let list = format!("{LIST}?o=1");
        let form = admin.form(&list, "changelist-form").await;
        form.clone().submit(&admin).await.assert_redirect(302, &list);
        admin.get(LIST).await.assert_contains("Items must be selected in order to perform actions on them.");
        form.clone().add("_selected_action", &ids[0].to_string()).submit(&admin).await.assert_redirect(302, &list);
        admin.get(LIST).await.assert_contains("No action selected.");
        let chosen = form.set("action", "delete_selected").add("_selected_action", &ids[0].to_string()).add("_selected_action", &ids[2].to_string()).add("_selected_action", "999999").add("_selected_action", "x");
        let page = chosen.submit(&admin).await;
        page.assert_status(200).assert_contains("Are you sure").assert_contains("2 questions").assert_contains("4 choices").assert_contains("Question: Number 0").assert_lacks("Number 1");
        assert_eq!(app.log().await.len(), 0);
        Form::find(&page, "submit-row", &list).submit(&admin).await.assert_redirect(302, &list);
        let page = admin.get(LIST).await;
        page.assert_contains("Successfully deleted 2 questions.");
        assert_eq!(rows(&page), ["Number 3", "Number 1"]);
        let log: Vec<(i16, String, String)> = app.log().await.into_iter().map(|(_, flag, object, message)| (flag, object, message)).collect();
        assert_eq!(log, [(3, "Number 0".to_owned(), String::new()), (3, "Number 2".to_owned(), String::new())]);
    }

    async fn select_across_selects_all_pages(app: TestApp) {
        let admin = app.superuser().await;
        for number in 0..120 {
            app.question(&format!("Drop {number}"), &[]).await;
        }
        let kept = app.question("Keep", &[]).await;
        let list = format!("{LIST}?q=drop");
        let page = admin.get(&list).await;
        page.assert_contains("Select all 120 questions");
        let form = Form::find(&page, "changelist-form", &list).set("action", "delete_selected").add("select_across", "1").add("_selected_action", "1");
        let page = form.submit(&admin).await;
        page.assert_contains("120 questions").assert_contains("and 20 more");
        let confirm = Form::find(&page, "submit-row", &list);
        // One more has come since: it was not named, and so nothing goes.
        app.question("Drop late", &[]).await;
        // Nor without saying what was confirmed.
        let unconfirmed = form.add("post", "yes");
        unconfirmed.submit(&admin).await.assert_redirect(302, &list);
        let page = admin.get(&list).await;
        page.assert_contains("Nothing has been deleted").assert_contains("121 questions found");
        let form = Form::find(&page, "changelist-form", &list).set("action", "delete_selected").add("select_across", "1").add("_selected_action", "1");
        confirm.submit(&admin).await.assert_redirect(302, &list);
        assert_eq!(listed(&app, &admin, "?q=drop+late").await.len(), 1);
        let page = form.submit(&admin).await;
        Form::find(&page, "submit-row", &list).submit(&admin).await.assert_redirect(302, &list);
        let page = admin.get(LIST).await;
        assert_eq!(rows(&page), ["Keep"]);
        assert_eq!(app.log().await.len(), 121);
        admin.get(change(kept.id)).await.assert_status(200);
    }

    async fn equal_rows_are_ordered_by_descending_primary_key(app: TestApp) {
        let mut keys = Vec::new();
        for _ in 0..3 {
            keys.push(app.question("Same", &[]).await.id);
        }
        let admin = app.superuser().await;
        for order in ["1", "-1", "2", "-2"] {
            let page = admin.get(format!("{LIST}?o={order}")).await;
            let places = keys.iter().map(|id| page.text().find(&format!("/question/{id}/change/")).unwrap());
            assert!(places.rev().is_sorted(), "{order}");
        }
    }

    async fn objects_referenced_by_another_application_are_not_deleted(app: TestApp) {
        let question = app.question("Kept?", &["a"]).await;
        let admin = app.superuser().await;
        let delete = format!("/admin/polls_app/question/{}/delete/", question.id);
        let confirmation = admin.form(&delete, "submit-row").await;
        let selected = || async {
            admin.form(LIST, "changelist-form").await.set("action", "delete_selected").add("_selected_action", &question.id.to_string())
        };
        let page = selected().await.submit(&admin).await;
        let selection = Form::find(&page, "submit-row", LIST);
        let tx = app.site.core.db.write().begin().await.unwrap();
        for sql in [
            "CREATE TABLE other_app_note (id integer PRIMARY KEY, question_id integer NOT NULL REFERENCES polls_app_question (id) DEFERRABLE INITIALLY DEFERRED)".to_owned(),
            "CREATE TABLE other_app_star (choice_id integer NOT NULL REFERENCES polls_app_choice (id))".to_owned(),
            "CREATE TABLE other_app_copy (question_id integer NOT NULL REFERENCES polls_app_question (id) ON DELETE CASCADE)".to_owned(),
            format!("INSERT INTO other_app_note SELECT id + 100, {} FROM auth_permission WHERE id <= 12", question.id),
            format!("INSERT INTO other_app_star VALUES ({})", question.choices[0]),
            format!("INSERT INTO other_app_copy VALUES ({})", question.id),
        ] {
            sea_orm::ConnectionTrait::execute_unprepared(&tx, &sql).await.unwrap();
        }
        tx.commit().await.unwrap();
        // The pages list what is in the way, and have no form.
        for page in [admin.get(&delete).await, selected().await.submit(&admin).await] {
            page.assert_status(200)
                .assert_contains("<li>12 rows of other_app_note (question_id): 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, …</li>")
                .assert_contains("<li>1 row of other_app_star (choice_id)")
                .assert_lacks("other_app_copy")
                .assert_lacks("id=\"delete-form\"");
        }
        // A form from before the rows were added.
        confirmation.submit(&admin).await.assert_redirect(302, &change(question.id));
        let told = "data of another application refers to it. Delete that first.";
        admin.get(change(question.id)).await.assert_contains("Cannot delete the question").assert_contains(told);
        selection.submit(&admin).await.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_contains("Cannot delete the selected 1 question").assert_contains(told);
        assert_eq!(app.log().await.len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_the_role_may_not_read_do_not_prevent_deletions() {
    use sea_orm::ConnectionTrait;
    let app = TestApp::new(crate::support::Backend::Postgres).await;
    let question = app.question("Deleted?", &["a"]).await;
    let admin = app.superuser().await;
    // The tests' role is a superuser: as another one, which owns all tables but one.
    let tx = app.site.core.db.write().begin().await.unwrap();
    let role = format!("reader_{}", std::process::id());
    for sql in [
        format!("CREATE ROLE {role}"),
        "CREATE SCHEMA other".to_owned(),
        "CREATE TABLE other.note (question_id integer REFERENCES polls_app_question (id))"
            .to_owned(),
        format!("SET LOCAL ROLE {role}"),
    ] {
        tx.execute_unprepared(&sql).await.unwrap();
    }
    let keys = polls::introspection::foreign_keys_to_known(&tx)
        .await
        .unwrap();
    assert_eq!(
        (
            keys.len(),
            keys[0].table_name().as_str(),
            keys[0].is_readable
        ),
        (1, "other.note", false)
    );
    let rows = sea_orm::sea_query::Query::select()
        .from("polls_app_question")
        .take();
    let blockers = polls::introspection::find_blockers(&tx, &keys, "polls_app_question", &rows)
        .await
        .unwrap();
    assert!(blockers.is_empty());
    drop(tx);
    let form = admin
        .form(format!("{LIST}{}/delete/", question.id), "submit-row")
        .await;
    form.submit(&admin).await.assert_redirect(302, LIST);
}
