//! What a response depends on besides the page.

use poem::{
    Request,
    http::header,
    web::headers::{HeaderMapExt, IfNoneMatch},
};

use crate::{
    core::Core,
    polls_app::voter_cookies,
    web::{cookies::Jar, csrf::Token, statics::accepts},
};

/// What a response depends on besides the page.
#[derive(Debug, Clone)]
pub struct Client {
    /// What it has sent about the encoding and the version of the page that it has.
    pub headers: ClientHeaders,
    /// Its CSRF token.
    pub token: Token,
    /// For its cookies.
    pub jar: Jar,
    /// Whether it may get another page than others ([`super::VariesByVoter`]).
    pub is_identified: bool,
    /// The cookie that identifies its browser, not verified.
    pub browser: Option<String>,
    /// The question whose notice of a vote the page shows.
    pub notice_of: Option<i32>,
}

/// What the client has sent that its response depends on.
#[derive(Debug, Clone, Default)]
pub struct ClientHeaders {
    /// Whether it accepts gzip.
    pub accepts_gzip: bool,
    /// Its `If-None-Match`.
    pub known: Option<IfNoneMatch>,
}

impl Client {
    /// The client of a request; `notice_of` is the question whose notice it has.
    pub fn new(core: &Core, request: &Request, jar: Jar, notice_of: Option<i32>) -> Self {
        let security = &core.settings.security;
        Self {
            headers: ClientHeaders {
                accepts_gzip: request
                    .header(header::ACCEPT_ENCODING)
                    .is_some_and(|accepted| accepts(accepted, "gzip")),
                known: request.headers().typed_get(),
            },
            token: Token::new(request, jar, &security.csrf_cookie),
            jar,
            is_identified: voter_cookies::is_identified(core, request),
            browser: voter_cookies::browser_cookie(request).map(str::to_owned),
            notice_of,
        }
    }
}
