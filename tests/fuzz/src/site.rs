//! The whole site in this process, on a database that `scripts/fuzz` has created. The client is logged in as a superuser. No
//! request may get a 5xx response.

use std::sync::OnceLock;

use chrono::Utc;
use poem::{
    Addr, Endpoint, EndpointExt, Request, RequestParts, Response,
    endpoint::BoxEndpoint,
    http::{Method, Uri, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use polls::{
    settings::{Environment, Settings},
    site::{Site as Polls, admin_site},
};
use tokio::runtime::Runtime;

use crate::inputs::Input;

const SECRET: &str = "ssssssssssssssssssssssssssssssss";

struct Site {
    runtime: Runtime,
    router: BoxEndpoint<'static, Response>,
    /// The `Cookie` header of the superuser's requests.
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
            let settings = Settings::read(&Environment::load(None).unwrap())
                .expect("scripts/fuzz has set the variables");
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
            let response = site.request(Method::POST, "/admin/login/", &form).unwrap();
            let cookies = response.headers().get_all(header::SET_COOKIE).iter();
            let mut cookies = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
            let session = cookies
                .find(|cookie| cookie.starts_with("sessionid="))
                .expect("a session");
            site.cookie = format!("{}; {session}", site.cookie);
            site
        })
    }

    /// Sends a request. `None` when the target is not a valid URI.
    fn request(&self, method: Method, target: &str, form: &str) -> Option<Response> {
        let uri: Uri = target.parse().ok()?;
        let request = poem::http::Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "testserver")
            .header(header::COOKIE, &self.cookie)
            .header("x-csrftoken", SECRET)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let (parts, ()) = request.body(()).ok()?.into_parts();
        let client = RemoteAddr(Addr::SocketAddr(([127, 0, 0, 1], 1).into()));
        let parts = RequestParts::from((parts, LocalAddr::default(), client, Scheme::HTTP));
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

/// Sends the requests of an input.
pub fn send(inputs: Vec<Input>) {
    for (method, target, form) in inputs {
        Site::get().request(method, &target, &form);
    }
}
