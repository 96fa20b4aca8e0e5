//! What `scripts/bench` measures against: a poem server that sends one fixed page from memory.
//! Arguments: port, and the page's size in bytes (0 means an empty redirect, as after a vote).

use poem::{EndpointExt, http::header};
use poem::{
    IntoResponse, Response, Route, Server, handler, http::StatusCode, listener::TcpListener,
    web::Data,
};

#[handler]
fn page(Data(page): Data<&&'static str>) -> Response {
    if page.is_empty() {
        return StatusCode::FOUND
            .with_header(header::LOCATION, "/")
            .into_response();
    }
    (*page)
        .with_content_type("text/html; charset=utf-8")
        .into_response()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let size: usize = arguments
        .next()
        .and_then(|size| size.parse().ok())
        .expect("a size");
    let text: &'static str = "x".repeat(size).leak();
    let any = poem::get(page).post(page);
    let site = Route::new().at("*path", any).data(text);
    Server::new(TcpListener::bind(("127.0.0.1", port)))
        .run(site)
        .await
}
