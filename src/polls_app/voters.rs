//! Who casts a ballot. A voter is identified by a browser's cookie, a user account or a code; the database stores only a keyed hash
//! of the question and the voter.
//!
//! | cookie | path | holds |
//! |---|---|---|
//! | `polls_voter` | `/` | a random number that identifies the browser, signed |
//! | `polls_voted` | `/polls/ID/` | the voter's hash, signed, after a ballot: with it, pages are not served from memory |
//! | `polls_vote` | `/polls/ID/results/` | the choices of the vote that has just been counted, signed, for one page |

use std::{collections::BTreeSet, sync::LazyLock};

use data_encoding::{Encoding, Specification};
use poem::{Request, Response};
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;

use super::{urls, votes::VoterKey};
use crate::{
    core::Core,
    entities::voter,
    settings::CookieSettings,
    signing::{Keys, hex},
    web::{
        cookies::{self, Jar},
        form::Form,
    },
};

const BROWSER_COOKIE: &str = "polls_voter";
const VOTED_COOKIE: &str = "polls_voted";
const NOTICE_COOKIE: &str = "polls_vote";
const BROWSER_SALT: &str = "polls.voters.browser";
const CODE_SALT: &str = "polls.voters.code";
const VOTED_SALT: &str = "polls.voters.voted";
/// The query parameter and the form field with a code.
pub const CODE: &str = "code";
/// How long a browser is known, in seconds: 400 days, the longest time that browsers keep a cookie (RFC 6265bis, 5.5).
const BROWSER_AGE: i64 = 400 * 86_400;
/// The length of a hash, in bytes.
const HASH_LENGTH: usize = 15;
/// The length of the number in a code, in bytes.
const NUMBER_LENGTH: usize = 3;
/// The length of the signature in a code, in bytes.
const SIGNATURE_LENGTH: usize = 7;

/// Crockford's Base32 (<https://www.crockford.com/base32.html>), which has no letters that look like digits. When decoded, case does
/// not matter.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification
        .translate
        .from
        .push_str("abcdefghjkmnpqrstvwxyzoOiIlL");
    specification
        .translate
        .to
        .push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    specification
        .encoding()
        .expect("the specification is valid")
});

/// The key of a voter of a question; `identity` is `browser:…`, `account:…` or `code:…`.
fn voter_key(keys: &Keys, question_id: i32, identity: &str) -> VoterKey {
    let value = format!("{question_id}:{identity}");
    let hashes = keys.salted_hmacs("polls.voters", &value);
    let mut hashes = hashes.map(|hash| BASE32.encode(&hash[..HASH_LENGTH]));
    VoterKey {
        current: hashes.next().expect("there is a current key"),
        aliases: hashes.collect(),
    }
}

/// The key of a browser, if it has sent its cookie.
pub fn of_browser(core: &Core, request: &Request, question_id: i32) -> Option<VoterKey> {
    let keys = &core.settings.security.keys;
    let browser = verified(keys, BROWSER_SALT, browser_cookie(request)?)?;
    Some(voter_key(keys, question_id, &format!("browser:{browser}")))
}

/// The key of a user.
pub fn of_account(core: &Core, user_id: i32, question_id: i32) -> VoterKey {
    let keys = &core.settings.security.keys;
    voter_key(keys, question_id, &format!("account:{user_id}"))
}

/// The key of the holder of a code, if it is one of the question's.
pub fn of_code(core: &Core, code: &str, question_id: i32) -> Option<VoterKey> {
    let keys = &core.settings.security.keys;
    let code = decode(code)?;
    let (number, signature) = code.split_at_checked(NUMBER_LENGTH)?;
    let value = format!("{question_id}:{}", hex(number));
    let is_signed = keys
        .salted_hmacs(CODE_SALT, &value)
        .any(|hash| hash[..SIGNATURE_LENGTH].ct_eq(signature).into());
    is_signed.then(|| voter_key(keys, question_id, &format!("code:{}", hex(number))))
}

/// The code with a number, from 0 to 2^24 - 1, in groups of four characters: `0000-1K7Q-P2M4-X9RT`. Codes are not stored: they hold
/// their number and its signature.
pub fn code(keys: &Keys, question_id: i32, number: u32) -> String {
    let number = &number.to_be_bytes()[4 - NUMBER_LENGTH..];
    let hash = keys.salted_hmac(CODE_SALT, &format!("{question_id}:{}", hex(number)));
    grouped(&BASE32.encode(&[number, &hash[..SIGNATURE_LENGTH]].concat()))
}

/// The bytes of a text in Base32, also as mail programs and word processors write it: with other hyphens and wide letters.
fn decode(text: &str) -> Option<Vec<u8>> {
    let plain = text.nfkc().filter(char::is_ascii_alphanumeric).take(64);
    BASE32.decode(plain.collect::<String>().as_bytes()).ok()
}

/// A text of Base32 in groups of four characters.
fn grouped(text: &str) -> String {
    let groups: Vec<&str> = text
        .as_bytes()
        .chunks(4)
        .map(|group| str::from_utf8(group).expect("Base32 is ASCII"))
        .collect();
    groups.join("-")
}

/// The cookie that identifies the browser, not verified yet.
pub fn browser_cookie(request: &Request) -> Option<&str> {
    cookies::get(request, BROWSER_COOKIE)
}

