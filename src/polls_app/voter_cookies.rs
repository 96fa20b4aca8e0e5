//! The cookies of voters. All are signed.
//!
//! | cookie | path | holds |
//! |---|---|---|
//! | `polls_voter` | `/` | a random number that identifies the browser |
//! | `polls_voted` | `/polls/ID/` | the voter's hash, after a ballot: with it, pages are not served from memory |
//! | `polls_vote` | `/polls/ID/results/` | the choices of the vote that has just been counted, and the time, for one page |
//!
//! A page in a frame of another site has cookies of its own, whose names end with `_embed`, with the path `/polls/ID/`. They are
//! partitioned (CHIPS, <https://developer.mozilla.org/docs/Web/Privacy/Guides/Privacy_sandbox/Partitioned_cookies>): the same browser
//! is another one in the frames of each site.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use poem::{Request, Response};
use subtle::ConstantTimeEq;

use super::{urls, votes::VoterKey};
use crate::{
    core::Core,
    settings::{CookieSettings, SameSite},
    signing::{Keys, hex},
    web::cookies::{self, Jar},
};

/// The names of the cookies on pages of this site, and in frames.
const BROWSER_COOKIE: [&str; 2] = ["polls_voter", "polls_voter_embed"];
const VOTED_COOKIE: [&str; 2] = ["polls_voted", "polls_voted_embed"];
const NOTICE_COOKIE: [&str; 2] = ["polls_vote", "polls_vote_embed"];
const BROWSER_SALT: &str = "polls.voters.browser";
const VOTED_SALT: &str = "polls.voters.voted";
/// How long a browser is known, in seconds: 400 days, the longest time that browsers keep a cookie (RFC 6265bis, 5.5).
const BROWSER_AGE: i64 = 400 * 86_400;

/// How long a notice of a vote is valid, in seconds: its page shows results that others may not see yet.
const NOTICE_AGE: i64 = 120;

/// Where the page of a question is shown, which has cookies for each place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Placement {
    /// As a page of this site.
    #[default]
    Page,
    /// In a frame of another site.
    Frame,
}

impl Placement {
    /// The placement of a request's page, by its URL.
    pub fn of(request: &Request) -> Self {
        let url = request.original_uri();
        let is_page = url.path().ends_with(urls::EMBED_END);
        let is_events =
            url.path().ends_with(urls::EVENTS_END) && url.query() == Some(urls::IN_FRAME);
        match is_page || is_events {
            true => Self::Frame,
            false => Self::Page,
        }
    }

    /// The URL of a question's results here.
    pub fn url_results(self, question_id: i32) -> String {
        match self {
            Self::Page => urls::results(question_id),
            Self::Frame => urls::embedded_results(question_id),
        }
    }

    /// The name of a cookie here.
    fn name(self, [of_page, of_frame]: [&'static str; 2]) -> &'static str {
        match self {
            Self::Page => of_page,
            Self::Frame => of_frame,
        }
    }
}

/// The cookies of a response to a voter.
#[derive(Debug, Clone, Copy)]
pub struct VoterCookies<'a> {
    keys: &'a Keys,
    jar: Jar,
    placement: Placement,
    question_id: i32,
}

impl<'a> VoterCookies<'a> {
    /// The cookies of a page of this site.
    pub fn of_page(keys: &'a Keys, jar: Jar, question_id: i32) -> Self {
        Self {
            keys,
            jar,
            placement: Placement::Page,
            question_id,
        }
    }

    /// The cookies of the response to a request.
    pub fn of(core: &'a Core, request: &Request, question_id: i32) -> Self {
        Self {
            placement: Placement::of(request),
            ..Self::of_page(&core.settings.security.keys, Jar::of(request), question_id)
        }
    }

    /// Sets the cookie that identifies the browser, unless `present` is one. One that was signed with a fallback key is signed anew,
    /// so that it is valid when the fallback is removed.
    pub fn identify_browser(&self, response: &mut Response, present: Option<&str>) {
        let known = present.and_then(|cookie| verified(self.keys, BROWSER_SALT, cookie));
        let value = match known {
            Some(browser) => signed(self.keys, BROWSER_SALT, browser),
            None => signed(self.keys, BROWSER_SALT, &hex(&rand::random::<[u8; 16]>())),
        };
        if present == Some(value.as_str()) {
            return;
        }
        let cookie = self.settings(BROWSER_COOKIE, "/".to_owned(), BROWSER_AGE);
        self.jar.set(response, &cookie, &value, Some(BROWSER_AGE));
    }

    /// Remembers in the browser that it has voted on the question.
    pub fn remember(&self, response: &mut Response, voter: &VoterKey) {
        let path = urls::detail(self.question_id);
        let cookie = self.settings(VOTED_COOKIE, path, BROWSER_AGE);
        // Signed: a receipt, which may be shown to others, has the same text.
        let value = signed(self.keys, VOTED_SALT, &voter.current);
        self.jar.set(response, &cookie, &value, Some(BROWSER_AGE));
    }

