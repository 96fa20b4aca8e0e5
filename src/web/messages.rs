//! Messages for the next page that a client opens, kept as Django keeps them (`django/contrib/messages/storage`): in a
//! signed cookie, and in the session when it is too much for that.

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

/// The first element of a message.
const MARK: &str = "__json_message";
/// The last element of a cookie whose messages go on in the session.
const NOT_FINISHED: &str = "__messagesnotfinished__";
const IN_SESSION: &str = "_messages";
/// In bytes.
const MAX_COOKIE: usize = 2048;

/// The most messages that are kept.
const MAX_MESSAGES: usize = 50;

/// The level of a message: Django's constants (`django/contrib/messages/constants.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It was done.
    Success = 25,
    /// It was not done.
    Warning = 30,
}

/// The messages of one request.
#[derive(Debug)]
pub struct Messages(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cookie: Option<String>,
    /// The stored ones have been shown.
    are_shown: bool,
    added: Vec<Value>,
}

impl Messages {
    /// The cookie's name.
    pub const COOKIE: &'static str = "messages";

    /// Those that a cookie holds, and perhaps the session.
    pub fn new(cookie: Option<&str>) -> Self {
        Self(Mutex::new(State {
            cookie: cookie.map(str::to_owned),
            ..State::default()
        }))
    }

    /// Tells something in plain text.
    pub fn add(&self, level: Level, text: &str) {
        self.state().added.push(json!([MARK, 0, level as u8, text]));
    }

    /// Tells something in HTML, in which everything that is not ours has been escaped.
    pub fn add_html(&self, level: Level, html: &str) {
        self.state().added.push(json!([MARK, 1, level as u8, html]));
    }

    /// What is to be shown, as a page shows it; it is not shown again.
    pub fn take(&self, core: &Core, session: &Session) -> TemplateValue {
        let mut messages = self.stored(core, session);
        let mut state = self.state();
        messages.append(&mut state.added);
        state.are_shown = true;
        messages.iter().filter_map(shown).collect()
    }

    /// Keeps what has not been shown for the next page.
    pub fn store(&self, core: &Core, session: &Session, jar: Jar, response: &mut Response) {
        let (has_cookie, are_shown, added) = {
            let state = self.state();
            (state.cookie.is_some(), state.are_shown, state.added.clone())
        };
        if added.is_empty() && !are_shown {
            return;
        }
        let mut kept = if are_shown {
            Vec::new()
        } else {
            self.stored(core, session)
        };
        kept.extend(added);
        // A client that never opens a page gets the newest.
        kept.drain(..kept.len().saturating_sub(MAX_MESSAGES));
        let settings = CookieSettings {
            name: Self::COOKIE.to_owned(),
            path: "/".to_owned(),
            ..core.settings.security.session_cookie.clone()
        };
        let mut rest = Vec::new();
        let cookie = loop {
            let mut list = kept.clone();
            if !rest.is_empty() {
                list.push(NOT_FINISHED.into());
            }
            let keys = &core.settings.security.keys;
            let cookie = keys.dumps(&Value::Array(list), Purpose::Messages, core.now());
            if cookie.len() <= MAX_COOKIE || kept.is_empty() {
                break cookie;
            }
            rest.insert(0, kept.pop().expect("it is not empty"));
        };
        if rest.is_empty() {
            session.remove(IN_SESSION);
        } else {
            session.set(
                IN_SESSION,
                ascii_json(&Value::Array(rest.clone()), ", ", ": ").into(),
            );
        }
        if !kept.is_empty() || !rest.is_empty() {
            jar.set(response, &settings, &cookie, None);
        } else if has_cookie {
            jar.delete(response, &settings);
        }
    }

    /// What earlier requests have left; what is not signed with our keys does not count.
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
            if let Some(Value::String(rest)) = session.get(IN_SESSION)
                && let Ok(rest) = serde_json::from_str::<Vec<Value>>(&rest)
            {
                list.extend(rest);
            }
        }
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }
}

/// A message for a template; `None` for what is none.
fn shown(message: &Value) -> Option<TemplateValue> {
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
