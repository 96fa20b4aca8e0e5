//! `migrate`: errors, and concurrent runs.

use std::process::Stdio;

use migration::{Default, Direction, Field, Kind, Migration, Operation};
use polls::{
    db::{Database, Purpose},
    migrations,
};
use sea_orm::ConnectionTrait;

use crate::support::{Backend, Site, cluster::Cluster};

on_both_databases! {
    async fn ten_concurrent_migrate_commands_record_each_migration_once(site: Site) {
        let run = || site.command(["migrate"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = (0..10).map(|_| run()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(site.number("SELECT count(*) FROM django_migrations").await, 27);
        assert_eq!(site.number("SELECT count(*) FROM (SELECT DISTINCT app, name FROM django_migrations) AS names").await, 27);
        assert_eq!(site.number("SELECT count(*) FROM django_content_type").await, 8);
        assert_eq!(site.number("SELECT count(*) FROM auth_permission").await, 32);
    }

    async fn a_failed_migration_is_rolled_back(site: Site) {
        // The second of its three operations will find its table in the way.
        site.execute("CREATE TABLE polls_app_question (unrelated integer)").await;
        let said = site.run(["migrate", "polls_app"]);
        assert_eq!(said.code, 1);
        assert!(said.stderr.starts_with("CommandError: polls_app.0001_initial failed, and nothing of it was kept: "), "{}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        assert_eq!(site.number("SELECT count(*) FROM django_migrations").await, 0);

        site.execute("DROP TABLE polls_app_question").await;
        // The first operation's table is not there either: it could not be made again otherwise.
        site.run(["migrate", "polls_app"]).success();
        assert_eq!(site.number("SELECT count(*) FROM polls_app_choice").await, 0);
    }

    async fn fake_changes_only_the_history(site: Site) {
        let said = site.run(["migrate", "polls_app", "--fake"]).success();
        assert!(said.stdout.ends_with("  Applying polls_app.0001_initial... FAKED\n"), "{}", said.stdout);
        let said = site.run(["migrate", "polls_app", "zero", "--fake"]).success();
        assert!(said.stdout.ends_with("  Unapplying polls_app.0001_initial... FAKED\n"), "{}", said.stdout);
        site.run(["migrate", "polls_app"]).success();
    }

    async fn fake_initial_accepts_existing_tables(site: Site) {
        site.run(["migrate", "polls_app"]).success();
        site.execute("DELETE FROM django_migrations").await;
        let said = site.run(["migrate", "--fake-initial"]).success();
        assert!(said.stdout.contains("  Applying polls_app.0001_initial... FAKED\n"), "{}", said.stdout);
        assert!(said.stdout.contains("  Applying contenttypes.0001_initial... OK\n"), "{}", said.stdout);
    }

    async fn an_inconsistent_history_is_refused(site: Site) {
        site.run(["migrate"]).success();
        site.execute("DELETE FROM django_migrations WHERE app = 'auth' AND name LIKE '0001%'").await;
        site.run(["migrate"]).refused(
            "Migration admin.0001_initial is applied before its dependency auth.0001_initial on database 'default'.",
        );
    }

    async fn migrating_backwards_and_forwards_keeps_rows(site: Site) {
        site.run(["migrate"]).success();
        site.run(["createsuperuser", "--noinput", "--username", "admin", "--email", "a@example.com"]).success();
        let said = site.run(["migrate", "auth", "0005"]).success();
        let expected = "Operations to perform:\n  Target specific migration: 0005_alter_user_last_login_null, from auth\n\
                        Running migrations:\n  Rendering model states... DONE\n  \
                        Unapplying auth.0012_alter_user_first_name_max_length... OK\n";
        assert!(said.stdout.starts_with(expected), "{}", said.stdout);
        assert_eq!(site.number("SELECT count(*) FROM auth_user WHERE username = 'admin'").await, 1);
        // Users without a last login get one when the column becomes NOT NULL.
        site.run(["migrate", "auth", "0004"]).success();
        assert_eq!(site.number("SELECT count(*) FROM auth_user WHERE last_login IS NOT NULL").await, 1);
        site.run(["migrate"]).success();
        assert_eq!(site.number("SELECT count(*) FROM auth_user WHERE username = 'admin'").await, 1);
    }

    async fn an_ambiguous_name_is_refused(site: Site) {
        site.run(["migrate", "auth", "000"]).refused("More than one migration matches '000' in app 'auth'. Please be more specific.");
        site.run(["sqlmigrate", "auth", "000"]).refused("More than one migration matches '000' in app 'auth'. Please be more specific.");
    }

    async fn rows_of_unknown_apps_are_left_alone(site: Site) {
        site.run(["migrate"]).success();
        site.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('other', '0001_initial', '2026-11-20 07:00:00')").await;
        let said = site.run(["migrate"]).success();
        assert!(said.stdout.ends_with("  No migrations to apply.\n"));
        assert_eq!(site.number("SELECT count(*) FROM django_migrations WHERE app = 'other'").await, 1);
    }

    async fn migrate_continues_with_a_closed_stdout(site: Site) {
        let mut child = site.command(["migrate"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(site.number("SELECT count(*) FROM django_migrations").await, 27);
    }

    async fn a_field_can_be_added_to_a_table_with_rows(site: Site) {
        const OPERATIONS: &[Operation] = &[
            Operation::AddField { model: "question", field: Field::new("closed", Kind::Boolean).default(Default::Boolean(true)) },
            Operation::AddField { model: "question", field: Field::char("author", 30).default(Default::Text("nobody's")) },
            Operation::AddField { model: "question", field: Field::new("rank", Kind::Integer).default(Default::Integer(7)) },
            Operation::AddField { model: "question", field: Field::new("note", Kind::Text).null() },
            Operation::AddField { model: "question", field: Field::foreign_key("owner", "auth.User").null() },
        ];
        let added = Migration { app: "polls_app", name: "0002_more", initial: false, dependencies: &[], operations: OPERATIONS };
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let run = async |direction| {
            let db = Database::connect(&site.database.settings(), Purpose::Migrations).await.unwrap();
            let tx = db.begin().await.unwrap();
            for statement in added.sql(tx.get_database_backend(), direction).statements() {
                tx.execute_unprepared(statement).await.unwrap();
            }
            tx.commit().await.unwrap();
            db.close().await;
        };
        run(Direction::Forwards).await;
        let kept = "SELECT count(*) FROM polls_app_question WHERE closed AND author = 'nobody''s' AND rank = 7 AND note IS NULL AND owner_id IS NULL";
        assert_eq!(site.number(kept).await, 3);
        run(Direction::Backwards).await;
        assert_eq!(site.number("SELECT count(*) FROM polls_app_question").await, 3);
        assert_eq!(site.run(["migrate", "--check"]).code, 0);
    }

    async fn verbosity_is_respected(site: Site) {
        assert_eq!(site.run(["migrate", "-v", "0"]).success().stdout, "");
        let said = site.run(["migrate", "sessions", "zero", "-v", "2"]).success();
        assert!(said.stdout.contains("Unapplying sessions.0001_initial... OK (0."), "{}", said.stdout);
    }
}

#[tokio::test]
async fn migrate_waits_for_a_database_that_starts_late() {
    let mut cluster = Cluster::new(&[]);
    cluster.stop("-INT");
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", &cluster.url());
    let said = site.run(["migrate", "--wait=1"]);
    assert_eq!(said.code, 1);
    let expected = format!(
        "CommandError: the database at postgres://postgres@127.0.0.1:{}/postgres cannot be reached for 1 s: ",
        cluster.port
    );
    assert!(
        said.stderr.lines().any(|line| line.starts_with(&expected)),
        "{}",
        said.stderr
    );
    let mut waiting = site.command(["migrate", "--wait"]);
    let waiting = waiting
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    cluster.start();
    let output = waiting.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && log.contains("waiting for the database at "),
        "{log}"
    );
    assert_eq!(log.matches("Connection refused").count(), 1, "{log}");
}

#[tokio::test]
async fn read_only_commands_do_not_change_django_s_file() {
    let site = Site::new(crate::support::Backend::Sqlite).await;
    let file = site.folder().join("db.sqlite3");
    site.run(["migrate", "--plan"]).success();
    assert_eq!(site.run(["migrate", "--check"]).code, 1);
    let listed = site.run(["showmigrations"]).success().stdout;
    assert!(
        listed.contains("[ ] 0001_initial") && !listed.contains("[X]"),
        "{listed}"
    );
    assert!(!file.exists());
    let mode = || std::fs::read(&file).unwrap()[18];
    // Made without write-ahead logging, as Django makes it: byte 18 of the file says so.
    let url = format!("{}?mode=rwc", site.database.url);
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url)
        .await
        .unwrap();
    sqlx::Executor::execute(
        &mut connection,
        "CREATE TABLE django_migrations (id integer, app text, name text, applied datetime)",
    )
    .await
    .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    assert_eq!(mode(), 1);
    site.run(["migrate", "--plan"]).success();
    assert_eq!(site.run(["migrate", "--check"]).code, 1);
    site.run(["showmigrations"]).success();
    site.run(["check"]).success();
    assert_eq!(mode(), 1);
}

#[tokio::test]
async fn a_dangling_reference_stops_a_migration_on_sqlite() {
    let site = Site::migrated(crate::support::Backend::Sqlite).await;
    // Foreign keys are not checked while tables are made anew: they have to be before the end.
    site.run(["migrate", "polls_app", "zero"]).success();
    let db =
        polls::db::Database::connect(&site.database.settings(), polls::db::Purpose::Migrations)
            .await
            .unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("INSERT INTO auth_user_groups (user_id, group_id) VALUES (77, 77)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let graph = migration::Graph::new();
    let migration = graph.get("polls_app", "0001_initial").unwrap();
    let result = migrations::run(
        &db,
        migration,
        migration::Direction::Forwards,
        migrations::Mode::Run,
    )
    .await;
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("a row of auth_user_groups refers to a row of auth_")
    );
}