/// Sets the cookie that identifies the browser, unless `present` is one. One that was signed with a fallback key is signed anew, so
/// that it is valid when the fallback is removed.
pub fn identify_browser(response: &mut Response, keys: &Keys, jar: Jar, present: Option<&str>) {
    let known = present.and_then(|cookie| verified(keys, BROWSER_SALT, cookie));
    let value = match known {
        Some(browser) => signed(keys, BROWSER_SALT, browser),
        None => signed(keys, BROWSER_SALT, &hex(&rand::random::<[u8; 16]>())),
    };
    if present == Some(value.as_str()) {
        return;
    }
    let cookie = CookieSettings::new(BROWSER_COOKIE, BROWSER_AGE);
    jar.set(response, &cookie, &value, Some(BROWSER_AGE));
}

/// Remembers in the browser that it has voted on a question.
pub fn remember(
    response: &mut Response,
    keys: &Keys,
    jar: Jar,
    question_id: i32,
    voter: &VoterKey,
) {
    let cookie = CookieSettings {
        path: urls::detail(question_id),
        ..CookieSettings::new(VOTED_COOKIE, BROWSER_AGE)
    };
    // Signed: a receipt, which may be shown to others, has the same text.
    let value = signed(keys, VOTED_SALT, &voter.current);
    jar.set(response, &cookie, &value, Some(BROWSER_AGE));
}

/// Whether the browser has voted on the question of the page, as far as it remembers.
pub fn has_voted(request: &Request) -> bool {
    cookies::get(request, VOTED_COOKIE).is_some()
}

/// Whether a request may come from a visitor who has voted on the page's question, or from one who is logged in: the page may be
/// another one for them.
pub fn is_identified(core: &Core, request: &Request) -> bool {
    let session = &core.settings.security.session_cookie.name;
    has_voted(request) || cookies::get(request, session).is_some()
}

/// The hash of the voter that the browser remembers.
pub fn remembered(core: &Core, request: &Request) -> Option<VoterKey> {
    let cookie = cookies::get(request, VOTED_COOKIE)?;
    of_receipt(verified(&core.settings.security.keys, VOTED_SALT, cookie)?)
}

/// The receipt of a voter in a readable form: the stored hash in groups of four characters. It shows that the vote is in the
/// count, and not what it is.
pub fn receipt(voter: &voter::Model) -> String {
    grouped(&voter.voter)
}

/// The voter of a receipt, however it is written; `None` if it cannot be one.
pub fn of_receipt(text: &str) -> Option<VoterKey> {
    let hash = decode(text)?;
    let is_complete = hash.len() == HASH_LENGTH;
    is_complete.then(|| VoterKey {
        current: BASE32.encode(&hash),
        aliases: Vec::new(),
    })
}

/// The row of one of these voters, if one of them has voted on a question.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn find(
    db: &impl ConnectionTrait,
    question_id: i32,
    voters: impl IntoIterator<Item = VoterKey>,
) -> Result<Option<voter::Model>, DbErr> {
    let hashes = voters
        .into_iter()
        .flat_map(|voter| voter.aliases.into_iter().chain([voter.current]));
    let hashes: Vec<String> = hashes.collect();
    if hashes.is_empty() {
        return Ok(None);
    }
    let found = voter::Entity::find()
        .filter(voter::COLUMN.voter.is_in(hashes))
        .filter(voter::COLUMN.question_id.eq(question_id))
        .order_by_asc(voter::Column::Day);
    found.one(db).await
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
    /// The notice for a request for the results of a question.
    pub fn of(core: &Core, request: &Request, question_id: i32) -> Option<Self> {
        let cookie = cookies::get(request, NOTICE_COOKIE)?;
        let text = verified(&core.settings.security.keys, &salt(question_id), cookie)?;
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

    /// Sends the notice to the results page.
    pub fn send(&self, response: &mut Response, keys: &Keys, jar: Jar, question_id: i32) {
        let text = match self {
            Self::Counted(choices) => {
                let choices: Vec<String> = choices.iter().map(i32::to_string).collect();
                choices.join("-")
            }
            Self::AlreadyVoted => "again".to_owned(),
        };
        let value = signed(keys, &salt(question_id), &text);
        jar.set(response, &cookie(question_id), &value, None);
    }

    /// Deletes the notice, which has been shown.
    pub fn delete(response: &mut Response, jar: Jar, question_id: i32) {
        jar.delete(response, &cookie(question_id));
    }
}

/// The cookie of the notice for a question.
fn cookie(question_id: i32) -> CookieSettings {
    CookieSettings {
        path: urls::results(question_id),
        ..CookieSettings::new(NOTICE_COOKIE, 0)
    }
}

/// The salt of a notice: one for another question is not valid.
fn salt(question_id: i32) -> String {
    format!("polls.voters.notice.{question_id}")
}

/// The code in a request: of its form, or of its query string.
pub fn code_of(request: &Request, form: &Form) -> Option<String> {
    let of_form = form.get(CODE).filter(|code| !code.trim().is_empty());
    let of_form = of_form.map(str::to_owned);
    of_form.or_else(|| Form::of_query(request).get(CODE).map(str::to_owned))
}

/// Whether the URL of a request has a code, even an empty one.
pub fn has_code(request: &Request) -> bool {
    let query = request.original_uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == CODE)
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
