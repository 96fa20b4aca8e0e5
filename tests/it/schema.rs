//! After `migrate` on an empty database, the schema is Django 5.2's, object for object and by name, and so are the rows
//! that Django makes.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};

use crate::support::{Backend, Site, TestDatabase, captured};

/// Everything in a database's catalogue, a line each.
async fn introspect(database: &TestDatabase) -> Vec<String> {
    let (backend, query) = match database.backend {
        Backend::Sqlite => (
            DbBackend::Sqlite,
            "SELECT type || ' ' || name || ': ' || coalesce(sql, 'automatic') AS line FROM sqlite_master \
             WHERE name NOT LIKE 'sqlite_seq%'",
        ),
        Backend::Postgres => (
            DbBackend::Postgres,
            "SELECT 'column ' || table_name || '.' || column_name || ': ' || data_type || ' '
                    || coalesce(character_maximum_length::text, '-') || ' null ' || is_nullable || ' default '
                    || coalesce(column_default, '-') || ' identity ' || coalesce(identity_generation, '-') AS line
               FROM information_schema.columns WHERE table_schema = 'public'
             UNION ALL
             SELECT 'constraint ' || conrelid::regclass || '.' || conname || ': ' || pg_get_constraintdef(oid)
               FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             UNION ALL
             SELECT 'index ' || indexname || ': ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL
             SELECT 'sequence ' || sequencename || ': ' || data_type || start_value || increment_by
               FROM pg_sequences WHERE schemaname = 'public'",
        ),
    };
    let db = database.connect().await;
    let rows = db
        .query_all_raw(Statement::from_string(backend, query))
        .await
        .unwrap();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| row.try_get("", "line").unwrap())
        .filter(|line: &String| !is_ours(line))
        .collect();
    lines.sort();
    db.close().await;
    lines
}

/// Whether a line is about something that Django does not have: what it names begins with `polls_`.
fn is_ours(line: &str) -> bool {
    let name = line.split(' ').nth(1).unwrap_or_default();
    let name = name.strip_prefix("sqlite_autoindex_").unwrap_or(name);
    name.starts_with("polls_") && !name.starts_with("polls_app_")
}

