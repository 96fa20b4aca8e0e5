//! Requests and votes while the database is unreachable, slow or read-only.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use super::super::{metric, metrics_address, status, wait_until};
use crate::support::{
    Backend, Site, assert_within,
    cluster::{self, Cluster},
    link::Link,
    site::Server,
    voters::Voters,
};

/// `DATABASE_STATEMENT_TIMEOUT` of the tests, in seconds; without a response, a statement times out 2 s later.
const STATEMENT_TIMEOUT: u64 = 2;

/// A deployment on a database of its own, with the example polls.
pub async fn site_on(url: &str) -> Site {
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", url)
        .with("DATABASE_STATEMENT_TIMEOUT", &STATEMENT_TIMEOUT.to_string())
        .with("DATABASE_OUTAGE_TOLERANCE", "0")
        .with("METRICS_BIND", "127.0.0.1:0");
    site.run(["migrate"]).success();
    site.run(["seed"]).success();
    site
}

pub async fn connect(cluster: &Cluster) -> PgConnection {
    PgConnection::connect(&cluster.url()).await.unwrap()
}

pub async fn votes(cluster: &Cluster) -> i64 {
    let mut db = connect(cluster).await;
    let votes: i32 = sqlx::query_scalar("SELECT votes FROM polls_app_choice WHERE id = 1")
        .fetch_one(&mut db)
        .await
        .unwrap();
    votes.into()
}

pub fn is_served(server: &Server) -> bool {
    status(&server.get("/polls/")) == 200
}

/// Asserts that a response is a 503 page with `Retry-After`.
#[track_caller]
pub fn assert_unavailable(answer: &str) {
    assert_refused(answer, "cannot reach its data just now");
}

/// The same when the database can be read and not written.
#[track_caller]
pub fn assert_not_stored(answer: &str) {
    assert_refused(answer, "cannot store anything just now");
}

#[track_caller]
fn assert_refused(answer: &str, reason: &str) {
    assert_eq!(status(answer), 503, "{answer}");
    assert!(answer.contains("retry-after: 2\r\n"), "{answer}");
    assert!(answer.contains(reason), "{answer}");
    assert!(!answer.contains("postgres"), "{answer}");
}

