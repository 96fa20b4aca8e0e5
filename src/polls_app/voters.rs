//! Who casts a ballot. A voter is identified by a browser's cookie, a user account or a code; the database stores only a keyed hash
//! of the question and the voter.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use poem::Request;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;

use super::{voter_cookies, votes::VoterKey};
use crate::{
    core::Core,
    entities::voter,
    signing::{Keys, hex},
    web::form::Form,
};

const CODE_SALT: &str = "polls.voters.code";
/// The query parameter and the form field with a code.
pub const CODE: &str = "code";
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
    let browser = voter_cookies::browser(core, request)?;
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

/// The hash of the voter that the browser remembers.
pub fn remembered(core: &Core, request: &Request) -> Option<VoterKey> {
    of_receipt(voter_cookies::remembered(core, request)?)
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
