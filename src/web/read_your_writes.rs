//! Read-your-writes consistency with a replica: after a client's change, its pages are read from the primary database for a
//! while, since the replica may lag behind.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use subtle::ConstantTimeEq;

use super::cookies::{self, Jar};
use crate::{
    core::Core,
    db::{MAX_LAG, Reader},
    settings::CookieSettings,
    signing::{Keys, hex},
};

const COOKIE: &str = "polls_recent";
const SALT: &str = "polls.web.recent";
/// How long a client reads from the primary, in seconds: twice the allowed lag of the replica, since the response and the next
/// request take time, too.
const AGE: i64 = 2 * MAX_LAG.as_secs() as i64;

/// If there is a replica, sets a cookie in the response to each successful request with an unsafe method. The cookie holds the
/// signed time, so that a client cannot set it without a change and put load on the primary.
///
/// # Errors
/// Those of `next`.
pub async fn mark<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let core = Core::of(&request);
    if core.db.replica().is_none() || request.method().is_safe() {
        return Ok(next.call(request).await?.into_response());
    }
    let (jar, mark) = (
        Jar::of(&request),
        sign(&core.settings.security.keys, core.now()),
    );
    let mut response = next.call(request).await?.into_response();
    if !response.status().is_client_error() && !response.status().is_server_error() {
        let cookie = CookieSettings::new(COOKIE, AGE);
        jar.set(&mut response, &cookie, &mark, Some(AGE));
    }
    Ok(response)
}

/// The database to read this client's pages from: the primary if the client has made a change in the last 10 seconds.
pub fn reader<'a>(core: &'a Core, request: &Request) -> Reader<'a> {
    let mark = cookies::get(request, COOKIE);
    if mark.is_some_and(|mark| is_recent(&core.settings.security.keys, mark, core.now())) {
        core.db.read_latest()
    } else {
        core.db.read()
    }
}

/// The cookie's value: seconds since 1970, and their HMAC.
fn sign(keys: &Keys, now: DateTime<Utc>) -> String {
    let seconds = now.timestamp().to_string();
    format!("{seconds}.{}", hex(&keys.salted_hmac(SALT, &seconds)))
}

/// Whether the signature is valid and the time within [`AGE`] seconds of `now`, before or after it: the clocks of servers differ.
fn is_recent(keys: &Keys, mark: &str, now: DateTime<Utc>) -> bool {
    let Some((seconds, hash)) = mark.split_once('.') else {
        return false;
    };
    let is_in_range = seconds
        .parse::<i64>()
        .is_ok_and(|seconds| seconds.abs_diff(now.timestamp()) <= AGE.unsigned_abs());
    let is_equal = |hmac: [u8; 32]| bool::from(hex(&hmac).as_bytes().ct_eq(hash.as_bytes()));
    is_in_range && keys.salted_hmacs(SALT, seconds).any(is_equal)
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
        let mark = sign(&own, now);
        assert!(is_recent(&own, &mark, now + TimeDelta::seconds(9)));
        assert!(is_recent(&keys("b", &["a"]), &mark, now));
        assert!(!is_recent(&own, &mark, now + TimeDelta::seconds(12)));
        assert!(!is_recent(&keys("b", &[]), &mark, now));
        let later = mark.replacen(&now.timestamp().to_string(), "99999999999", 1);
        for forged in ["1", "", ".", &later, &now.timestamp().to_string()] {
            assert!(!is_recent(&own, forged, now), "{forged}");
        }
    }
}