/// Votes once.
pub fn vote_once(address: &str) -> String {
    crate::support::voters::vote_once(address, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_starts_late_is_used() {
    let mut cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await;
    cluster.stop("-INT");
    let server = site.serve();
    assert!(server.get("/livez").starts_with("HTTP/1.1 200 "));
    assert_eq!(status(&server.get("/readyz")), 503);
    assert_unavailable(&server.get("/polls/"));
    cluster.start();
    wait_until(Duration::from_secs(2), || is_served(&server));
    assert_eq!(status(&server.get("/readyz")), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_outage_leaves_the_server_ready() {
    let mut cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url())
        .await
        .with("DATABASE_OUTAGE_TOLERANCE", "6");
    let server = site.serve();
    let start = Instant::now();
    assert!(server.get("/readyz").ends_with("\r\n\r\nok\n"));
    cluster.stop("-INT");
    // Not the result that is kept for other probes.
    let expected = "ok for now: the database does not answer: the connection is refused\n";
    wait_until(Duration::from_secs(2), || {
        server.get("/readyz").ends_with(expected)
    });
    assert_unavailable(&server.get("/polls/"));
    wait_until(Duration::from_secs(8), || {
        status(&server.get("/readyz")) == 503
    });
    assert!(start.elapsed() > Duration::from_secs(6));
    cluster.start();
    wait_until(Duration::from_secs(2), || is_served(&server));
    wait_until(Duration::from_secs(2), || {
        server.get("/readyz").ends_with("\r\n\r\nok\n")
    });
    // The next comparison of the servers.
    std::thread::sleep(Duration::from_secs(1));
    let (log, _) = server.stop();
    assert!(log.contains("is reached again after "), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_restarts_under_load_lose_and_double_no_vote() {
    let mut cluster = Cluster::new(&["fsync=on"]);
    let site = site_on(&cluster.url()).await;
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let before = votes(&cluster).await;
    let voters = Voters::start(&server.address, 16);
    // A clean stop, then a crash; the last one lasts longer than a request waits.
    for (signal, away) in [
        ("-INT", 0),
        ("-QUIT", 0),
        ("-INT", 0),
        ("-QUIT", STATEMENT_TIMEOUT + 2),
    ] {
        let so_far = voters.acknowledged();
        voters.wait_for(so_far + 300, Duration::from_secs(20));
        cluster.stop(signal);
        assert_eq!(status(&server.get("/livez")), 200);
        let start = Instant::now();
        assert_eq!(status(&server.get("/readyz")), 503);
        assert_within(start, Duration::from_millis(1500));
        assert_unavailable(&server.get("/polls/1/"));
        std::thread::sleep(Duration::from_secs(away));
        cluster.start();
        let took = wait_until(Duration::from_secs(2), || is_served(&server));
        eprintln!("full service {took:?} after the database's return");
    }
    let acknowledged = voters.finish_acknowledged();
    assert_eq!(votes(&cluster).await - before, acknowledged);
    let taken = metric(&metrics, "polls_votes_total");
    assert!((taken - acknowledged as f64).abs() < 0.5, "{taken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_on_a_lost_connection_is_retried() {
    let cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await.with("PAGE_CACHE_SIZE", "0");
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    let mut db = connect(&cluster).await;
    for _ in 0..5 {
        assert!(is_served(&server));
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'polls'")
            .await
            .unwrap();
        assert!(is_served(&server));
        assert_eq!(status(&vote_once(&server.address)), 302);
    }
    assert!(metric(&metrics, "polls_database_retries_total") > 0.0);
    let (log, _) = server.stop();
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_database_is_waited_for() {
    let cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await;
    let server = site.serve();
    let before = votes(&cluster).await;
    assert!(is_served(&server));
    cluster.pause();
    assert_eq!(status(&server.get("/livez")), 200);
    let start = Instant::now();
    assert_eq!(status(&server.get("/readyz")), 503);
    assert_within(start, Duration::from_millis(1500));
    let address = server.address.clone();
    let voter = std::thread::spawn(move || vote_once(&address));
    std::thread::sleep(Duration::from_secs(2));
    cluster.resume();
    assert_eq!(status(&voter.join().unwrap()), 302);
    wait_until(Duration::from_secs(2), || is_served(&server));
    assert_eq!(votes(&cluster).await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_drops_packets_is_timed_out() {
    let cluster = Cluster::new(&[]);
    let link = Link::to(cluster.port).await;
    let site = site_on(&cluster::url(link.port)).await;
    let mut server = site.serve();
    let metrics = metrics_address(&mut server);
    assert!(is_served(&server));
    let before = votes(&cluster).await;
    let voters = Voters::start(&server.address, 8);
    voters.wait_for(100, Duration::from_secs(10));
    link.drop_packets();
    let start = Instant::now();
    // More than there are connections to the database.
    let visitors: Vec<_> = (0..40)
        .map(|_| {
            let address = server.address.clone();
            std::thread::spawn(move || {
                let request =
                    format!("GET /polls/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
                let mut stream = std::net::TcpStream::connect(&address).unwrap();
                std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
                let mut answer = String::new();
                std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
                answer
            })
        })
        .collect();
    assert_eq!(status(&server.get("/livez")), 200);
    assert_eq!(status(&server.get("/readyz")), 503);
    for visitor in visitors {
        assert_unavailable(&visitor.join().unwrap());
    }
    assert_within(start, Duration::from_secs(25));
    assert_eq!(status(&server.get("/livez")), 200);
    link.forward_packets();
    wait_until(Duration::from_secs(2), || is_served(&server));
    let so_far = voters.acknowledged();
    voters.wait_for(so_far + 100, Duration::from_secs(15));
    let acknowledged = voters.finish_acknowledged();
    assert_eq!(votes(&cluster).await - before, acknowledged);
    assert!(metric(&metrics, "polls_database_timeouts_total") > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_a_response_is_looked_up() {
    let cluster = Cluster::new(&[]);
    let link = Link::to(cluster.port).await;
    let site = site_on(&cluster::url(link.port)).await;
    let server = site.serve();
    let before = votes(&cluster).await;
    link.lose_a_commit();
    let address = server.address.clone();
    let voter = std::thread::spawn(move || vote_once(&address));
    wait_until(Duration::from_secs(5), || {
        status(&vote_once(&server.address)) == 302
    });
    assert_eq!(status(&voter.join().unwrap()), 302);
    assert_eq!(votes(&cluster).await, before + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_disappears_leaves_no_locks() {
    let cluster = Cluster::new(&[]);
    let link = Link::to(cluster.port).await;
    let site = site_on(&cluster::url(link.port)).await;
    let server = site.serve();
    assert!(is_served(&server));
    let mut db = connect(&cluster).await;
    db.execute("BEGIN; SELECT * FROM polls_app_choice WHERE id = 1 FOR UPDATE")
        .await
        .unwrap();
    let address = server.address.clone();
    let voter = std::thread::spawn(move || vote_once(&address));
    wait_until_true(
        &mut db,
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')",
    )
    .await;
    link.drop_packets();
    db.execute("COMMIT").await.unwrap();
    // The vote is written and waits for a commit that never comes.
    wait_until_true(
        &mut db,
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'polls'
         AND state = 'idle in transaction')",
    )
    .await;
    let start = Instant::now();
    db.execute("SET lock_timeout = '30s'; UPDATE polls_app_choice SET votes = 7 WHERE id = 1")
        .await
        .unwrap();
    assert!(start.elapsed() > Duration::from_secs(STATEMENT_TIMEOUT) / 2);
    assert_eq!(votes(&cluster).await, 7);
    assert_unavailable(&voter.join().unwrap());
}

async fn wait_until_true(db: &mut PgConnection, query: &'static str) {
    let start = Instant::now();
    while !sqlx::query_scalar::<_, bool>(query)
        .fetch_one(&mut *db)
        .await
        .unwrap()
    {
        assert_within(start, Duration::from_secs(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_read() {
    let cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await;
    let server = site.serve();
    let before = votes(&cluster).await;
    let mut db = connect(&cluster).await;
    let end_sessions =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'polls'";
    db.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        .await
        .unwrap();
    db.execute(end_sessions).await.unwrap();
    assert!(is_served(&server));
    assert_not_stored(&vote_once(&server.address));
    db.execute("SET default_transaction_read_only = off")
        .await
        .unwrap();
    db.execute("ALTER DATABASE postgres SET default_transaction_read_only = off")
        .await
        .unwrap();
    db.execute(end_sessions).await.unwrap();
    assert_eq!(status(&vote_once(&server.address)), 302);
    assert_eq!(votes(&cluster).await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_too_many_connections_is_retried() {
    let cluster = Cluster::new(&["max_connections=10", "superuser_reserved_connections=1"]);
    let site = site_on(&cluster.url()).await;
    let server = site.serve();
    let mut others = Vec::new();
    while let Ok(connection) = PgConnection::connect(&cluster.url()).await {
        others.push(connection);
    }
    assert!(others.len() > 3);
    assert_eq!(status(&server.get("/livez")), 200);
    let mut db = others.pop().unwrap();
    let end_sessions =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'polls'";
    // Again if the server has connected before the others have taken all places.
    while db.execute(end_sessions).await.unwrap().rows_affected() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Ok(connection) = PgConnection::connect(&cluster.url()).await {
            others.push(connection);
        }
    }
    others.push(db);
    assert_unavailable(&server.get("/polls/"));
    assert_unavailable(&vote_once(&server.address));
    assert_eq!(status(&server.get("/readyz")), 503);
    for connection in others {
        connection.close().await.unwrap();
    }
    wait_until(Duration::from_secs(2), || is_served(&server));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_delays_requests_for_a_bounded_time() {
    let cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await;
    let server = site.serve();
    assert!(is_served(&server));
    let mut db = connect(&cluster).await;
    db.execute("BEGIN; LOCK TABLE polls_app_question IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let start = Instant::now();
    assert_unavailable(&server.get("/polls/"));
    assert_within(start, Duration::from_secs(4));
    db.execute("ROLLBACK").await.unwrap();
    assert!(is_served(&server));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_is_not_taken_for_a_dead_database() {
    let cluster = Cluster::new(&[]);
    let site = site_on(&cluster.url()).await;
    let site = site.with("DATABASE_STATEMENT_TIMEOUT", "10");
    let server = site.serve();
    assert!(is_served(&server));
    let mut db = connect(&cluster).await;
    // The next vote takes three seconds, and nothing else is asked meanwhile.
    db.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE UPDATE ON polls_app_choice FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .await
    .unwrap();
    assert_eq!(status(&vote_once(&server.address)), 302);
    let (log, _) = server.stop();
    assert!(!log.contains("have been replaced"), "{log}");
}
