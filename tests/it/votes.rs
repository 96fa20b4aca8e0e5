//! Counting votes when many come at once, and when some cannot be counted.

use std::{sync::Arc, time::Duration};

use polls::{entities::choice, polls_app::urls};
use sea_orm::{ConnectionTrait, EntityTrait, sea_query::Expr};

use crate::support::{Backend, TestApp, app::TestQuestion};

on_both_databases! {
    async fn a_thousand_concurrent_votes_add_a_thousand(app: TestApp) {
        let question = app.question("Busy?", &["Yes", "No"]).await;
        let votes = (0..1000).map(|number| {
            let (app, choice) = (app.site.clone(), question.choices[number % 2]);
            tokio::spawn(async move { app.votes.add(question.id, choice).await.unwrap() })
        });
        for vote in votes.collect::<Vec<_>>() {
            assert!(vote.await.unwrap());
        }
        assert_eq!(app.votes(question.choices[0]).await, 500);
        assert_eq!(app.votes(question.choices[1]).await, 500);
    }

    async fn a_choice_at_the_integer_limit_refuses_votes_and_others_accept(app: TestApp) {
        let question = app.question("Full?", &["Full", "Empty"]).await;
        app.set_votes(question.choices[0], i32::MAX).await;
        let votes: Vec<_> = (0..100).map(|number| add(&app, &question, number % 2)).collect();
        let mut counted = 0;
        for vote in votes {
            counted += i32::from(vote.await.unwrap().unwrap());
        }
        assert_eq!(counted, 50);
        assert_eq!(app.votes(question.choices[1]).await, 50);
        assert_eq!(app.votes(question.choices[0]).await, i32::MAX);
        let visitor = app.visitor();
        let page = visitor.get(urls::detail(question.id)).await;
        let reply = visitor.submit(&page, &[("choice", &question.choices[0].to_string())]).await;
        reply.assert_status(200).assert_contains("This choice cannot take any more votes.");
    }

    async fn near_the_integer_limit_votes_fill_up_to_the_limit(app: TestApp) {
        let question = app.question("Almost full?", &["Full", "Empty"]).await;
        app.set_votes(question.choices[0], i32::MAX - 30).await;
        let votes: Vec<_> = (0..200).map(|number| add(&app, &question, number % 2)).collect();
        let mut counted = 0;
        for vote in votes {
            counted += i32::from(vote.await.unwrap().unwrap());
        }
        assert_eq!(counted, 130);
        assert_eq!(app.votes(question.choices[1]).await, 100);
        assert_eq!(app.votes(question.choices[0]).await, i32::MAX);
    }

    async fn a_thousand_concurrent_voters_see_their_votes_in_the_results(app: TestApp) {
        let question = app.question("Busy?", &["Yes"]).await;
        let visitor = Arc::new(app.visitor());
        let token = visitor.get(urls::detail(question.id)).await.csrf_token();
        let choice = question.choices[0].to_string();
        let posts = (0..1000).map(|_| {
            let (visitor, token, choice) = (visitor.clone(), token.clone(), choice.clone());
            let (vote, results) = (urls::vote(question.id), urls::results(question.id));
            tokio::spawn(async move {
                let fields = [("csrfmiddlewaretoken", token.as_str()), ("choice", choice.as_str())];
                visitor.post(vote, &fields, &[]).await.assert_redirect(302, &results);
            })
        });
        for post in posts.collect::<Vec<_>>() {
            post.await.unwrap();
        }
        assert_eq!(app.votes(question.choices[0]).await, 1000);
        visitor.get(urls::results(question.id)).await.assert_contains("1,000 votes");
    }

    async fn an_acknowledged_vote_is_visible_at_once(app: TestApp) {
        let question = app.question("Quick?", &["Yes"]).await;
        for count in 1..=20 {
            assert!(app.site.votes.add(question.id, question.choices[0]).await.unwrap());
            assert_eq!(app.votes(question.choices[0]).await, count);
        }
    }

    async fn a_vote_for_a_missing_choice_is_not_counted(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let other = app.question("Other?", &["Elsewhere"]).await;
        assert!(!app.site.votes.add(question.id, other.choices[0]).await.unwrap());
        assert!(!app.site.votes.add(question.id, 4711).await.unwrap());
        assert_eq!(app.votes(other.choices[0]).await, 0);
    }
}

/// Adds a vote in a task of its own.
fn add(
    app: &TestApp,
    question: &TestQuestion,
    index: usize,
) -> tokio::task::JoinHandle<polls::error::Result<bool>> {
    let (app, id, choice) = (app.site.clone(), question.id, question.choices[index]);
    tokio::spawn(async move { app.votes.add(id, choice).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_does_not_block_other_questions_on_postgres() {
    let app = TestApp::new(Backend::Postgres).await;
    let mut questions = Vec::new();
    for number in 0..8 {
        questions.push(
            app.question(&format!("Number {number}?"), &["Held", "Free"])
                .await,
        );
    }
    let other = app.database.connect().await;
    let tx = other.begin().await.unwrap();
    let held = format!(
        "SELECT 1 FROM polls_app_choice WHERE id = {} FOR UPDATE",
        questions[0].choices[0]
    );
    tx.execute_unprepared(&held).await.unwrap();
    let refused = add(&app, &questions[0], 0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // All others are counted: most at once, those of the same task when it leaves the locked row to another.
    let votes: Vec<_> = questions[1..]
        .iter()
        .map(|question| add(&app, question, 0))
        .collect();
    let same = add(&app, &questions[0], 1);
    for vote in votes {
        assert!(vote.await.unwrap().unwrap());
    }
    assert!(same.await.unwrap().unwrap());
    assert!(!refused.is_finished(), "the others waited for the lock");
    let error = refused.await.unwrap().unwrap_err();
    assert!(
        matches!(error, polls::error::AppError::Unavailable(_)),
        "{error}"
    );
    drop(tx);
    assert!(add(&app, &questions[0], 0).await.unwrap().unwrap());
    assert_eq!(app.votes(questions[0].choices[0]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_waits_for_the_sqlite_write_lock() {
    let app = TestApp::new(Backend::Sqlite).await;
    let question = app.question("Patient?", &["Yes"]).await;
    // Another process, with a transaction that has written.
    let other = app.database.connect().await;
    let tx = other.begin().await.unwrap();
    let update =
        choice::Entity::update_many().col_expr(choice::Column::ChoiceText, Expr::value("Surely"));
    update.exec(&tx).await.unwrap();
    let (site, id, choice) = (app.site.clone(), question.id, question.choices[0]);
    let vote = tokio::spawn(async move { site.votes.add(id, choice).await.unwrap() });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    tx.commit().await.unwrap();
    assert!(vote.await.unwrap());
    assert_eq!(app.votes(choice).await, 1);
}
