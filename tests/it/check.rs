//! `check`, and the command line's exit codes and streams.

use std::{fs::File, process::Stdio};

use crate::support::{
    Backend, Site,
    http::{send, status},
    voters::vote,
};

on_both_databases! {
    async fn findings_have_ids_and_hints(site: Site) {
        // An empty file is an empty database of SQLite.
        std::fs::write(site.folder().join("db.sqlite3"), "").unwrap();
        let said = site.run(["check"]).success();
        let expected = "System check identified some issues:\n\nWARNINGS:\n\
            ?: (polls.W001) 27 migration(s) have not been applied.\n\tHINT: Run 'polls migrate' to apply them.\n\n\
            System check identified 1 issue (0 silenced).\n";
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", expected));
        let said = site.run(["check", "--fail-level", "WARNING"]);
        assert_eq!(said.code, 1);
        assert!(said.stderr.starts_with("SystemCheckError: System check identified some issues:\n"), "{}", said.stderr);
        assert_eq!(site.run(["check", "--tag", "templates", "--tag", "settings"]).success().stderr, "");
        assert_eq!(site.run(["check", "--list-tags"]).success().stdout, "admin\ndatabase\nmigrations\nsecurity\nsettings\ntemplates\n");
    }
}

#[tokio::test]
async fn an_unreachable_database_is_an_error() {
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", "postgres://polls:hidden@127.0.0.1:1/polls");
    let said = site.run(["check"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("ERRORS:\n?: (polls.E002) The database at postgres://polls@127.0.0.1:1/polls cannot be reached: "), "{}", said.stderr);
    assert!(!said.stderr.contains("hidden"));
}

#[tokio::test]
async fn check_creates_no_database_and_fails_with_a_closed_stdout() {
    let site = Site::new(Backend::Sqlite).await;
    let said = site.run(["check"]).success();
    assert!(
        said.stderr.contains("?: (polls.W002) The database "),
        "{}",
        said.stderr
    );
    assert!(!site.folder().join("db.sqlite3").exists());
    let said = site.with("ALLOWED_HOSTS", "").run(["check"]).success();
    assert!(
        said.stderr
            .contains("?: (security.W020) ALLOWED_HOSTS must not be empty in deployment."),
        "{}",
        said.stderr
    );

    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", "postgres://polls@127.0.0.1:1/polls");
    let mut child = site
        .command(["check"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

/// A file whose writes fail with ENOSPC.
fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[tokio::test]
async fn a_full_disk_for_errors_does_not_change_the_exit_status() {
    let site = Site::new(Backend::Sqlite).await;
    let mut command = site.command_of(&["showmigrations", "unknown"]);
    let status = command.stderr(full_disk()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[tokio::test]
async fn a_full_disk_for_the_output_is_reported() {
    let site = Site::new(Backend::Sqlite).await;
    // What changes the database does so first.
    for (arguments, changed) in [
        (&["showmigrations"][..], ""),
        (&["migrate"], "[X] 0001_initial"),
        (&["seed"], ""),
    ] {
        let mut command = site.command_of(arguments);
        let output = command
            .stdout(full_disk())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.starts_with("CommandError: cannot write to standard output: No space left"),
            "{arguments:?}: {error}"
        );
        let shown = site.run(["showmigrations"]).success().stdout;
        assert!(shown.contains(changed), "{arguments:?}: {shown}");
    }
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_quietly() {
    let site = Site::new(Backend::Sqlite).await;
    for args in [
        &["showmigrations"][..],
        &["completions", "bash"],
        &["man"],
        &["sqlmigrate", "auth", "0001_initial"],
    ] {
        let mut child = site
            .command_of(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (
                output.status.code(),
                String::from_utf8_lossy(&output.stderr).as_ref()
            ),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn usage_errors_exit_with_2_and_help_is_printed() {
    let site = Site::new(Backend::Sqlite).await.with("SECRET_KEY", "");
    let said = site.run(["migrat"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("'migrate'"), "{}", said.stderr);
    assert_eq!(
        site.run(["--version"]).success().stdout,
        format!("polls {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = site.run(["--help"]).success().stdout;
    for command in [
        "runserver",
        "migrate",
        "showmigrations",
        "sqlmigrate",
        "makemigrations",
        "createsuperuser",
        "changepassword",
        "seed",
        "check",
        "healthcheck",
        "completions",
        "man",
    ] {
        assert!(
            help.contains(&format!("  {command}")),
            "{command} is not in:\n{help}"
        );
    }
    // These need no settings.
    assert!(
        site.run(["completions", "bash"])
            .success()
            .stdout
            .contains("_polls")
    );
    assert!(site.run(["man"]).success().stdout.contains(".TH polls"));
    site.run(["man", "pages"]).success();
    assert!(site.folder().join("pages/polls-migrate.1").exists());
}

#[tokio::test]
async fn after_a_command_the_sqlite_file_is_complete_without_wal() {
    let site = Site::new(Backend::Sqlite).await;
    site.run(["migrate"]).success();
    site.run(["seed"]).success();
    assert_eq!(site.run(["migrate", "nosuch"]).code, 1);
    let site = site.with("METRICS_BIND", "127.0.0.1:0");
    let server = site.serve();
    let vote = vote(&server.address, 1).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let reply = send(&server.address, vote.as_bytes());
    assert_eq!(status(&reply), 302, "{reply}");
    server.stop();
    let names: Vec<_> = std::fs::read_dir(site.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["db.sqlite3"]);
}
