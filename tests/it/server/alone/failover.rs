//! Several servers of PostgreSQL: a standby that is promoted, a former primary that returns, and passwords that change.

use std::{fs, time::Duration};

use sqlx::Executor;

use super::{
    super::{metric, metrics_address, status, wait_until},
    faults::{connect, is_served, site_on, vote_once, votes},
};
use crate::support::{cluster::Cluster, link::Link, site::Server, voters::Voters};

/// The line of the log that names the server which changes go to.
fn changes_go_to(cluster: &Cluster, timeline: u32) -> String {
    format!(
        "changes go to the server 127.0.0.1:{}, timeline {timeline}",
        cluster.port
    )
}

fn both(one: &Cluster, other: &Cluster) -> String {
    let (one, other) = (one.port, other.port);
    format!("postgres://postgres@127.0.0.1:{one},127.0.0.1:{other}/postgres")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_go_to_the_promoted_standby_and_never_back() {
    let mut primary = Cluster::new(&["wal_log_hints=on"]);
    let site = site_on(&primary.url()).await;
    let standby = primary.standby();
    let url = both(&primary, &standby);
    let site = site
        .with("DATABASE_URL", &url)
        .with("DATABASE_REPLICA_URL", &url);
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    wait_until(Duration::from_secs(10), || {
        metric(&metrics, "polls_replica_in_use") > 0.0
    });
    let voters = Voters::start(&server.address, 4);
    voters.wait_for(100, Duration::from_secs(20));
    // As a planned failover: a clean stop sends all of the log to the standby.
    primary.stop("-INT");
    // Without a primary, the standby is read from.
    wait_until(Duration::from_secs(10), || is_served(&server));
    wait_until(Duration::from_secs(10), || {
        server
            .get("/readyz")
            .contains("no server of the database takes changes")
    });
    let said = site.run(["clearsessions"]);
    let expected = "the server is a standby, and none takes changes";
    assert!(said.stderr.contains(expected), "{}", said.stderr);
    let said = site.run(["migrate"]);
    assert!(
        said.stderr.contains("no server takes changes: "),
        "{}",
        said.stderr
    );
    standby.promote();
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 100, Duration::from_secs(20));

    // The former primary returns, writable, and without these votes.
    primary.start();
    let before = votes(&primary).await;
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 100, Duration::from_secs(20));
    // Until this comparison of the servers it may have been overlooked.
    let refused = "polls_database_servers_refused_total";
    wait_until(Duration::from_secs(10), || metric(&metrics, refused) >= 1.0);
    // A server that has seen neither chooses the newer one, too.
    let other = site.serve();
    for _ in 0..10 {
        assert_eq!(status(&vote_once(&other.address)), 302);
    }
    let acknowledged = voters.finish_acknowledged() + 10;
    assert_eq!(votes(&primary).await, before);
    assert_eq!(votes(&standby).await, acknowledged);
    let changes = metric(&metrics, "polls_database_server_changes_total");
    assert!(changes >= 1.0, "{changes}");
    let labels = format!(
        "polls_database_server{{server=\"127.0.0.1:{}\",timeline=\"2\"}}",
        standby.port
    );
    assert!((metric(&metrics, &labels) - 1.0).abs() < 0.5);
    let (log, _) = server.stop();
    assert!(log.contains(&changes_go_to(&primary, 1)), "{log}");
    assert!(log.contains(&changes_go_to(&standby, 2)), "{log}");
    assert!(log.contains("there are other primaries than "), "{log}");
    let (log, _) = other.stop();
    assert!(
        log.contains(&changes_go_to(&standby, 2)) && !log.contains(&changes_go_to(&primary, 1)),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_primary_behind_the_same_address_is_refused() {
    let primary = Cluster::new(&[]);
    let site = site_on(&primary.url()).await;
    let standby = primary.standby();
    standby.promote();
    let link = Link::to(standby.port).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", link.port);
    let mut server = site.with("DATABASE_URL", &url).serve();
    let metrics = metrics_address(&mut server);
    assert_eq!(status(&vote_once(&server.address)), 302);
    link.redirect(primary.port);
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'polls'";
    let mut db = connect(&standby).await;
    db.execute(end).await.unwrap();
    assert_eq!(status(&vote_once(&server.address)), 503);
    let ready = server.get("/readyz");
    assert!(
        ready.ends_with(
            "the database does not answer: it is a former primary: a newer timeline has been seen\n"
        ),
        "{ready}"
    );
    assert_eq!(votes(&primary).await, 0);
    assert!(metric(&metrics, "polls_database_servers_refused_total") >= 1.0);
    link.redirect(standby.port);
    wait_until(Duration::from_secs(5), || is_served(&server));
    assert_eq!(status(&vote_once(&server.address)), 302);
    assert_eq!(votes(&standby).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_is_never_used() {
    let mut own = Cluster::new(&[]);
    let site = site_on(&own.url()).await;
    // It was created later, as after a lost volume.
    let mut other = Cluster::new(&[]);
    other.stop("-INT");
    let url = both(&own, &other);
    let server = site.with("DATABASE_URL", &url).serve();
    assert_eq!(status(&vote_once(&server.address)), 302);
    other.start();
    own.stop("-INT");
    let reason = "the servers are of different database clusters";
    wait_until(Duration::from_secs(10), || {
        let ready = server.get("/readyz");
        status(&ready) == 503 && ready.contains(reason)
    });
    assert_eq!(status(&vote_once(&server.address)), 503);
    own.start();
    wait_until(Duration::from_secs(10), || is_served(&server));
    assert_eq!(status(&vote_once(&server.address)), 302);
    // The next comparison of the servers.
    std::thread::sleep(Duration::from_secs(1));
    let (log, _) = server.stop();
    assert!(log.contains("there are other primaries than "), "{log}");
    // One that has seen neither cannot know.
    let site = site_on(&own.url()).await.with("DATABASE_URL", &url);
    let said = site.run(["showmigrations"]);
    assert!(
        said.code == 1 && said.stderr.contains(reason),
        "{}",
        said.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_fails_no_request() {
    let cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await;
    let mut db = connect(&cluster).await;
    db.execute("CREATE ROLE voter LOGIN PASSWORD 'first'; GRANT ALL ON ALL TABLES IN SCHEMA public TO voter").await.unwrap();
    cluster.write_hba("host all voter all scram-sha-256\nhost all postgres all trust\n");
    db.execute("SELECT pg_reload_conf()").await.unwrap();
    let (file, previous) = (
        site.folder().join("password"),
        site.folder().join("previous"),
    );
    fs::write(&file, "first\n").unwrap();
    let site = site
        .with(
            "DATABASE_URL",
            &format!("postgres://voter@127.0.0.1:{}/postgres", cluster.port),
        )
        .with("DATABASE_PASSWORD_FILE", file.to_str().unwrap())
        .with(
            "DATABASE_PASSWORD_PREVIOUS_FILE",
            previous.to_str().unwrap(),
        );
    let server = site.serve();
    let voters = Voters::start(&server.address, 4);
    voters.wait_for(50, Duration::from_secs(20));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'voter' AND state = 'idle' AND state_change < clock_timestamp() - interval '20 ms'";
    let go_on = async |db: &mut sqlx::PgConnection| {
        // All connections are new ones.
        db.execute(end).await.unwrap();
        let so_far = voters.acknowledged();
        voters.wait_for(so_far + 50, Duration::from_secs(20));
    };
    // The files change before PostgreSQL does, and hold both.
    fs::write(&previous, "first\n").unwrap();
    fs::write(&file, "second\n").unwrap();
    go_on(&mut db).await;
    db.execute("ALTER ROLE voter PASSWORD 'second'")
        .await
        .unwrap();
    go_on(&mut db).await;
    // PostgreSQL before the files.
    db.execute("ALTER ROLE voter PASSWORD 'third'")
        .await
        .unwrap();
    fs::write(&file, "third\n").unwrap();
    go_on(&mut db).await;
    let tally = voters.finish();
    assert_eq!(tally.keys().collect::<Vec<_>>(), [&302], "{tally:?}");
    assert_eq!(votes(&cluster).await, tally[&302]);
    drop::<Server>(server);
}
