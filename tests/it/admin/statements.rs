//! How many statements a page costs, counted in the server's log: the number does not grow with the objects.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{TimeDelta, Utc};
use polls::{
    db::Database,
    entities::{question, user},
};
use sea_orm::{ActiveValue::Set, EntityTrait};

use super::LIST;
use crate::support::{
    Site,
    http::{SECRET, get, log_in, send, status},
    site::Server,
};

/// Statements of the server's own, such as checks of its connections, that may fall into a count.
const OTHERS: usize = 10;
const USERS: &str = "/admin/auth/user/";

/// A server whose log has every statement, and its database.
async fn serve(site: Site) -> (Site, Server, Database) {
    let site = site.with("RUST_LOG", "sqlx::query=debug,access=info");
    site.run(["migrate"]).success();
    let site = site.with_superuser();
    let server = site.serve();
    let db = site.database.connect().await;
    (site, server, db)
}

/// Sends a request with a body, if there is one; gives the answer and how many statements it took.
fn statements(
    server: &mut Server,
    session: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (String, usize) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: csrftoken={SECRET}; sessionid={session}\r\n\
         Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let start = read_log(server).len();
    let answer = send(&server.address, request.as_bytes());
    let log = &read_log(server)[start..];
    (answer, log.matches("sqlx::query: ").count())
}

/// The log so far.
fn read_log(server: &mut Server) -> &str {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let last = format!("/last-{}/", NUMBER.fetch_add(1, Ordering::Relaxed));
    get(&server.address, &last, "");
    server.read_log_until(&last)
}

fn session(server: &Server) -> String {
    let answer = log_in(&server.address);
    let cookie = answer.split("sessionid=").nth(1);
    let cookie = cookie.unwrap_or_else(|| panic!("{answer}"));
    cookie.split(';').next().unwrap().to_owned()
}

async fn add_users(db: &Database, from: usize, count: usize) -> Vec<i32> {
    let tx = db.begin().await.unwrap();
    let mut keys = Vec::new();
    for number in from..from + count {
        let row = user::ActiveModel {
            username: Set(format!("user{number}")),
            password: Set("!".to_owned()),
            first_name: Set(String::new()),
            last_name: Set(String::new()),
            email: Set(String::new()),
            is_active: Set(true),
            is_staff: Set(false),
            is_superuser: Set(false),
            date_joined: Set(Utc::now()),
            ..Default::default()
        };
        let added = user::Entity::insert(row).exec(&tx).await.unwrap();
        keys.push(added.last_insert_id);
    }
    tx.commit().await.unwrap();
    keys
}

on_both_databases! {
    async fn deleting_many_users_takes_as_many_statements_as_deleting_few(site: Site) {
        let (site, mut server, db) = serve(site).await;
        site.execute("UPDATE auth_user SET is_superuser = false").await;
        site.execute(
            "INSERT INTO auth_user_user_permissions (user_id, permission_id) \
             SELECT auth_user.id, auth_permission.id FROM auth_user, auth_permission WHERE codename LIKE '%_user'",
        ).await;
        let session = session(&server);
        let mut counts = Vec::new();
        for (from, count) in [(0, 3), (3, 40)] {
            let keys = add_users(&db, from, count).await;
            let chosen: String = keys.iter().map(|key| format!("&_selected_action={key}")).collect();
            for (more, expected) in [("", 200), ("&post=yes", 302)] {
                let body = format!("csrfmiddlewaretoken={SECRET}&action=delete_selected{more}{chosen}");
                let (answer, statements) = statements(&mut server, &session, "POST", USERS, &body);
                assert_eq!(status(&answer), expected, "{answer}");
                counts.push(statements);
            }
        }
        assert!(counts[0] > 3 && counts[1] > 3, "{counts:?}");
        assert!(counts[2] < counts[0] + OTHERS && counts[3] < counts[1] + OTHERS, "{counts:?}");
        // One of more rights than one's own among them, and nothing goes.
        let keys = add_users(&db, 43, 5).await;
        site.execute(&format!("UPDATE auth_user SET is_superuser = true WHERE id = {}", keys[4])).await;
        let chosen: String = keys.iter().map(|key| format!("&_selected_action={key}")).collect();
        let body = format!("csrfmiddlewaretoken={SECRET}&action=delete_selected&post=yes{chosen}");
        assert_eq!(status(&statements(&mut server, &session, "POST", USERS, &body).0), 403);
        assert!(user::Entity::find_by_id(keys[0]).one(&db).await.unwrap().is_some());
    }

    async fn the_date_hierarchy_of_fifty_years_takes_as_many_statements_as_of_one(site: Site) {
        let (_site, mut server, db) = serve(site).await;
        let session = session(&server);
        let add = async |years: std::ops::Range<i32>| {
            let tx = db.begin().await.unwrap();
            for year in years {
                let row = question::ActiveModel {
                    question_text: Set(format!("{year}?")),
                    pub_date: Set((Utc::now() - TimeDelta::days(i64::from(year) * 366)).into()),
                    ..Default::default()
                };
                question::Entity::insert(row).exec(&tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        };
        add(0..1).await;
        statements(&mut server, &session, "GET", LIST, "");
        let (_, one) = statements(&mut server, &session, "GET", LIST, "");
        add(1..50).await;
        let (page, fifty) = statements(&mut server, &session, "GET", LIST, "");
        assert_eq!(page.matches("?pub_date__year=").count(), 50, "{page}");
        assert!(fifty < one + OTHERS, "{fifty} statements for fifty years, {one} for one");
    }
}
