//! The whole site in this process, on a database that `scripts/fuzz` has made, as a superuser sees it. Whatever is sent,
//! the answer is not an error of ours.

use std::sync::OnceLock;

use chrono::Utc;
use poem::{
    Addr, Endpoint, EndpointExt, Request, RequestParts, Response,
    endpoint::BoxEndpoint,
    http::{Method, Uri, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use polls::{
    settings::Settings,
    site::{Site as Polls, admin_site},
};
use tokio::runtime::Runtime;

const SECRET: &str = "ssssssssssssssssssssssssssssssss";
const LIST: &str = "/admin/polls_app/question/";

struct Site {
    runtime: Runtime,
    router: BoxEndpoint<'static, Response>,
    /// The superuser's.
    cookie: String,
}

impl Site {
    fn get() -> &'static Self {
        static SITE: OnceLock<Site> = OnceLock::new();
        SITE.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let settings = Settings::from_env().expect("scripts/fuzz has set the variables");
            let polls = runtime
                .block_on(Polls::build(settings, admin_site(), Utc::now))
                .unwrap();
            let mut site = Self {
                router: polls.router().boxed(),
                runtime,
                cookie: format!("csrftoken={SECRET}"),
            };
            let password = std::env::var("DJANGO_SUPERUSER_PASSWORD").unwrap();
            let form = format!("username=admin&password={password}");
            let answer = site.ask(Method::POST, "/admin/login/", &form).unwrap();
            let cookies = answer.headers().get_all(header::SET_COOKIE).iter();
            let mut cookies = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
            let session = cookies
                .find(|cookie| cookie.starts_with("sessionid="))
                .expect("a session");
            site.cookie = format!("{}; {session}", site.cookie);
            site
        })
    }

    /// `None` when the address is none.
    fn ask(&self, method: Method, target: &str, form: &str) -> Option<Response> {
        let uri: Uri = target.parse().ok()?;
        let request = poem::http::Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "testserver")
            .header(header::COOKIE, &self.cookie)
            .header("x-csrftoken", SECRET)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (parts, ()) = request.body(()).ok()?.into_parts();
        let visitor = RemoteAddr(Addr::SocketAddr(([127, 0, 0, 1], 1).into()));
        let parts = RequestParts::from((parts, LocalAddr::default(), visitor, Scheme::HTTP));
        let request = Request::from_parts(parts, form.to_owned().into());
        let response = self.runtime.block_on(self.router.get_response(request));
        assert!(
            !response.status().is_server_error(),
            "{target} {form}: {}",
            response.status()
        );
        Some(response)
    }
}

/// Bytes as a part of a query or of a form, with what is special in one written as such.
fn encoded(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.&=;,".contains(byte);
    bytes
        .iter()
        .map(|byte| {
            if plain(byte) {
                char::from(*byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The list with any query: filters, search, order, dates, pages.
pub fn filters(bytes: &[u8]) {
    Site::get().ask(Method::GET, &format!("{LIST}?{}", encoded(bytes)), "");
}

/// The form of a question with any date and time; no text, and so nothing is stored.
pub fn dates(bytes: &[u8]) {
    let (date, time) = bytes.split_at(bytes.len() / 2);
    let (date, time) = (
        encoded(date).replace('&', "%26"),
        encoded(time).replace('&', "%26"),
    );
    let form = format!(
        "question_text=&pub_date_0={date}&pub_date_1={time}&choice_set-TOTAL_FORMS=0&choice_set-INITIAL_FORMS=0"
    );
    Site::get().ask(Method::POST, &format!("{LIST}add/"), &form);
}

/// Any target, and any form sent to a page of the polls.
pub fn requests(bytes: &[u8]) {
    if let Ok(target) = std::str::from_utf8(bytes) {
        Site::get().ask(Method::GET, &format!("/{target}"), "");
    }
    Site::get().ask(Method::POST, "/polls/1/vote/", &encoded(bytes));
}