/// A database with the schema that was captured from a version of Django.
async fn django_schema(backend: Backend, version: &str) -> TestDatabase {
    let database = TestDatabase::empty(backend).await;
    let sql = captured(&format!("schema/{}-{version}.sql", backend.name()));
    match backend {
        Backend::Sqlite => {
            let sql = sql.replace("CREATE TABLE sqlite_sequence(name,seq);", "");
            // Tables come after their indexes in the file, which is sorted.
            let (tables, indexes): (Vec<&str>, Vec<&str>) = sql
                .lines()
                .filter(|line| !line.is_empty())
                .partition(|line| line.starts_with("CREATE TABLE"));
            let mut connection = SqliteConnection::connect(&format!("{}?mode=rwc", database.url))
                .await
                .unwrap();
            for statement in tables.into_iter().chain(indexes) {
                connection
                    .execute(sqlx::AssertSqlSafe(statement.to_owned()))
                    .await
                    .unwrap();
            }
            connection.close().await.unwrap();
        }
        Backend::Postgres => {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
    }
    database
}

/// The rows that `migrate` leaves, as the captured file has them.
async fn rows(database: &TestDatabase) -> serde_json::Value {
    let db = database.connect().await;
    let list = async |query: &str, columns: &[&str]| {
        let statement = Statement::from_string(db.get_database_backend(), query.to_owned());
        let rows = db.query_all_raw(statement).await.unwrap();
        let value = |row: &sea_orm::QueryResult, column: &str| {
            let number = row.try_get::<i32>("", column).map(i64::from);
            match number.or_else(|_| row.try_get::<i64>("", column)) {
                Ok(number) => serde_json::Value::from(number),
                Err(_) => row.try_get::<String>("", column).unwrap().into(),
            }
        };
        let object = |row: &sea_orm::QueryResult| {
            let fields = columns
                .iter()
                .map(|column| ((*column).to_owned(), value(row, column)));
            serde_json::Value::Object(fields.collect())
        };
        serde_json::Value::Array(rows.iter().map(object).collect())
    };
    let content_types = "SELECT id, app_label, model FROM django_content_type ORDER BY id";
    let permissions = "SELECT p.id, p.name, p.content_type_id, p.codename, c.app_label, c.model FROM auth_permission p \
                       JOIN django_content_type c ON c.id = p.content_type_id ORDER BY p.id";
    let migrations = "SELECT row_number() OVER (ORDER BY id) AS id, app, name FROM django_migrations WHERE app <> 'polls' ORDER BY id";
    let all = serde_json::json!({
        "django_content_type": list(content_types, &["id", "app_label", "model"]).await,
        "auth_permission":
            list(permissions, &["id", "name", "content_type_id", "codename", "app_label", "model"]).await,
        "django_migrations": list(migrations, &["id", "app", "name"]).await,
    });
    db.close().await;
    all
}

/// The rows that were captured from a version of Django.
fn captured_rows(backend: Backend, version: &str) -> serde_json::Value {
    serde_json::from_str(&captured(&format!(
        "rows/{}-{version}.json",
        backend.name()
    )))
    .unwrap()
}

/// Fills a database with captured rows.
async fn insert_rows(database: &TestDatabase, rows: &serde_json::Value) {
    let db = database.connect().await;
    let tx = db.begin().await.unwrap();
    for (table, columns) in [
        ("django_content_type", &["id", "app_label", "model"][..]),
        (
            "auth_permission",
            &["id", "name", "content_type_id", "codename"],
        ),
        ("django_migrations", &["id", "app", "name", "applied"]),
    ] {
        for row in rows[table].as_array().unwrap() {
            let literal = |column: &&str| match &row[*column] {
                serde_json::Value::String(text) => format!("'{}'", text.replace('\'', "''")),
                // The file leaves times out.
                serde_json::Value::Null => "'2017-04-04 12:00:00'".to_owned(),
                other => other.to_string(),
            };
            let values: Vec<_> = columns.iter().map(literal).collect();
            let sql = format!(
                "INSERT INTO {table} ({}) VALUES ({})",
                columns.join(", "),
                values.join(", ")
            );
            tx.execute_unprepared(&sql).await.unwrap();
        }
        if database.backend == Backend::Postgres {
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            );
            tx.execute_unprepared(&sql).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
    db.close().await;
}

async fn assert_brought_forward(backend: Backend, version: &str) {
    let database = django_schema(backend, version).await;
    insert_rows(&database, &captured_rows(backend, version)).await;
    let site = Site::on(database);
    site.run(["migrate"]).success();
    let upgraded = format!("{version}-upgraded-to-5.2.19");
    let expected = django_schema(backend, &upgraded).await;
    // Old versions did not quote every name in what SQLite keeps.
    let plain = |lines: Vec<String>| {
        lines
            .iter()
            .map(|line| line.replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        plain(introspect(&site.database).await),
        plain(introspect(&expected).await),
        "{version}"
    );
    let (ours, expected) = (
        rows(&site.database).await,
        captured_rows(backend, &upgraded),
    );
    for table in ["django_content_type", "auth_permission"] {
        assert_eq!(ours[table], expected[table], "{version}");
    }
    let names = |rows: &serde_json::Value| -> Vec<String> {
        let rows = rows["django_migrations"].as_array().unwrap();
        rows.iter()
            .map(|row| format!("{}.{}", row["app"], row["name"]))
            .collect()
    };
    assert_eq!(names(&ours), names(&expected), "{version}");
}

on_both_databases! {
    async fn migrate_creates_django_s_schema(site: Site) {
        site.run(["migrate"]).success();
        let ours = introspect(&site.database).await;
        let expected = introspect(&django_schema(site.database.backend, "5.2.19").await).await;
        assert!(expected.len() > 20, "{expected:?}");
        assert_eq!(ours, expected);
    }

    async fn migrate_creates_django_s_rows(site: Site) {
        site.run(["migrate"]).success();
        let mut expected = captured_rows(site.database.backend, "5.2.19");
        for row in expected["django_migrations"].as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("applied");
        }
        let ours = rows(&site.database).await;
        for table in ["django_content_type", "auth_permission", "django_migrations"] {
            assert!(ours[table].as_array().unwrap().len() > 5);
            assert_eq!(ours[table], expected[table]);
        }
    }

    async fn unapplying_all_migrations_leaves_only_the_history_table(site: Site) {
        site.run(["migrate"]).success();
        for app in ["polls", "sessions", "polls_app", "admin", "auth", "contenttypes"] {
            site.run(["migrate", app, "zero"]).success();
        }
        let left = introspect(&site.database).await;
        assert!(left.iter().all(|line| line.contains("django_migrations")), "{left:?}");
        // And all of it can be had again.
        site.run(["migrate"]).success();
        assert_eq!(introspect(&site.database).await, introspect(&django_schema(site.database.backend, "5.2.19").await).await);
    }

    async fn each_migration_can_be_unapplied_and_applied_again(site: Site) {
        site.run(["migrate"]).success();
        let before = introspect(&site.database).await;
        for (app, name) in [("auth", "0001"), ("contenttypes", "0001"), ("admin", "0001")] {
            site.run(["migrate", app, name]).success();
            site.run(["migrate"]).success();
            assert_eq!(introspect(&site.database).await, before, "{app} {name}");
        }
    }

    async fn databases_of_older_django_versions_are_migrated(site: Site) {
        for version in ["1.11.29", "2.2.28", "3.2.25"] {
            assert_brought_forward(site.database.backend, version).await;
        }
    }
}
