//! `sqlmigrate`: the statements are Django's and those that `migrate` runs; no database is needed.

use std::collections::BTreeSet;

use migration::Graph;

use crate::support::{Backend, Site, captured};

/// A remade table's columns stand in another order in Django's `sqlmigrate` than in what its `migrate` runs, which is
/// ours: compare them without their order.
fn without_order(statement: &str) -> String {
    let Some(rest) = statement.strip_prefix("CREATE TABLE \"new__") else {
        return statement.to_owned();
    };
    let (table, columns) = rest.split_once("\" (").unwrap();
    let columns: BTreeSet<&str> = columns.trim_end_matches(");").split(", ").collect();
    format!("new {table}: {columns:?}")
}

async fn assert_same_as_captured(backend: Backend, dialect: &str) {
    // Nothing listens there.
    let site = Site::new(Backend::Sqlite)
        .await
        .with("DATABASE_URL", "postgres://polls@127.0.0.1:1/polls");
    let captured = captured(&format!("sqlmigrate/{}-5.2.19.sql", backend.name()));
    let scripts: Vec<(&str, &str)> = captured
        .split("-- ==== ")
        .skip(1)
        .map(|part| part.split_once(" ====\n").unwrap())
        .collect();
    let plan = Graph::new().full_plan();
    let of_django = plan.iter().filter(|migration| migration.app != "polls");
    assert_eq!(scripts.len(), of_django.count());
    for (migration, expected) in scripts {
        let (app, name) = migration.split_once('.').unwrap();
        let said = site
            .run(["sqlmigrate", app, name, "--database", dialect])
            .success();
        let lines = |text: &str| {
            text.trim_end()
                .lines()
                .map(without_order)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&said.stdout), lines(expected), "{migration}");
        assert_eq!(
            said.stderr,
            if expected.trim().is_empty() {
                "No operations found.\n"
            } else {
                ""
            }
        );
    }
}

#[tokio::test]
async fn sqlmigrate_prints_django_s_statements_for_sqlite() {
    assert_same_as_captured(Backend::Sqlite, "sqlite").await;
}

#[tokio::test]
async fn sqlmigrate_prints_django_s_statements_for_postgres() {
    assert_same_as_captured(Backend::Postgres, "postgres").await;
}

#[tokio::test]
async fn backwards_reverses_the_order() {
    let site = Site::new(Backend::Sqlite).await;
    let said = site
        .run([
            "sqlmigrate",
            "--backwards",
            "contenttypes",
            "0001",
            "--database",
            "postgres",
        ])
        .success();
    let expected = "BEGIN;\n--\n-- Alter unique_together for contenttype (1 constraint(s))\n--\n\
        ALTER TABLE \"django_content_type\" DROP CONSTRAINT \"django_content_type_app_label_model_76bd3d3b_uniq\";\n\
        --\n-- Create model ContentType\n--\nDROP TABLE \"django_content_type\" CASCADE;\nCOMMIT;\n";
    assert_eq!(said.stdout, expected);
    let said = site
        .run(["sqlmigrate", "--backwards", "polls_app", "0001"])
        .success();
    assert!(
        said.stdout.contains("DROP TABLE \"polls_app_question\";\n"),
        "{}",
        said.stdout
    );
    site.run(["sqlmigrate", "nosuch", "0001"])
        .refused("No installed app with label 'nosuch'.");
}
