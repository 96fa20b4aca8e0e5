//! Counting votes when many come at once, and when some cannot be counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use polls::{
    entities::choice,
    error::AppError,
    polls_app::{
        urls,
        votes::{
            VoteCounter,
            VoteResult::{self, Counted, Full, NoChoice, NoQuestion},
        },
    },
};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement, sea_query::Expr};

use crate::support::{
    Backend, TestApp,
    app::{TestQuestion, now},
    assert_within,
};

on_both_databases! {
    async fn a_thousand_concurrent_votes_add_a_thousand(app: TestApp) {
        let question = app.question("Busy?", &["Yes", "No"]).await;
        let votes = (0..1000).map(|number| {
            let (app, choice) = (app.site.clone(), question.choices[number % 2]);
            tokio::spawn(async move { app.votes.add(question.id, choice).await.unwrap() })
        });
        for vote in votes.collect::<Vec<_>>() {
            assert_eq!(vote.await.unwrap(), Counted);
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
            match vote.await.unwrap().unwrap() {
                Counted => counted += 1,
                result => assert_eq!(result, Full),
            }
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
            match vote.await.unwrap().unwrap() {
                Counted => counted += 1,
                result => assert_eq!(result, Full),
            }
        }
        assert_eq!(counted, 130);
        assert_eq!(app.votes(question.choices[1]).await, 100);
        assert_eq!(app.votes(question.choices[0]).await, i32::MAX);
    }

    async fn two_servers_fill_a_choice_up_to_the_limit(app: TestApp) {
        let question = app.question("Almost full?", &["Full"]).await;
        app.set_votes(question.choices[0], i32::MAX - 300).await;
        let servers = [(); 2].map(|()| VoteCounter::start(app.site.core.db.write(), now, chrono_tz::UTC));
        let votes: Vec<_> = (0..1000).map(|number| {
            let (votes, id, choice) = (servers[number % 2].clone(), question.id, question.choices[0]);
            tokio::spawn(async move { votes.add(id, choice).await })
        }).collect();
        let mut counted = 0;
        for vote in votes {
            match vote.await.unwrap().unwrap() {
                Counted => counted += 1,
                result => assert_eq!(result, Full),
            }
        }
        assert_eq!((counted, app.votes(question.choices[0]).await), (300, i32::MAX));
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
            assert_eq!(app.site.votes.add(question.id, question.choices[0]).await.unwrap(), Counted);
            assert_eq!(app.votes(question.choices[0]).await, count);
        }
    }

    async fn a_vote_for_a_missing_choice_is_not_counted(app: TestApp) {
        let question = app.question("Which?", &["This"]).await;
        let other = app.question("Other?", &["Elsewhere"]).await;
        assert_eq!(app.site.votes.add(question.id, other.choices[0]).await.unwrap(), NoChoice);
        assert_eq!(app.site.votes.add(question.id, 4711).await.unwrap(), NoChoice);
        assert_eq!(app.site.votes.add(4711, other.choices[0]).await.unwrap(), NoQuestion);
        assert_eq!(app.votes(other.choices[0]).await, 0);
    }

    async fn a_question_that_is_not_published_takes_no_votes(app: TestApp) {
        let future = app.question_at("Tomorrow?", now() + TimeDelta::microseconds(1), &["Yes"]).await;
        let present = app.question_at("Today?", now(), &["Yes"]).await;
        let [on_future, on_present] = [&future, &present].map(|question| add(&app, question, 0));
        assert_eq!((on_future.await.unwrap().unwrap(), on_present.await.unwrap().unwrap()), (NoQuestion, Counted));
        assert_eq!((app.votes(future.choices[0]).await, app.votes(present.choices[0]).await), (0, 1));
    }

    async fn votes_for_many_choices_share_transactions(app: TestApp) {
        let mut questions = Vec::new();
        for number in 0..50 {
            questions.push(app.question(&format!("Number {number}?"), &["Yes", "No"]).await);
        }
        let votes: Vec<_> = (0..400).map(|number| add(&app, &questions[number % 50], number / 50 % 2)).collect();
        for vote in votes {
            assert_eq!(vote.await.unwrap().unwrap(), Counted);
        }
        for choice in questions.iter().flat_map(|question| &question.choices) {
            assert_eq!(app.votes(*choice).await, 4);
        }
        let commits = app.site.votes.counters().commits.get();
        assert!(commits < 100, "{commits} transactions for 400 votes");
    }
}

