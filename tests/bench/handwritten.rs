//! What `scripts/bench` measures against: a small server as one would write it by hand, with one `UPDATE` per vote on a pool.
//! Arguments: port, and the address of the database.

use poem::{
    EndpointExt, IntoResponse, Response, Route, Server, get, handler,
    http::{StatusCode, header},
    listener::TcpListener,
    post,
    web::{Data, Path},
};
use sqlx::{
    Pool, Postgres, Sqlite,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// Connections to PostgreSQL, as many as `polls` has on two cores.
const CONNECTIONS: u32 = 8;
const UPDATE: &str =
    "UPDATE polls_app_choice SET votes = votes + 1 WHERE id = $1 AND question_id = $2";

#[derive(Clone)]
enum Database {
    Postgres(Pool<Postgres>),
    Sqlite(Pool<Sqlite>),
}

impl Database {
    async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        if url.starts_with("postgres") {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
            return Ok(Self::Postgres(pool.connect(url).await?));
        }
        let options: SqliteConnectOptions = url.parse()?;
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        // SQLite has one writer: more connections would only wait for each other.
        let pool = SqlitePoolOptions::new().max_connections(1);
        Ok(Self::Sqlite(pool.connect_with(options).await?))
    }

    async fn vote(&self, question: i32, choice: i32) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Postgres(pool) => sqlx::query(UPDATE)
                .bind(choice)
                .bind(question)
                .execute(pool)
                .await?
                .rows_affected(),
            Self::Sqlite(pool) => sqlx::query(UPDATE)
                .bind(choice)
                .bind(question)
                .execute(pool)
                .await?
                .rows_affected(),
        })
    }
}

#[handler]
async fn vote(Path(question): Path<i32>, Data(db): Data<&Database>, body: String) -> Response {
    let mut fields = form_urlencoded::parse(body.as_bytes());
    let choice = fields.find_map(|(name, value)| (name == "choice").then(|| value.parse().ok())?);
    match choice {
        Some(choice) => match db.vote(question, choice).await {
            Ok(1) => StatusCode::FOUND
                .with_header(header::LOCATION, format!("/polls/{question}/results/"))
                .into_response(),
            Ok(_) => StatusCode::NOT_FOUND.into_response(),
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[handler]
fn livez() -> &'static str {
    "ok\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("a port")?.parse()?;
    let db = Database::connect(&arguments.next().ok_or("a database")?).await?;
    let site = Route::new()
        .at("/livez", get(livez))
        .at("/polls/:question/vote/", post(vote))
        .data(db);
    Ok(Server::new(TcpListener::bind(("127.0.0.1", port)))
        .run(site)
        .await?)
}
