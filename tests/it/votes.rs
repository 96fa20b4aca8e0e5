//! Counting votes when many come at once, and when some cannot be counted.

use polls::entities::choice;
use sea_orm::{EntityTrait, sea_query::Expr};

use crate::support::TestApp;

on_both_databases! {
    async fn a_thousand_votes_at_once_add_exactly_a_thousand(app: TestApp) {
        let question = app.question("Busy?", &["Yes", "No"]).await;
        let votes = (0..1000).map(|number| {
            let (app, choice) = (app.app.clone(), question.choices[number % 2]);
            tokio::spawn(async move { app.votes.add(question.id, choice).await.unwrap() })
        });
        for vote in votes.collect::<Vec<_>>() {
            assert!(vote.await.unwrap());
        }
        assert_eq!(app.votes(question.choices[0]).await, 500);
        assert_eq!(app.votes(question.choices[1]).await, 500);
    }

    async fn an_acknowledged_vote_is_there_at_once(app: TestApp) {
        let question = app.question("Quick?", &["Yes"]).await;
        for count in 1..=20 {
            assert!(app.app.votes.add(question.id, question.choices[0]).await.unwrap());
            assert_eq!(app.votes(question.choices[0]).await, count);
        }
    }

    async fn a_vote_for_a_choice_that_is_not_there_is_no_vote(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let other = app.question("Other?", &["Elsewhere"]).await;
        assert!(!app.app.votes.add(question.id, other.choices[0]).await.unwrap());
        assert!(!app.app.votes.add(question.id, 4711).await.unwrap());
        assert_eq!(app.votes(other.choices[0]).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_cannot_take_more_does_not_cost_the_others_their_votes() {
    let app = TestApp::new(crate::support::Backend::Postgres).await;
    let question = app.question("Full?", &["Full", "Empty"]).await;
    app.set_votes(question.choices[0], i32::MAX).await;
    let votes = (0..100).map(|number| {
        let (app, choice) = (app.app.clone(), question.choices[number % 2]);
        tokio::spawn(async move { app.votes.add(question.id, choice).await.is_ok() })
    });
    let mut counted = 0;
    for vote in votes.collect::<Vec<_>>() {
        counted += i32::from(vote.await.unwrap());
    }
    assert_eq!(counted, 50);
    assert_eq!(app.votes(question.choices[1]).await, 50);
    assert_eq!(app.votes(question.choices[0]).await, i32::MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_waits_for_another_writer_on_sqlite() {
    let app = TestApp::new(crate::support::Backend::Sqlite).await;
    let question = app.question("Patient?", &["Yes"]).await;
    // Another process, with a transaction that has written.
    let other = app.database.connect().await;
    let tx = other.begin().await.unwrap();
    let update =
        choice::Entity::update_many().col_expr(choice::Column::ChoiceText, Expr::value("Surely"));
    update.exec(&tx).await.unwrap();
    let (site, id, choice) = (app.app.clone(), question.id, question.choices[0]);
    let vote = tokio::spawn(async move { site.votes.add(id, choice).await.unwrap() });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    tx.commit().await.unwrap();
    assert!(vote.await.unwrap());
    assert_eq!(app.votes(choice).await, 1);
}