    /// Sends a notice to the results page.
    pub fn send_notice(&self, response: &mut Response, notice: &Notice, now: DateTime<Utc>) {
        let text = format!("{}:{}", notice.text(), now.timestamp());
        let value = signed(self.keys, &salt(self.question_id), &text);
        self.jar.set(response, &self.notice(), &value, None);
    }

    /// Deletes the notice, which has been shown.
    pub fn delete_notice(&self, response: &mut Response) {
        self.jar.delete(response, &self.notice());
    }

    /// The attributes of a cookie; `path` is that on pages of this site.
    fn settings(&self, names: [&'static str; 2], path: String, age: i64) -> CookieSettings {
        let settings = CookieSettings::new(self.placement.name(names), age);
        match self.placement {
            Placement::Page => CookieSettings { path, ..settings },
            Placement::Frame => CookieSettings {
                path: urls::detail(self.question_id),
                same_site: Some(SameSite::None),
                secure: Some(true),
                partitioned: true,
                ..settings
            },
        }
    }

    fn notice(&self) -> CookieSettings {
        self.settings(NOTICE_COOKIE, urls::results(self.question_id), 0)
    }
}

/// The value of a cookie, not verified yet.
fn cookie<'a>(request: &'a Request, names: [&'static str; 2]) -> Option<&'a str> {
    cookies::get(request, Placement::of(request).name(names))
}

/// The cookie that identifies the browser, not verified yet.
pub fn browser_cookie(request: &Request) -> Option<&str> {
    cookie(request, BROWSER_COOKIE)
}

/// The number that identifies the browser, if it has sent its cookie.
pub fn browser<'a>(core: &Core, request: &'a Request) -> Option<&'a str> {
    let keys = &core.settings.security.keys;
    verified(keys, BROWSER_SALT, browser_cookie(request)?)
}

/// Whether the browser has voted on the question of the page, as far as it remembers.
pub fn has_voted(request: &Request) -> bool {
    cookie(request, VOTED_COOKIE).is_some()
}

/// Whether a request may come from a visitor who has voted on the page's question, or from one who is logged in: the page may be
/// another one for them.
pub fn is_identified(core: &Core, request: &Request) -> bool {
    let session = &core.settings.security.session_cookie.name;
    has_voted(request) || cookies::get(request, session).is_some()
}

/// The hash of the voter that the browser remembers.
pub fn remembered<'a>(core: &Core, request: &'a Request) -> Option<&'a str> {
    let cookie = cookie(request, VOTED_COOKIE)?;
    verified(&core.settings.security.keys, VOTED_SALT, cookie)
}

/// What the results page says about the vote that led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A vote for these choices was counted.
    Counted(BTreeSet<i32>),
    /// The voter had voted before.
    AlreadyVoted,
}

impl Notice {
    /// The notice for a request for the results of a question, unless it is too old.
    pub fn of(core: &Core, request: &Request, question_id: i32) -> Option<Self> {
        let cookie = cookie(request, NOTICE_COOKIE)?;
        let text = verified(&core.settings.security.keys, &salt(question_id), cookie)?;
        let (text, sent) = text.split_once(':')?;
        let age = core.now().timestamp() - sent.parse::<i64>().ok()?;
        if age > NOTICE_AGE {
            return None;
        }
        if text == "again" {
            return Some(Self::AlreadyVoted);
        }
        let choices = text.split('-').map(str::parse);
        choices.collect::<Result<_, _>>().ok().map(Self::Counted)
    }

    /// The choice, if it is a vote for one: there is a page in memory for each.
    pub fn choice(&self) -> Option<i32> {
        match self {
            Self::Counted(choices) if choices.len() == 1 => choices.first().copied(),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Counted(choices) => {
                let choices: Vec<String> = choices.iter().map(i32::to_string).collect();
                choices.join("-")
            }
            Self::AlreadyVoted => "again".to_owned(),
        }
    }
}

/// The salt of a notice: one for another question is not valid.
fn salt(question_id: i32) -> String {
    format!("polls.voters.notice.{question_id}")
}

/// A text with its signature.
fn signed(keys: &Keys, salt: &str, text: &str) -> String {
    format!("{text}.{}", hex(&keys.salted_hmac(salt, text)))
}

/// The text of a signed value, if its signature is valid for any key.
fn verified<'a>(keys: &Keys, salt: &str, value: &'a str) -> Option<&'a str> {
    let (text, signature) = value.rsplit_once('.')?;
    let is_equal = |hash: [u8; 32]| bool::from(hex(&hash).as_bytes().ct_eq(signature.as_bytes()));
    keys.salted_hmacs(salt, text).any(is_equal).then_some(text)
}
