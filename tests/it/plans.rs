//! The plans of the public pages' queries on large tables, and of votes: none may read a whole table, and none is planned each time.

use std::sync::Mutex;

use async_trait::async_trait;
use chrono::TimeDelta;
use polls::{
    db::{Database, Transaction},
    polls_app::{queries, votes::VoteResult},
    site::{Site, admin_site},
};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use crate::support::{
    Backend, TestApp,
    app::{add_questions, now, settings},
};

const QUESTIONS: u64 = 20_000;

/// A database that records the queries it executes.
struct Recorder<'a>(&'a Database, Mutex<Vec<Statement>>);

#[async_trait]
impl ConnectionTrait for Recorder<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.0.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.0.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.1.lock().unwrap().push(statement.clone());
        self.0.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.1.lock().unwrap().push(statement.clone());
        self.0.query_all_raw(statement).await
    }
}

/// The lines of a query's plan.
async fn plan(db: &impl ConnectionTrait, query: &Statement) -> Vec<String> {
    let explain = match db.get_database_backend() {
        DbBackend::Sqlite => "EXPLAIN QUERY PLAN",
        _ => "EXPLAIN",
    };
    let explain = Statement {
        sql: format!("{explain} {}", query.sql),
        ..query.clone()
    };
    let column = match db.get_database_backend() {
        DbBackend::Sqlite => "detail",
        _ => "QUERY PLAN",
    };
    let rows = db.query_all_raw(explain).await.unwrap();
    let line = |row: &QueryResult| row.try_get("", column).unwrap();
    rows.iter().map(line).collect()
}

/// Whether a line of a plan reads a whole table of the app.
fn is_full_scan(line: &str) -> bool {
    let is_sqlite_scan = line.starts_with("SCAN polls_app_") && !line.contains(" INDEX ");
    is_sqlite_scan || line.contains("Seq Scan on polls_app_")
}

/// The most custom plans that PostgreSQL made for any of the queries, each executed ten times. After five it uses the generic plan,
/// if that costs no more.
async fn custom_plans(tx: &Transaction, queries: &[Statement]) -> i64 {
    let mut most = 0;
    for query in queries {
        for _ in 0..10 {
            tx.query_all_raw(query.clone()).await.unwrap();
        }
        let sql = "SELECT custom_plans FROM pg_prepared_statements WHERE statement = $1";
        let plans =
            Statement::from_sql_and_values(DbBackend::Postgres, sql, [query.sql.as_str().into()]);
        let row = tx
            .query_one_raw(plans)
            .await
            .unwrap()
            .expect("it is prepared");
        most = most.max(row.try_get_by_index(0).unwrap());
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_plans_votes_only_at_first() {
    let app = TestApp::new(Backend::Postgres).await;
    let question = app.question("Busy?", &["Yes", "No"]).await;
    // One connection: its statements can be looked at.
    let mut one_connection = settings(&app.database);
    one_connection.database.pool_size = 1;
    let site = Site::build(one_connection, admin_site(), now)
        .await
        .unwrap();
    for number in 0..20 {
        let vote = site.votes.add(question.id, question.choices[number % 2]);
        assert_eq!(vote.await.unwrap(), VoteResult::Counted);
    }
    let sql = "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement LIKE 'WITH requested%'";
    let plans = Statement::from_string(DbBackend::Postgres, sql);
    let row = site.core.db.write().query_one_raw(plans).await.unwrap();
    let row = row.expect("it is prepared");
    let count = |column| row.try_get_by_index::<i64>(column).unwrap();
    assert!(
        count(0) == 5 && count(1) > 0,
        "{} and {}",
        count(0),
        count(1)
    );
    site.close().await;
}

#[test]
fn full_scans_are_found() {
    assert!(is_full_scan("SCAN polls_app_choice"));
    assert!(is_full_scan(
        "  ->  Seq Scan on polls_app_choice  (cost=0.00..1.04 rows=4 width=48)"
    ));
    assert!(!is_full_scan(
        "SEARCH polls_app_question USING INTEGER PRIMARY KEY (rowid=?)"
    ));
}

on_both_databases! {
    async fn public_pages_read_no_whole_table(app: TestApp) {
        let db = app.site.core.db.write();
        add_questions(db, QUESTIONS).await;
        let recorder = Recorder(db, Mutex::default());
        assert_eq!(queries::latest(&recorder, now()).await.unwrap().len(), 5);
        let found = queries::find(&recorder, 4711).await.unwrap().unwrap();
        assert_eq!(found.choices.len(), 2);
        assert_eq!(queries::next_publication(&recorder, now()).await.unwrap(), None);
        // A page in the middle of the list, in both directions.
        for is_before in [false, true] {
            let key = (now() - TimeDelta::days(3), 4711);
            let page = queries::ListPage { is_closed: false, search: String::new(), position: Some(queries::Position { key, is_before }) };
            assert_eq!(queries::list(&recorder, &page, now()).await.unwrap().questions.len(), queries::PAGE_SIZE);
        }
        let queries = recorder.1.into_inner().unwrap();
        assert_eq!(queries.len(), 5);
        let tx = db.begin().await.unwrap();
        for query in &queries {
            let plan = plan(&tx, query).await;
            assert!(!plan.iter().any(|line| is_full_scan(line)), "{query}\n{plan:#?}");
        }
        if tx.get_database_backend() == DbBackend::Postgres {
            assert_eq!(custom_plans(&tx, &queries).await, 5);
        }
        // The same query without its index.
        tx.execute_unprepared("DROP INDEX polls_question_pub_date").await.unwrap();
        let without = plan(&tx, &queries[0]).await;
        assert!(without.iter().any(|line| is_full_scan(line)), "{without:#?}");
    }
}
