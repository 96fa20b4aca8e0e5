//! One-time messages for the next page of a client, in Django's `FallbackStorage` (`django/contrib/messages/storage`): in a
//! signed cookie, and in the session what does not fit into the cookie.

use std::sync::{Mutex, MutexGuard};

use minijinja::Value as TemplateValue;
use poem::Response;
use serde_json::{Value, json};

use super::cookies::Jar;
use crate::{
    core::Core,
    sessions::Session,
    settings::CookieSettings,
    signing::{Purpose, ascii_json},
};

/// The first element of a message (Django's `MessageEncoder.message_key`).
const MESSAGE_KEY: &str = "__json_message";
/// The last element of a cookie whose messages continue in the session.
const NOT_FINISHED: &str = "__messagesnotfinished__";
const SESSION_KEY: &str = "_messages";
/// The maximum length of the cookie's value, in bytes.
const MAX_COOKIE_SIZE: usize = 2048;

/// The maximum number of stored messages.
const MAX_MESSAGES: usize = 50;

/// The level of a message: Django's constants (`django/contrib/messages/constants.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// An action succeeded.
    Success = 25,
    /// An action was not performed.
    Warning = 30,
}

/// The messages of one request.
#[derive(Debug)]
pub struct Messages(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cookie: Option<String>,
    /// Whether the stored messages have been rendered (Django's `BaseStorage.used`).
    used: bool,
    added: Vec<Value>,
}

impl Messages {
    /// The cookie's name.
    pub const COOKIE: &'static str = "messages";

    /// The messages in the given cookie and in the session, which is read when they are needed.
    pub fn new(cookie: Option<&str>) -> Self {
        Self(Mutex::new(State {
            cookie: cookie.map(str::to_owned),
            ..State::default()
        }))
    }

    /// Adds a message in plain text.
    pub fn add(&self, level: Level, text: &str) {
        self.state()
            .added
            .push(json!([MESSAGE_KEY, 0, level as u8, text]));
    }

    /// Adds a message in HTML; the caller has escaped all untrusted text in it.
    pub fn add_html(&self, level: Level, html: &str) {
        self.state()
            .added
            .push(json!([MESSAGE_KEY, 1, level as u8, html]));
    }

    /// The messages to render, as a template value; [`Self::store`] discards them.
    pub fn take(&self, core: &Core, session: &Session) -> TemplateValue {
        let mut messages = self.stored(core, session);
        let mut state = self.state();
        messages.append(&mut state.added);
        state.used = true;
        messages.iter().filter_map(template_value).collect()
    }

    /// Stores the messages that have not been rendered, in the response's cookie and in the session.
    pub fn store(&self, core: &Core, session: &Session, jar: Jar, response: &mut Response) {
        let (has_cookie, used, added) = {
            let state = self.state();
            (state.cookie.is_some(), state.used, state.added.clone())
        };
        if added.is_empty() && !used {
            return;
        }
        let mut unstored = if used {
            Vec::new()
        } else {
            self.stored(core, session)
        };
        unstored.extend(added);
        // A client may never open a page that renders messages: the oldest are discarded.
        unstored.drain(..unstored.len().saturating_sub(MAX_MESSAGES));
        let settings = CookieSettings {
            name: Self::COOKIE.to_owned(),
            path: "/".to_owned(),
            ..core.settings.security.session_cookie.clone()
        };
        let mut in_session = Vec::new();
        let cookie = loop {
            let mut list = unstored.clone();
            if !in_session.is_empty() {
                list.push(NOT_FINISHED.into());
            }
            let keys = &core.settings.security.keys;
            let cookie = keys.dumps(&Value::Array(list), Purpose::Messages, core.now());
            if cookie.len() <= MAX_COOKIE_SIZE || unstored.is_empty() {
                break cookie;
            }
            in_session.insert(0, unstored.pop().expect("it is not empty"));
        };
        if in_session.is_empty() {
            session.remove(SESSION_KEY);
        } else {
            session.set(
                SESSION_KEY,
                ascii_json(&Value::Array(in_session.clone()), ", ", ": ").into(),
            );
        }
        if !unstored.is_empty() || !in_session.is_empty() {
            jar.set(response, &settings, &cookie, None);
        } else if has_cookie {
            jar.delete(response, &settings);
        }
    }

    /// The messages that earlier requests stored; none when the cookie's signature is invalid.
    fn stored(&self, core: &Core, session: &Session) -> Vec<Value> {
        let Some(cookie) = self.state().cookie.clone() else {
            return Vec::new();
        };
        let keys = &core.settings.security.keys;
        let Some(Value::Array(mut list)) = keys.loads(&cookie, Purpose::Messages) else {
            return Vec::new();
        };
        if list.last().is_some_and(|last| last == NOT_FINISHED) {
            list.pop();
            if let Some(Value::String(rest)) = session.get(SESSION_KEY)
                && let Ok(rest) = serde_json::from_str::<Vec<Value>>(&rest)
            {
                list.extend(rest);
            }
        }
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no code panics while it holds the lock")
    }
}

/// A message as a template value; `None` when it is malformed.
fn template_value(message: &Value) -> Option<TemplateValue> {
    let text = message.get(3)?.as_str()?;
    let is_html = message.get(1)? == 1 || message.get(1)? == true;
    let level = match message.get(2)?.as_u64()? {
        0..20 => "debug",
        20..25 => "info",
        25..30 => "success",
        30..40 => "warning",
        _ => "error",
    };
    let text = if is_html {
        TemplateValue::from_safe_string(text.to_owned())
    } else {
        text.into()
    };
    Some(minijinja::context! { level, text })
}
