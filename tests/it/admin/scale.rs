//! Long lists: every page is reachable and in order while rows are added and deleted.

use super::LIST;
use crate::support::{Client, Reply, TestApp, app::now};
use chrono::TimeDelta;
use polls::entities::question;
use sea_orm::{ActiveValue::Set, EntityTrait};

async fn add(app: &TestApp, from: i32, to: i32) {
    let tx = app.site.core.db.write().begin().await.unwrap();
    for start in (from..to).step_by(1000) {
        let rows = (start..to.min(start + 1000)).map(|number| question::ActiveModel {
            question_text: Set(format!("Number {number}")),
            pub_date: Set((now() - TimeDelta::minutes(i64::from(number))).into()),
            ..Default::default()
        });
        question::Entity::insert_many(rows)
            .exec_without_returning(&tx)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

fn numbers(page: &Reply) -> Vec<i32> {
    page.assert_status(200);
    let cells = page.text().split("dir=\"auto\">Number ").skip(1);
    cells
        .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
        .collect()
}

async fn page(client: &Client, query: &str) -> Vec<i32> {
    numbers(&client.get(format!("{LIST}{query}")).await)
}

on_both_databases! {
    async fn every_page_of_a_long_list_is_reachable(app: TestApp) {
        let admin = app.superuser().await;
        add(&app, 0, 12_345).await;
        let first = admin.get(LIST).await;
        first.assert_contains("12,345 questions").assert_contains("?p=124");
        assert_eq!(numbers(&first), (12_245..12_345).rev().collect::<Vec<_>>());
        for number in [2, 10, 11, 50, 63, 123] {
            let end = 12_345 - (number - 1) * 100;
            assert_eq!(page(&admin, &format!("?p={number}")).await, (end - 100..end).rev().collect::<Vec<_>>(), "{number}");
        }
        assert_eq!(page(&admin, "?p=124").await, (0..45).rev().collect::<Vec<_>>());
        // What has come since stands before.
        add(&app, 12_345, 12_350).await;
        assert_eq!(page(&admin, "?p=1").await[..6], [12_349, 12_348, 12_347, 12_346, 12_345, 12_344]);
        assert_eq!(page(&admin, "?p=50").await[0], 12_349 - 4900);
        assert_eq!(page(&admin, "?p=124").await.len(), 50);
    }

    async fn in_another_order_pagination_ends_at_the_stated_limit(app: TestApp) {
        let admin = app.superuser().await;
        add(&app, 0, 10_500).await;
        let list = admin.get(format!("{LIST}?o=-2")).await;
        list.assert_contains("10,500 questions").assert_contains("Pages go as far as the first 10,000 here.");
        assert_eq!(numbers(&list)[..3], [0, 1, 2]);
        assert_eq!(page(&admin, "?o=-2&p=100").await[0], 9900);
        admin.get(format!("{LIST}?o=-2&p=101")).await.assert_redirect(302, &format!("{LIST}?e=1"));
        admin.get(format!("{LIST}?q=number")).await.assert_contains("more than 10,000 questions").assert_lacks("select_across");
        admin.get(format!("{LIST}?_facets=1")).await.assert_contains("10,000+");
    }

    async fn a_search_in_a_very_long_list_shows_its_limit(app: TestApp) {
        let admin = app.superuser().await;
        add(&app, 0, 51_500).await;
        let list = admin.get(format!("{LIST}?q=%22number+50%22")).await;
        list.assert_contains("Only the newest 50,000 of 51,500 questions were searched.");
        let found = numbers(&list);
        assert!(found.contains(&50_999) && !found.contains(&50), "{found:?}");
        list.assert_contains("scope=all");
        let all = admin.get(format!("{LIST}?q=%22number+50%22&scope=all&o=1")).await;
        all.assert_lacks("were searched");
        assert!(numbers(&all).contains(&50));
        // A deletion in the admin takes a new map.
        let any = question::Entity::find().one(app.site.core.db.write()).await.unwrap().unwrap();
        let delete = admin.form(format!("{LIST}{}/delete/", any.id), "submit-row").await;
        delete.submit(&admin).await.assert_redirect(302, LIST);
        admin.get(LIST).await.assert_contains("51,499 questions");
    }
}
