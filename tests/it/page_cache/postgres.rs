//! The listening connection to PostgreSQL: which changes it does not receive, and how it is lost.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use polls::{db::Database, migrations, polls_app::urls};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{TIMEOUT, assert_shown_in_time, execute, from_memory, other_server};
use crate::support::{
    Backend, Site, TestApp, TestDatabase,
    app::{TestQuestion, now, settings},
};

/// The processes of PostgreSQL that serve listening connections of a database.
pub async fn listeners(db: &Database) -> Vec<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT triggers, versions%' \
               AND pid <> pg_backend_pid()";
    let rows = db
        .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .unwrap();
    rows.iter()
        .map(|row| row.try_get("", "pid").unwrap())
        .collect()
}

/// A process that does not run until this is dropped.
pub struct Stopped(i32);

impl Stopped {
    /// Stops a process, unless it has ended.
    pub fn new(process: i32) -> Self {
        signal(process, "-STOP");
        Self(process)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

fn signal(process: i32, signal: &str) {
    let mut kill = Command::new("kill");
    kill.args([signal, &process.to_string()])
        .stderr(Stdio::null());
    kill.status().unwrap();
}

async fn on_postgres() -> (TestApp, Database, String, TestQuestion) {
    let app = TestApp::on(TestDatabase::migrated(Backend::Postgres).await).await;
    let question = app.question("Best season?", &["Summer"]).await;
    let db = app.database.connect().await;
    let path = urls::results(question.id);
    from_memory(&app, &app.visitor(), &path, &[]).await;
    (app, db, path, question)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_changes_are_not_heard_of_nothing_is_served_from_memory() {
    let (app, db, path, question) = on_postgres().await;
    let (visitor, choice) = (app.visitor(), question.choices[0]);
    let mut votes = 0;
    let mut change = async |sql: &str| {
        from_memory(&app, &visitor, &path, &[]).await;
        execute(&db, sql).await;
        votes += 1;
        execute(
            &db,
            &format!("UPDATE polls_app_choice SET votes = {votes} WHERE id = {choice}"),
        )
        .await;
        assert_shown_in_time(&visitor, &path, &format!("{votes} vote")).await;
    };
    // Cut: the connection is opened again.
    change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT triggers, versions%'").await;
    change("SELECT 1").await;
    // A trigger that is missing for a while.
    change("ALTER TABLE polls_app_choice DISABLE TRIGGER polls_notify_update").await;
    let start = Instant::now();
    while app.site.pages.counters().connected.get() == 1 {
        visitor.get(&path).await;
        assert!(start.elapsed() < TIMEOUT);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let hits = app.site.pages.counters().hits.get();
    for _ in 0..20 {
        visitor.get(&path).await.assert_status(200);
    }
    assert_eq!(app.site.pages.counters().hits.get(), hits);
    execute(
        &db,
        "ALTER TABLE polls_app_choice ENABLE ALWAYS TRIGGER polls_notify_update",
    )
    .await;
    change("SELECT 1").await;
    // Unnoticed by any notification, since a trigger is missing only while the change is made.
    from_memory(&app, &visitor, &path, &[]).await;
    execute(&db, &format!(
        "ALTER TABLE polls_app_choice DISABLE TRIGGER ALL; UPDATE polls_app_choice SET votes = 77 WHERE id = {choice}; \
         ALTER TABLE polls_app_choice ENABLE TRIGGER ALL; ALTER TABLE polls_app_choice ENABLE ALWAYS TRIGGER polls_notify_insert; \
         ALTER TABLE polls_app_choice ENABLE ALWAYS TRIGGER polls_notify_update; ALTER TABLE polls_app_choice ENABLE ALWAYS TRIGGER polls_notify_delete; \
         ALTER TABLE polls_app_choice ENABLE ALWAYS TRIGGER polls_notify_truncate",
    )).await;
    assert_shown_in_time(&visitor, &path, "77 votes").await;
    // A session that replays changes of others, and one that cannot see our functions.
    for set in [
        "SET LOCAL session_replication_role = replica",
        "SET LOCAL search_path = ''",
    ] {
        from_memory(&app, &visitor, &path, &[]).await;
        execute(
            &db,
            &format!(
                "{set}; UPDATE public.polls_app_choice SET votes = votes + 1 WHERE id = {choice}"
            ),
        )
        .await;
    }
    assert_shown_in_time(&visitor, &path, "79 votes").await;
    from_memory(&app, &visitor, &path, &[]).await;
    execute(&db, "TRUNCATE polls_app_question CASCADE").await;
    assert_shown_in_time(&visitor, &path, "Not Found").await;
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_another_request_s_page_counts_for_the_timeout() {
    let (app, db, path, question) = on_postgres().await;
    // A lock is waited for up to 1 s: the second request has half of that left.
    let mut short = settings(&app.database);
    short.server.timeout = Duration::from_millis(1500);
    let (site, visitor) = other_server(short, now).await;
    let start = Instant::now();
    while site.pages.counters().hits.get() == 0 {
        assert!(start.elapsed() < TIMEOUT);
        visitor.get(&path).await.assert_status(200);
    }
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("LOCK TABLE polls_app_question")
        .await
        .unwrap();
    site.pages.changed(question.id);
    let (first, second) = tokio::join!(visitor.get(&path), visitor.get(&path));
    let is_late = [&first, &second].map(|reply| {
        reply.assert_status(503);
        reply.text().contains("took too long")
    });
    assert!(is_late.contains(&true), "{}", second.text());
    drop(tx);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_outage_is_logged() {
    let site = Site::migrated(Backend::Postgres).await;
    let site = site.with("RUST_LOG", "info,polls::db=debug,access=off");
    let db = site.database.connect().await;
    let mut server = site.serve();
    let trigger = "TRIGGER polls_notify_update";
    for _ in 0..2 {
        server.clear_log();
        // Each heartbeat is sent for a request.
        server.get("/polls/");
        server.read_log_until("changes in the database are received");
        execute(
            &db,
            &format!("ALTER TABLE polls_app_choice DISABLE {trigger}"),
        )
        .await;
        server.get("/polls/");
        server.read_log_until("pages are not served from memory");
        execute(
            &db,
            &format!("ALTER TABLE polls_app_choice ENABLE ALWAYS {trigger}"),
        )
        .await;
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_listening_connection_is_replaced() {
    let (app, db, path, question) = on_postgres().await;
    let (visitor, choice) = (app.visitor(), question.choices[0]);
    for votes in 1..=2 {
        from_memory(&app, &visitor, &path, &[]).await;
        let processes = listeners(&db).await;
        assert_eq!(processes.len(), 1);
        let stopped = Stopped::new(processes[0]);
        execute(
            &db,
            &format!("UPDATE polls_app_choice SET votes = {votes} WHERE id = {choice}"),
        )
        .await;
        assert_shown_in_time(&visitor, &path, &format!("{votes} vote")).await;
        // On a new connection, while the old one is still silent.
        from_memory(&app, &visitor, &path, &[]).await;
        drop(stopped);
        let start = Instant::now();
        while listeners(&db).await.contains(&processes[0]) {
            assert!(start.elapsed() < TIMEOUT, "the old connection stays open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_fire_no_trigger_are_shown_within_a_second() {
    let (app, db, path, question) = on_postgres().await;
    let (visitor, choice) = (app.visitor(), question.choices[0]);
    let alternative = "ALTER TABLE polls_app_choice ALTER COLUMN choice_text DROP NOT NULL, \
                       ADD COLUMN alternative varchar(200) NOT NULL DEFAULT 'Swapped'";
    execute(&db, alternative).await;
    for (sql, text) in [
        // Rewrites all rows.
        (
            "ALTER TABLE polls_app_choice ALTER COLUMN votes TYPE integer USING votes + 5"
                .to_owned(),
            "5 votes",
        ),
        (
            "ALTER TABLE polls_app_choice RENAME choice_text TO old; \
             ALTER TABLE polls_app_choice RENAME alternative TO choice_text"
                .to_owned(),
            "Swapped",
        ),
        (
            format!(
                "CREATE TABLE other () INHERITS (polls_app_choice); \
                 INSERT INTO other (id, choice_text, votes, question_id) SELECT 1000, 'Inherited', 0, question_id \
                 FROM polls_app_choice WHERE id = {choice}"
            ),
            "Inherited",
        ),
        (
            "UPDATE other SET choice_text = 'Changed'".to_owned(),
            "Changed",
        ),
    ] {
        if !text.starts_with("Changed") {
            from_memory(&app, &visitor, &path, &[]).await;
        }
        execute(&db, &sql).await;
        assert_shown_in_time(&visitor, &path, text).await;
    }
    execute(&db, "DROP TABLE other").await;
    from_memory(&app, &visitor, &path, &[])
        .await
        .assert_lacks("Changed");
    execute(
        &db,
        "CREATE TABLE parent (LIKE polls_app_choice); ALTER TABLE polls_app_choice INHERIT parent",
    )
    .await;
    execute(&db, "UPDATE parent SET votes = 6").await;
    assert_shown_in_time(&visitor, &path, "6 votes").await;
    execute(&db, "ALTER TABLE polls_app_choice NO INHERIT parent").await;
    from_memory(&app, &visitor, &path, &[]).await;
    let silent = "CREATE OR REPLACE FUNCTION polls_notify_choices() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
    execute(&db, silent).await;
    for votes in [7, 8] {
        let sql = format!("UPDATE polls_app_choice SET votes = {votes} WHERE id = {choice}");
        execute(&db, &sql).await;
        assert_shown_in_time(&visitor, &path, &format!("{votes} votes")).await;
    }
    let restored = migrations::restore(&db).await.unwrap();
    assert_eq!(restored, [migrations::Missing::Triggers]);
    from_memory(&app, &visitor, &path, &[]).await;
    db.close().await;
}
