//! The data layer: writes are stored in Django's formats or give an error.

use chrono::{DateTime, Utc};
use polls::{
    db::{Database, Purpose, sqlite_time},
    entities::{choice, question},
};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    Statement, sea_query::Expr,
};

use crate::support::{Backend, Site, TestApp, TestDatabase, assert_within, captured};

fn orphan() -> choice::ActiveModel {
    choice::ActiveModel {
        choice_text: Set("Lost".to_owned()),
        votes: Set(0.into()),
        question_id: Set(999),
        ..Default::default()
    }
}

async fn text(database: &TestDatabase, query: &str) -> String {
    let db = database.connect().await;
    let statement = Statement::from_string(db.get_database_backend(), query.to_owned());
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    let text = row.try_get_by_index(0).unwrap();
    db.close().await;
    text
}

on_both_databases! {
    async fn a_dangling_reference_is_not_reported_as_stored(app: TestApp) {
        let db = app.site.core.db.write();
        // Outside a transaction SQLite would report success and keep nothing.
        assert!(matches!(orphan().insert(db).await, Err(DbErr::Custom(_))));
        let tx = db.begin().await.unwrap();
        let result = match orphan().insert(&tx).await {
            Ok(_) => tx.commit().await,
            Err(error) => Err(error),
        };
        assert!(matches!(result.unwrap_err().sql_err(), Some(sea_orm::SqlErr::ForeignKeyConstraintViolation(_))));
        assert!(choice::Entity::find().all(db).await.unwrap().is_empty());
    }

    async fn every_write_needs_a_transaction(app: TestApp) {
        let db = app.site.core.db.write();
        let refused = |error: DbErr| assert!(error.to_string().contains("outside a transaction"), "{error}");
        refused(choice::Entity::insert(orphan()).exec(db).await.unwrap_err());
        refused(choice::Entity::delete_many().exec(db).await.unwrap_err());
        let update = choice::Entity::update_many().col_expr(choice::Column::Votes, Expr::value(1));
        refused(update.exec(db).await.unwrap_err());
        refused(db.execute_unprepared("DELETE FROM polls_app_choice").await.unwrap_err());
        let insert = Statement::from_string(db.get_database_backend(), "INSERT INTO polls_app_choice DEFAULT VALUES RETURNING id");
        refused(db.query_one_raw(insert).await.unwrap_err());
    }

    async fn a_dropped_transaction_is_rolled_back(app: TestApp) {
        let db = app.site.core.db.write();
        let question = app.question("Kept?", &["a"]).await;
        let tx = db.begin().await.unwrap();
        choice::Entity::delete_many().filter(choice::COLUMN.question_id.eq(question.id)).exec(&tx).await.unwrap();
        drop(tx);
        assert_eq!(app.votes(question.choices[0]).await, 0);
    }

    async fn times_are_truncated_to_microseconds(app: TestApp) {
        let time: DateTime<Utc> = "2026-11-20T06:30:00.123456789Z".parse().unwrap();
        let id = app.question_at("When?", time, &[]).await.id;
        let db = app.site.core.db.write();
        let stored = question::Entity::find_by_id(id).one(db).await.unwrap().unwrap().pub_date;
        assert_eq!(*stored, "2026-11-20T06:30:00.123456Z".parse::<DateTime<Utc>>().unwrap());
        // Equal as a value in a query, too.
        let found = question::Entity::find().filter(question::COLUMN.pub_date.eq(time)).all(db).await.unwrap();
        assert_eq!(found.len(), 1);
    }

    async fn a_time_that_django_cannot_parse_is_refused(app: TestApp) {
        let tx = app.site.core.db.write().begin().await.unwrap();
        for time in ["+10000-01-01T00:00:00Z", "0000-12-31T23:59:59Z"] {
            let pub_date = Set(time.parse::<DateTime<Utc>>().unwrap().into());
            let row = question::ActiveModel { question_text: Set("When?".to_owned()), pub_date, ..Default::default() };
            assert!(matches!(question::Entity::insert(row).exec(&tx).await, Err(DbErr::Custom(_))), "{time}");
        }
    }

    async fn connections_have_the_settings_of_their_purpose(app: TestApp) {
        // The writing side: on SQLite the reading connections are others.
        let db = app.site.core.db.write().begin().await.unwrap();
        let setting = async |query: &str| {
            let statement = Statement::from_string(db.get_database_backend(), query.to_owned());
            let row = db.query_one_raw(statement).await.unwrap().unwrap();
            row.try_get_by_index::<String>(0).or_else(|_| row.try_get_by_index::<i32>(0).map(|number| number.to_string())).unwrap()
        };
        match app.database.backend {
            Backend::Sqlite => {
                assert_eq!(setting("PRAGMA journal_mode").await, "wal");
                assert_eq!(setting("PRAGMA synchronous").await, "2");
                assert_eq!(setting("PRAGMA foreign_keys").await, "1");
                assert_eq!(setting("PRAGMA busy_timeout").await, "10000");
            }
            Backend::Postgres => {
                assert_eq!(setting("SELECT current_setting('application_name')").await, "polls");
                assert_eq!(setting("SELECT current_setting('statement_timeout')").await, "10s");
                assert_eq!(setting("SELECT current_setting('lock_timeout')").await, "1s");
            }
        }
    }
}

