//! The lists of a long table: no page reads more than the rows that are counted and those between two keys of the page map.

use polls::{db::Database, settings::DatabaseSettings};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use super::LIST;
use crate::support::{
    Backend, Site,
    app::add_questions,
    cluster::Cluster,
    http::{get, log_in, status},
    site::Server,
};

const QUESTIONS: u64 = 60_000;
/// The rows that are counted at most, and those between two keys of the page map, with some for the rest of a page.
const MOST: u64 = 10_000 + 1000 + 200;

/// The pages of the list.
fn pages() -> Vec<String> {
    let last = QUESTIONS / 100;
    let middle = last / 2;
    [
        String::new(),
        format!("?p={middle}"),
        format!("?p={last}"),
        "?o=1".to_owned(),
        "?o=1&p=50".to_owned(),
        "?o=-2".to_owned(),
        "?q=Question".to_owned(),
        "?q=zzzz".to_owned(),
        "?pub_date__year=2026".to_owned(),
        "?pub_date__year=2026&pub_date__month=11".to_owned(),
        "4711/change/".to_owned(),
        "4711/history/".to_owned(),
        "4711/delete/".to_owned(),
    ]
    .map(|rest| format!("{LIST}{rest}"))
    .to_vec()
}

/// Whether a statement is for the list of a period in the order of the keys: it reads the period, or what is newer, since no index
/// has both.
fn is_of_period(sql: &str) -> bool {
    sql.contains("\"pub_date\" >= ") && sql.contains("ORDER BY \"polls_app_question\".\"id\"")
}

/// Requests all pages.
fn request_all(server: &Server, cookie: &str) {
    for page in pages() {
        let response = get(&server.address, &page, cookie);
        assert_eq!(status(&response), 200, "{page}\n{response}");
    }
}

fn log_in_to(server: &Server) -> String {
    let response = log_in(&server.address);
    let session = response.split("sessionid=").nth(1);
    let session = session.and_then(|rest| rest.split(';').next());
    format!("Cookie: sessionid={}\r\n", session.expect("logged in"))
}

/// The rows that a line of an analyzed plan says were read or skipped.
fn rows(line: &str) -> u64 {
    let number = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        rest[..digits.unwrap_or(rest.len())].parse::<u64>().ok()
    };
    let read = number("actual rows=").zip(number("loops="));
    let read = read.map(|(rows, loops)| rows * loops);
    read.or_else(|| number("Rows Removed by Filter: "))
        .unwrap_or_default()
}

#[test]
fn rows_are_found_in_a_plan() {
    assert_eq!(
        rows("  ->  Index Scan (cost=0.1..2 rows=7 width=4) (actual rows=30 loops=2)"),
        60
    );
    assert_eq!(rows("        Rows Removed by Filter: 59990"), 59990);
    assert_eq!(rows("  Sort Key: id DESC"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_read_few_rows_on_postgres() {
    // Logs the plan of each statement with the rows that it has read.
    let cluster = Cluster::new(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_analyze=on",
        "auto_explain.log_timing=off",
        "auto_explain.log_nested_statements=on",
        "logging_collector=on",
        "log_filename=log",
    ]);
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", &cluster.url());
    site.run(["migrate"]).success();
    let site = site.with_superuser();
    let settings = DatabaseSettings::from_url("DATABASE_URL", &cluster.url(), None).unwrap();
    let db = Database::connect(&settings, polls::db::Purpose::Command).await;
    let db = db.unwrap();
    add_questions(&db, QUESTIONS).await;
    let server = site.serve();
    let cookie = log_in_to(&server);
    // The first time, the page map is read, which is kept.
    request_all(&server, &cookie);
    let before = cluster.log().len();
    request_all(&server, &cookie);
    let log = cluster.log();
    let plans: Vec<&str> = log[before..].split("plan:\n").skip(1).collect();
    let of_questions = plans
        .iter()
        .filter(|plan| plan.contains("FROM \"polls_app_question\""));
    assert!(of_questions.count() >= pages().len());
    let mut searches = 0;
    for plan in plans.iter().filter(|plan| !is_of_period(plan)) {
        let most = plan.lines().map(rows).max().unwrap_or_default();
        // A search for what no object has reads the newest 50,000, and only their choices; of so short a table perhaps all.
        if plan.contains("%ZZZZ%") {
            assert!(plan.contains("(question_id >= "), "{plan}");
            assert!(most <= 2 * QUESTIONS, "{most} rows:\n{plan}");
            searches += 1;
        } else {
            assert!(most <= MOST, "{most} rows:\n{plan}");
        }
    }
    assert!(searches > 0);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lists_scan_no_table_on_sqlite() {
    let site = Site::migrated(Backend::Sqlite).await.with_superuser();
    let site = site
        .with("RUST_LOG", "sqlx::query=debug")
        .with("LOG_FORMAT", "json");
    let db = site.database.connect().await;
    add_questions(&db, QUESTIONS).await;
    let server = site.serve();
    let cookie = log_in_to(&server);
    request_all(&server, &cookie);
    let (log, _) = server.stop();
    let (mut seen, tx) = (0, db.begin().await.unwrap());
    for line in log.lines() {
        let sql = statement(line).filter(|sql| sql.contains("\"polls_app_"));
        let Some(sql) = sql.filter(|sql| !is_of_period(sql)) else {
            continue;
        };
        let explain =
            Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = tx.query_all_raw(explain).await.unwrap();
        let line = |row: &QueryResult| row.try_get::<String>("", "detail").unwrap();
        let plan: Vec<String> = plan.iter().map(line).collect();
        let is_scan = |line: &&String| {
            // An index may be read from its beginning, up to the limit.
            let is_limited = line.contains(" INDEX ") && sql.contains(" LIMIT ");
            line.starts_with("SCAN polls_app_") && !is_limited
                || line.contains("USE TEMP B-TREE FOR ORDER BY")
        };
        assert!(!plan.iter().any(|line| is_scan(&line)), "{sql}\n{plan:#?}");
        seen += 1;
    }
    assert!(seen >= pages().len(), "{seen}");
    drop(tx);
    db.close().await;
}

/// The statement of a line of the log.
fn statement(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    let text = |name: &str| {
        fields[name]
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    text("db.statement")
        .or_else(|| text("summary"))
        .map(str::to_owned)
}
