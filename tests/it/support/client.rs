//! An HTTP client like a browser: it keeps cookies, and posts forms with the page's CSRF token.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use poem::{
    Addr, Endpoint, Request, RequestParts, Response,
    endpoint::BoxEndpoint,
    http::{HeaderMap, Method, StatusCode, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};

pub struct Client {
    router: Arc<BoxEndpoint<'static, Response>>,
    /// The values, by name and path.
    cookies: Mutex<BTreeMap<(String, String), String>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Client {
    pub fn new(router: Arc<BoxEndpoint<'static, Response>>) -> Self {
        Self {
            router,
            cookies: Mutex::default(),
        }
    }

    pub async fn get(&self, path: impl AsRef<str>) -> Reply {
        self.request(Method::GET, path.as_ref(), &[], "").await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.request(Method::GET, path, headers, "").await
    }

    /// Posts fields as a form, with nothing added.
    pub async fn post(
        &self,
        path: impl AsRef<str>,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Reply {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.request(Method::POST, path.as_ref(), &all, &body).await
    }

    /// Submits the form of a page: to its address, with its token.
    pub async fn submit(&self, page: &Reply, fields: &[(&str, &str)]) -> Reply {
        let token = page.csrf_token();
        let mut all = vec![("csrfmiddlewaretoken", token.as_str())];
        all.extend_from_slice(fields);
        self.post(page.between("<form action=\"", "\""), &all, &[])
            .await
    }

    /// Goes to the page of an address, and takes the form that has this text in its first tag.
    pub async fn form(&self, path: impl AsRef<str>, mark: &str) -> super::Form {
        let page = self.get(path.as_ref()).await;
        page.assert_status(200);
        super::Form::find(&page, mark, path.as_ref())
    }

    /// Logs in to the admin.
    pub async fn log_in(&self, username: &str, password: &str) -> Reply {
        let form = self.form("/admin/login/", "login-form").await;
        form.set("username", username)
            .set("password", password)
            .submit(self)
            .await
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.cookies.lock().unwrap();
        let found = cookies.iter().find(|((known, _), _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.set_cookie_at(name, "/", value);
    }

    fn set_cookie_at(&self, name: &str, path: &str, value: &str) {
        let key = (name.to_owned(), path.to_owned());
        self.cookies.lock().unwrap().insert(key, value.to_owned());
    }

    pub fn delete_cookie(&self, name: &str) {
        let mut cookies = self.cookies.lock().unwrap();
        cookies.retain(|(known, _), _| known != name);
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = poem::http::Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, "testserver");
        }
        let cookies = self
            .cookies
            .lock()
            .unwrap()
            .iter()
            .filter(|((_, cookie_path), _)| path.starts_with(cookie_path))
            .map(|((name, _), value)| format!("{name}={value}"))
            .collect::<Vec<_>>();
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let visitor = Addr::SocketAddr("127.0.0.1:40000".parse().unwrap());
        let parts = RequestParts::from((
            parts,
            LocalAddr::default(),
            RemoteAddr(visitor),
            Scheme::HTTP,
        ));
        let request = Request::from_parts(parts, body.to_owned().into());
        let response = self.router.get_response(request).await;
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let mut parts = cookie.split("; ").map(|part| part.split_once('='));
            let (name, value) = parts.next().unwrap().unwrap();
            let path = parts.flatten().find(|(name, _)| *name == "Path").unwrap().1;
            if cookie.contains("Max-Age=0;") {
                let key = (name.to_owned(), path.to_owned());
                self.cookies.lock().unwrap().remove(&key);
            } else {
                self.set_cookie_at(name, path, value);
            }
        }
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            bytes: body.into_vec().await.unwrap(),
        }
    }
}

impl Reply {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
        self
    }

    #[track_caller]
    pub fn assert_redirect(&self, status: u16, location: &str) {
        self.assert_status(status);
        assert_eq!(self.header("location"), Some(location));
    }

    #[track_caller]
    pub fn assert_contains(&self, text: &str) -> &Self {
        assert!(
            self.text().contains(text),
            "{text:?} is not in:\n{}",
            self.text()
        );
        self
    }

    #[track_caller]
    pub fn assert_lacks(&self, text: &str) -> &Self {
        assert!(
            !self.text().contains(text),
            "{text:?} is in:\n{}",
            self.text()
        );
        self
    }

    #[track_caller]
    pub fn csrf_token(&self) -> String {
        self.between("name=\"csrfmiddlewaretoken\" value=\"", "\"")
            .to_owned()
    }

    /// The first text between two others.
    #[track_caller]
    pub fn between(&self, before: &str, after: &str) -> &str {
        let rest = self
            .text()
            .split_once(before)
            .unwrap_or_else(|| panic!("no {before:?} in:\n{}", self.text()))
            .1;
        rest.split_once(after).unwrap().0
    }
}