#[tokio::test]
async fn on_sqlite_a_date_without_time_is_midnight() {
    let app = TestApp::new(Backend::Sqlite).await;
    let id = app.question("When?", &["a"]).await.id;
    let tx = app.site.core.db.write().begin().await.unwrap();
    tx.execute_unprepared("UPDATE polls_app_question SET pub_date = '2026-11-01'")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let admin = app.superuser().await;
    for path in [
        "/polls/".to_owned(),
        format!("/polls/{id}/"),
        format!("/polls/{id}/results/"),
    ] {
        admin
            .get(&path)
            .await
            .assert_status(200)
            .assert_contains("2026-11-01T00:00:00Z");
    }
    for path in [
        "/admin/polls_app/question/".to_owned(),
        format!("/admin/polls_app/question/{id}/change/"),
    ] {
        admin.get(&path).await.assert_status(200);
    }
}

#[tokio::test]
async fn on_sqlite_times_are_stored_as_django_stores_them() {
    let app = TestApp::new(Backend::Sqlite).await;
    let vectors: serde_json::Value = serde_json::from_str(&captured("vectors.json")).unwrap();
    let vectors = vectors["datetime"].as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let time: DateTime<Utc> = vector["iso"].as_str().unwrap().parse().unwrap();
        let expected = vector["sqlite_text"].as_str().unwrap();
        assert_eq!(sqlite_time(time), expected);
        let id = app.question_at("When?", time, &[]).await.id;
        let query =
            format!("SELECT CAST(pub_date AS text) FROM polls_app_question WHERE id = {id}");
        assert_eq!(text(&app.database, &query).await, expected);
        assert_eq!(
            text(
                &app.database,
                &format!("SELECT typeof(pub_date) FROM polls_app_question WHERE id = {id}")
            )
            .await,
            "text"
        );
        let read = question::Entity::find_by_id(id)
            .one(app.site.core.db.write())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(*read.pub_date, time);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_connection_times_out() {
    let database = TestDatabase::migrated(Backend::Postgres).await;
    let mut settings = crate::support::app::settings(&database);
    settings.database.pool_size = 1;
    let app = TestApp::with_settings(database, settings).await;
    let tx = app.site.core.db.write().begin().await.unwrap();
    let start = std::time::Instant::now();
    // A health check has a connection of its own: a spike must not take all replicas out of service.
    app.visitor().get("/readyz").await.assert_status(200);
    // Pages wait for 3 s.
    assert_within(start, std::time::Duration::from_millis(2900));
    app.visitor().get("/polls/").await.assert_status(503);
    assert!(start.elapsed() > std::time::Duration::from_secs(2));
    drop(tx);
    app.visitor().get("/polls/").await.assert_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_response_is_given_up_after_the_request_timeout() {
    let database = TestDatabase::migrated(Backend::Postgres).await;
    let mut settings = crate::support::app::settings(&database);
    settings.database.pool_size = 1;
    settings.server.timeout = std::time::Duration::from_secs(1);
    let app = TestApp::with_settings(database, settings).await;
    let visitor = app.visitor();
    let token = visitor.get("/admin/login/").await.csrf_token();
    let tx = app.site.core.db.write().begin().await.unwrap();
    let start = std::time::Instant::now();
    let reply = visitor.get("/polls/").await;
    reply
        .assert_status(503)
        .assert_contains("The answer took too long.");
    assert_eq!(reply.header("retry-after"), Some("2"));
    assert!(start.elapsed() > std::time::Duration::from_millis(900));
    // Before the wait for a connection ends.
    assert_within(start, std::time::Duration::from_millis(2900));
    // With a body as well, which takes no time to come here.
    let start = std::time::Instant::now();
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("choice", "1")];
    visitor
        .post("/polls/1/vote/", &fields, &[])
        .await
        .assert_status(503)
        .assert_contains("The answer took too long.");
    assert_within(start, std::time::Duration::from_millis(2900));
    drop(tx);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_on_closed_connections_are_retried() {
    let app = TestApp::new(Backend::Postgres).await;
    let visitor = app.visitor();
    futures_util::future::join_all((0..8).map(|_| visitor.get("/polls/"))).await;
    let other = app.database.connect().await;
    let tx = other.begin().await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    tx.execute_unprepared(cut).await.unwrap();
    for _ in 0..20 {
        visitor.get("/polls/").await.assert_status(200);
    }
}

on_both_databases! {
    async fn missing_indexes_are_reported_and_restored(site: Site) {
        site.run(["migrate"]).success();
        let db = site.database.connect().await;
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared("DROP INDEX polls_question_text").await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        let said = site.run(["check", "--tag", "database"]);
        assert!(said.stderr.contains("(polls.W022) The index polls_question_text is missing"), "{}", said.stderr);
        let said = site.run(["migrate"]).success();
        assert!(said.stdout.contains("Creating index polls_question_text again... OK"), "{}", said.stdout);
        let said = site.run(["check", "--tag", "database"]).success();
        assert!(!said.stderr.contains("W022"), "{}", said.stderr);
    }
}

#[tokio::test]
async fn missing_triggers_are_reported_and_restored() {
    let site = Site::migrated(Backend::Postgres).await;
    let db = site.database.connect().await;
    for sql in [
        "DROP TRIGGER polls_notify_update ON polls_app_choice",
        "ALTER TABLE polls_app_question DISABLE TRIGGER polls_notify_insert",
        "ALTER TABLE polls_app_question ENABLE TRIGGER polls_notify_insert",
        "CREATE OR REPLACE FUNCTION polls_notify_choices() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "DROP FUNCTION polls_notify_choices CASCADE",
    ] {
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared(sql).await.unwrap();
        tx.commit().await.unwrap();
        let said = site.run(["check", "--tag", "database"]);
        let warning = "(polls.W023) The triggers that notify of changes are missing";
        assert!(said.stderr.contains(warning), "{sql}: {}", said.stderr);
        let line = "Creating triggers polls_… again... OK";
        let said = site.run(["migrate", "--fake"]).success();
        assert!(!said.stdout.contains(line), "{sql}: {}", said.stdout);
        let said = site.run(["migrate"]).success();
        assert!(said.stdout.contains(line), "{sql}: {}", said.stdout);
        assert_eq!(said.stderr, "", "{sql}");
        let said = site.run(["check", "--tag", "database"]).success();
        assert!(!said.stderr.contains("W023"), "{sql}: {}", said.stderr);
    }
    // Unapplied migrations need no triggers.
    let said = site.run(["migrate", "polls", "0004"]).success();
    assert_eq!(said.stderr, "");
    let said = site.run(["check", "--tag", "database"]).success();
    assert!(!said.stderr.contains("W023"), "{}", said.stderr);
    db.close().await;
}

#[tokio::test]
async fn the_server_logs_why_its_database_is_unreachable() {
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", "postgres://polls@127.0.0.1:1/polls");
    let (log, _) = site.serve().stop();
    assert!(
        log.contains("does not answer: ") && log.contains("Connection refused"),
        "{log}"
    );
    let site = site.with(
        "DATABASE_URL",
        "postgres://polls@no-such-host.invalid/polls",
    );
    let (log, _) = site.serve().stop();
    assert!(log.contains("failed to lookup address"), "{log}");
}

#[tokio::test]
async fn commands_print_why_the_database_is_unreachable() {
    let settings = polls::settings::DatabaseSettings::from_url(
        "DATABASE_URL",
        "postgres://polls@127.0.0.1:1/polls",
        None,
    )
    .unwrap();
    let error = Database::connect(&settings, Purpose::Command)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