static PANICS: AtomicBool = AtomicBool::new(false);

fn clock() -> DateTime<Utc> {
    assert!(!PANICS.swap(false, Ordering::Relaxed), "on purpose");
    now()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_votes_are_counted_again() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let app = TestApp::new(backend).await;
        let question = app.question("Panic?", &["Yes"]).await;
        let votes = VoteCounter::start(app.site.core.db.write(), clock, chrono_tz::UTC);
        PANICS.store(true, Ordering::Relaxed);
        let error = votes.add(question.id, question.choices[0]).await;
        assert!(matches!(error, Err(AppError::Internal(_))), "{error:?}");
        let result = votes.add(question.id, question.choices[0]).await;
        assert_eq!(result.unwrap(), Counted);
        assert_eq!(app.votes(question.choices[0]).await, 1);
    }
}

/// Adds a vote in a task of its own.
fn add(
    app: &TestApp,
    question: &TestQuestion,
    index: usize,
) -> tokio::task::JoinHandle<polls::error::Result<VoteResult>> {
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
        assert_eq!(vote.await.unwrap().unwrap(), Counted);
    }
    assert_eq!(same.await.unwrap().unwrap(), Counted);
    // Nor does each further vote for the locked row delay the others by its wait.
    let mut further = Vec::new();
    for _ in 0..20 {
        further.push(add(&app, &questions[0], 0));
        assert_eq!(add(&app, &questions[0], 1).await.unwrap().unwrap(), Counted);
    }
    assert!(!refused.is_finished(), "the others waited for the lock");
    let error = refused.await.unwrap().unwrap_err();
    assert!(matches!(error, AppError::Unavailable(_)), "{error}");
    drop(tx);
    let mut counted = 0;
    for vote in further {
        counted += i32::from(vote.await.unwrap().is_ok_and(|result| result == Counted));
    }
    assert_eq!(add(&app, &questions[0], 0).await.unwrap().unwrap(), Counted);
    assert_eq!(app.votes(questions[0].choices[0]).await, counted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_on_a_locked_table_fail_together_on_postgres() {
    let app = TestApp::new(Backend::Postgres).await;
    let question = app
        .question("Locked?", &["A", "B", "C", "D", "E", "F", "G", "H"])
        .await;
    let other = app.database.connect().await;
    let tx = other.begin().await.unwrap();
    tx.execute_unprepared("LOCK TABLE polls_app_choice IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let start = Instant::now();
    // The first is a batch alone.
    let first = add(&app, &question, 0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let votes: Vec<_> = (0..8).map(|index| add(&app, &question, index)).collect();
    for vote in votes.into_iter().chain([first]) {
        let error = vote.await.unwrap().unwrap_err();
        assert!(matches!(error, AppError::Unavailable(_)), "{error}");
    }
    // A wait of 1 s for each of the two batches; two for each would be 4 s, and one for each choice 9 s.
    assert_within(start, Duration::from_millis(3900));
    drop(tx);
    assert_eq!(add(&app, &question, 7).await.unwrap().unwrap(), Counted);
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
    assert_eq!(vote.await.unwrap(), Counted);
    assert_eq!(app.votes(choice).await, 1);
}

/// SQLite's integers are larger than those of Django's field.
#[tokio::test(flavor = "multi_thread")]
async fn votes_above_the_integer_limit_are_not_reduced_on_sqlite() {
    let app = TestApp::new(Backend::Sqlite).await;
    let question = app.question("Overfull?", &["Yes"]).await;
    let db = app.site.core.db.write();
    let tx = db.begin().await.unwrap();
    let sql = "UPDATE polls_app_choice SET votes = 3000000000";
    tx.execute_unprepared(sql).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(add(&app, &question, 0).await.unwrap().unwrap(), Full);
    let sql = "SELECT votes FROM polls_app_choice";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql));
    let row = row.await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 3_000_000_000);
}
