//! Votes, logins and saved forms on a full, read-only or deleted database: nothing acknowledged is lost.

use std::{fs, path::PathBuf, time::Duration};

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{
    super::{log_in, send, status, wait_until},
    faults::{assert_not_stored, assert_unavailable, site_on, vote_once},
};
use crate::support::{
    Backend, Site, cluster::Cluster, disk::SmallDisk, site::Server, voters::Voters,
};

/// A deployment whose SQLite database is on a small disk.
async fn site_on_disk(disk: &SmallDisk) -> (Site, PathBuf) {
    let file = disk.path().join("db.sqlite3");
    let site = site_on(&format!("sqlite://{}", file.display())).await;
    (site.with_superuser(), file)
}

/// What another process reads from the file.
async fn stored(file: &PathBuf, query: &'static str) -> i64 {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false);
    let mut db = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    let number = sqlx::query_scalar(query).fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    number
}

async fn stored_votes(file: &PathBuf) -> i64 {
    stored(file, "SELECT votes FROM polls_app_choice WHERE id = 1").await
}

fn is_ready(server: &Server) -> bool {
    status(&server.get("/readyz")) == 200
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_no_acknowledged_vote_is_lost_under_load() {
    for _ in 0..3 {
        let disk = SmallDisk::new(8);
        let (site, file) = site_on_disk(&disk).await;
        let server = site.serve();
        let before = stored_votes(&file).await;
        let voters = Voters::start(&server.address, 16);
        for _ in 0..3 {
            let so_far = voters.acknowledged();
            voters.wait_for(so_far + 500, Duration::from_secs(20));
            disk.fill();
            wait_until(Duration::from_secs(20), || !is_ready(&server));
            assert_eq!(status(&server.get("/polls/1/results/")), 200);
            assert_eq!(status(&server.get("/livez")), 200);
            std::thread::sleep(Duration::from_millis(300));
            disk.free();
            wait_until(Duration::from_secs(5), || is_ready(&server));
        }
        let so_far = voters.acknowledged();
        voters.wait_for(so_far + 500, Duration::from_secs(20));
        let acknowledged = voters.finish_acknowledged();
        // While the server runs, as another process sees it, and after it.
        assert_eq!(stored_votes(&file).await - before, acknowledged);
        server.stop();
        assert_eq!(stored_votes(&file).await - before, acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_every_kind_of_write_says_503_while_the_disk_is_full_and_works_afterwards() {
    let disk = SmallDisk::new(8);
    let (site, file) = site_on_disk(&disk).await;
    let server = site.serve();
    let before = stored_votes(&file).await;
    disk.fill();
    // What is left of a page or of the log's file takes a few.
    let mut taken = 0;
    wait_until(Duration::from_secs(10), || {
        let answer = vote_once(&server.address);
        taken += i64::from(status(&answer) == 302);
        status(&answer) == 503
    });
    for _ in 0..5 {
        assert_not_stored(&vote_once(&server.address));
        assert_eq!(status(&log_in(&server.address)), 503);
    }
    assert!(!is_ready(&server));
    disk.free();
    wait_until(Duration::from_secs(2), || is_ready(&server));
    for _ in 0..5 {
        assert_eq!(status(&vote_once(&server.address)), 302);
    }
    assert_eq!(status(&log_in(&server.address)), 302);
    // Another process sees it, and may write.
    assert_eq!(stored_votes(&file).await, before + taken + 5);
    assert_eq!(
        stored(&file, "SELECT count(*) FROM django_session").await,
        1
    );
    site.run(["seed"]).success();
    let (log, _) = server.stop();
    assert!(
        log.contains("database unavailable") && log.contains("full"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_a_read_only_database_serves_pages_and_refuses_votes() {
    let disk = SmallDisk::new(8);
    let (site, file) = site_on_disk(&disk).await;
    let before = stored_votes(&file).await;
    let read_only = format!("sqlite://{}?mode=ro", file.display());
    let server = site.with("DATABASE_URL", &read_only).serve();
    assert_eq!(status(&server.get("/polls/")), 200);
    assert_not_stored(&vote_once(&server.address));
    assert!(!is_ready(&server));
    server.stop();
    assert_eq!(stored_votes(&file).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_a_deleted_or_replaced_file_refuses_votes() {
    let site = Site::migrated(Backend::Sqlite).await;
    site.run(["seed"]).success();
    let file = site.folder().join("db.sqlite3");
    let server = site.serve();
    assert_eq!(status(&vote_once(&server.address)), 302);
    let before = stored_votes(&file).await;
    // The pages in memory have a connection of their own.
    assert_eq!(status(&server.get("/polls/")), 200);
    let aside = site.folder().join("aside");
    fs::rename(&file, &aside).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..20 {
        assert_unavailable(&vote_once(&server.address));
        assert_unavailable(&server.get("/polls/"));
        assert!(!is_ready(&server));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!file.exists(), "an empty database was made");
    }
    // Another database in its place is not taken for it.
    fs::copy(&aside, &file).unwrap();
    assert_unavailable(&vote_once(&server.address));
    fs::rename(&aside, &file).unwrap();
    wait_until(Duration::from_secs(1), || is_ready(&server));
    assert_eq!(status(&vote_once(&server.address)), 302);
    assert_eq!(stored_votes(&file).await, before + 1);
    let (log, _) = server.stop();
    assert!(log.contains("db.sqlite3 cannot be found any more"), "{log}");
    assert!(log.contains("has been replaced by another file"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_full_disk_loses_no_acknowledged_vote() {
    let disk = SmallDisk::new(200);
    let mut cluster = Cluster::in_folder(
        disk.path(),
        &["fsync=on", "max_wal_size=32MB", "min_wal_size=32MB"],
    );
    let site = site_on(&cluster.url()).await;
    let server = site.serve();
    let votes = async |url: String| -> i64 {
        let mut db = PgConnection::connect(&url).await.unwrap();
        let query = "SELECT votes::bigint FROM polls_app_choice WHERE id = 1";
        let votes = sqlx::query_scalar(query).fetch_one(&mut db).await.unwrap();
        db.close().await.unwrap();
        votes
    };
    let before = votes(cluster.url()).await;
    // Tables on the full disk, the log has room: statements fail with 53100.
    let mut db = PgConnection::connect(&cluster.url()).await.unwrap();
    disk.fill();
    let filled = db
        .execute("CREATE TABLE filler AS SELECT repeat('x', 900) FROM generate_series(1, 200000)")
        .await;
    assert!(filled.is_err(), "{filled:?}");
    let voters = Voters::start(&server.address, 8);
    // The server ends itself when it cannot write its log, and goes on when there is room.
    std::thread::sleep(Duration::from_secs(3));
    disk.free();
    cluster.start_again_if_ended();
    wait_until(Duration::from_secs(20), || is_ready(&server));
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 200, Duration::from_secs(20));
    let acknowledged = voters.finish_acknowledged();
    assert_eq!(votes(cluster.url()).await - before, acknowledged);
    assert_eq!(
        status(&send(
            &server.address,
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )),
        200
    );
}
