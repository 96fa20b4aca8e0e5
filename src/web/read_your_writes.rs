//! Read-your-writes consistency: after a client's change, its pages are read from the primary database for a while. The replica
//! may lag behind, and another process may not have received the change yet and have an older page in memory.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use subtle::ConstantTimeEq;

use super::{
    cookies::{self, Jar},
    page::ForCache,
};
use crate::{
    core::Core,
    db::{MAX_LAG, Reader},
    settings::CookieSettings,
    signing::{Keys, hex},
};

const COOKIE: &str = "polls_recent";
const SALT: &str = "polls.web.recent";
/// In place of the process for changes through several: not the number of any.
const SEVERAL: u64 = 0;
/// How long a mark is valid, in seconds: twice the allowed lag of the replica, since the response and the next request take time,
/// too.
const AGE: i64 = 2 * MAX_LAG.as_secs() as i64;

/// Response data: the request may have changed something.
#[derive(Debug, Clone, Copy)]
pub struct Changed;

/// Sets a cookie in a response with [`Changed`]. It holds the signed time and process, so that a client cannot set it without a
/// change and put load on the primary.
///
/// # Errors
/// Those of `next`.
pub async fn mark<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if request.method().is_safe() {
        return Ok(next.call(request).await?.into_response());
    }
    let core = Core::of(&request).clone();
    let (jar, earlier) = (Jar::of(&request), process_of_change(&core, &request));
    let mut response = next.call(request).await?.into_response();
    if response.data::<Changed>().is_some() {
        let is_of_another = earlier.is_some_and(|process| process != core.process);
        let process = if is_of_another { SEVERAL } else { core.process };
        // The change may have taken long.
        let now = core.now();
        let mark = sign(&core.settings.security.keys, now, process);
        let cookie = CookieSettings::new(COOKIE, AGE);
        jar.at(now).set(&mut response, &cookie, &mark, Some(AGE));
    }
    Ok(response)
}

/// The database to read a page from: the primary if the client has made a change in the last 10 seconds, or if the page is for a
/// cache.
pub fn reader<'a>(core: &'a Core, request: &Request) -> Reader<'a> {
    if request.data::<ForCache>().is_some() || process_of_change(core, request).is_some() {
        core.db.read_latest()
    } else {
        core.db.read()
    }
}

/// Whether the client has made a change in the last 10 seconds through another process.
pub fn is_marked_by_another(core: &Core, request: &Request) -> bool {
    process_of_change(core, request).is_some_and(|process| process != core.process)
}

/// The process through which the client has made a change in the last 10 seconds.
fn process_of_change(core: &Core, request: &Request) -> Option<u64> {
    let mark = cookies::get(request, COOKIE)?;
    verify(&core.settings.security.keys, mark, core.now())
}

/// The cookie's value: seconds since 1970, the process in hexadecimal digits, and the HMAC of both.
fn sign(keys: &Keys, now: DateTime<Utc>, process: u64) -> String {
    let text = format!("{}.{process:x}", now.timestamp());
    format!("{text}.{}", hex(&keys.salted_hmac(SALT, &text)))
}

/// The process, if the signature is valid and the time within [`AGE`] seconds of `now`, before or after it: the clocks of servers
/// differ.
fn verify(keys: &Keys, mark: &str, now: DateTime<Utc>) -> Option<u64> {
    let (text, hash) = mark.rsplit_once('.')?;
    let (seconds, process) = text.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    let process = u64::from_str_radix(process, 16).ok()?;
    let is_recent = seconds.abs_diff(now.timestamp()) <= AGE.unsigned_abs();
    let is_equal = |hmac: [u8; 32]| bool::from(hex(&hmac).as_bytes().ct_eq(hash.as_bytes()));
    (is_recent && keys.salted_hmacs(SALT, text).any(is_equal)).then_some(process)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_mark_is_valid_for_ten_seconds_and_cannot_be_forged() {
        let keys = |current: &str, fallbacks: &[&str]| Keys {
            current: current.into(),
            fallbacks: fallbacks.iter().map(|key| (*key).into()).collect(),
        };
        let (now, own) = (Utc::now(), keys("a", &[]));
        let mark = sign(&own, now, 0xabc);
        assert_eq!(
            verify(&own, &mark, now + TimeDelta::seconds(9)),
            Some(0xabc)
        );
        assert_eq!(verify(&keys("b", &["a"]), &mark, now), Some(0xabc));
        assert_eq!(verify(&own, &mark, now + TimeDelta::seconds(12)), None);
        assert_eq!(verify(&keys("b", &[]), &mark, now), None);
        let later = mark.replacen(&now.timestamp().to_string(), "99999999999", 1);
        let other = mark.replacen("abc", "abd", 1);
        for forged in [
            "1",
            "",
            ".",
            "..",
            &later,
            &other,
            &now.timestamp().to_string(),
        ] {
            assert_eq!(verify(&own, forged, now), None, "{forged}");
        }
    }
}
