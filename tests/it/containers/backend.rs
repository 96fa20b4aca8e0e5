//! PostgreSQL as the manifests start it.

use super::{
    deployment::{Backend, TIMEOUT, wait_for_postgres},
    engine::{Container, Volume, docker},
};
use crate::support::http::wait_until;

#[test]
fn ten_replicas_migrate_concurrently() {
    let backend = Backend::alone();
    let jobs: Vec<_> = (0..10).map(|_| backend.begin_to_migrate()).collect();
    for job in &jobs {
        assert_eq!(docker(&["wait", &job.name]), "0", "{}", job.log());
    }
    let applied = "SELECT count(*) || ' ' || count(DISTINCT (app, name)) FROM django_migrations";
    assert_eq!(backend.primary.sql(applied), "27 27");
}

#[test]
fn the_database_role_owns_only_its_database() {
    let backend = Backend::alone();
    let primary = &backend.primary;
    let role = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = 'polls'";
    assert_eq!(primary.sql(role), "f");
    let owned = "SELECT string_agg(datname, ' ') FROM pg_database JOIN pg_roles r ON r.oid = datdba WHERE rolname = 'polls'";
    assert_eq!(primary.sql(owned), "polls");
    let hashes = "SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') FROM pg_authid WHERE rolpassword IS NOT NULL";
    assert_eq!(primary.sql(hashes), "t");

    // Over the network, and with its password only.
    let secrets = backend.manifests.data("Secret", "polls-secrets");
    let connect = |user: &str, database: &str, password: &str| {
        let address = format!("host=127.0.0.1 user={user} dbname={database} password={password}");
        primary
            .exec_with(&["psql", "-Atc", "SELECT 1", &address], "")
            .status
            .success()
    };
    assert!(connect("polls", "polls", &secrets["DATABASE_PASSWORD"]));
    assert!(!connect("polls", "polls", "wrong"));
    assert!(!connect("polls", "postgres", &secrets["DATABASE_PASSWORD"]));
    assert!(!connect("postgres", "polls", &secrets["DATABASE_PASSWORD"]));

    // Its rows outlive a pod that was killed.
    primary.sql("CREATE TABLE kept AS SELECT 1");
    primary.act("kill");
    primary.act("start");
    wait_for_postgres(primary);
    assert_eq!(primary.sql("SELECT count(*) FROM kept"), "1");
}

#[test]
fn a_logical_replication_subscriber_receives_the_publication() {
    let backend = Backend::alone();
    backend.migrate();
    let primary = &backend.primary;
    let data = Volume::new("subscriber");
    let args = backend
        .manifests
        .alone("StatefulSet", "polls-backend", &data);
    let other = Container::start("subscriber", &[(&backend.back, &[])], &args);
    wait_for_postgres(&other);
    let schema = primary.exec(&[
        "pg_dump",
        "-h",
        "/tmp",
        "-U",
        "postgres",
        "--schema-only",
        "--no-publications",
        "polls",
    ]);
    let psql = ["psql", "-h", "/tmp", "-U", "postgres", "-d", "polls", "-q"];
    assert!(other.exec_with(&psql, &schema).status.success());
    let password = &backend.manifests.data("Secret", "polls-secrets")["REPLICATION_PASSWORD"];
    other.sql(&format!(
        "CREATE SUBSCRIPTION polls CONNECTION 'host=polls-backend user=replicator dbname=polls password={password}' PUBLICATION polls"
    ));
    primary.sql(
        "INSERT INTO polls_app_question (question_text, pub_date) VALUES ('Followed?', now())",
    );
    let there = "SELECT count(*) FROM polls_app_question WHERE question_text = 'Followed?'";
    wait_until(TIMEOUT, || other.sql(there) == "1");
    // Every table can be changed and cleared although it is published.
    primary.sql(
        "UPDATE polls_app_question SET question_text = 'Changed'; DELETE FROM polls_app_question",
    );
    primary.sql("INSERT INTO polls_login_failures VALUES ('x', 1, 1); DELETE FROM polls_login_failures; DELETE FROM polls_vote_receipts");
    wait_until(TIMEOUT, || {
        other.sql("SELECT count(*) FROM polls_app_question") == "0"
    });
}

#[test]
fn a_backup_is_restored() {
    let backend = Backend::alone();
    backend.migrate();
    let primary = &backend.primary;
    primary.sql("INSERT INTO polls_app_question (question_text, pub_date) VALUES ('Kept?', now())");
    let sh = |script: &str| primary.exec(&["sh", "-c", script]);
    sh("pg_dump -U postgres --format=custom --create polls >/tmp/polls.dump");
    primary.sql("DELETE FROM polls_app_question; DROP TABLE polls_vote_receipts");
    sh(
        "pg_restore -U postgres --dbname=postgres --clean --if-exists --create --exit-on-error </tmp/polls.dump",
    );
    assert_eq!(
        primary.sql("SELECT question_text FROM polls_app_question"),
        "Kept?"
    );
    let may = "SELECT has_database_privilege('replicator', 'polls', 'CONNECT'), has_database_privilege('public', 'polls', 'CONNECT')";
    assert_eq!(primary.sql(may), "t|f");
    // The role finds everything its own, and nothing to do.
    backend.migrate();
}
