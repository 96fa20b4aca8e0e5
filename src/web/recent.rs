//! A client that has just changed something sees it: for a while its pages are read from the primary database, since the
//! replica may be behind.

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
/// How long a client reads from the primary, in seconds: twice as long as the copy may be behind, since the answer takes its
/// time to the client, too.
const AGE: i64 = 2 * MAX_LAG.as_secs() as i64;

/// Marks the clients whose requests changed something, if there is a copy to keep them from. The mark holds the time under a
/// signature, so that a client cannot set it without having changed something.
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

/// Where the pages for this client are read.
pub fn reader<'a>(core: &'a Core, request: &Request) -> Reader<'a> {
    let mark = cookies::get(request, COOKIE);
    if mark.is_some_and(|mark| is_recent(&core.settings.security.keys, mark, core.now())) {
        core.db.read_latest()
    } else {
        core.db.read()
    }
}

/// A mark: seconds since 1970, and their keyed hash.
fn sign(keys: &Keys, now: DateTime<Utc>) -> String {
    let seconds = now.timestamp().to_string();
    format!("{seconds}.{}", hex(&keys.salted_hmac(SALT, &seconds)))
}

/// Whether a mark is ours and of the last [`AGE`] seconds, or of as many to come: clocks of replicas differ.
fn is_recent(keys: &Keys, mark: &str, now: DateTime<Utc>) -> bool {
    let Some((seconds, hash)) = mark.split_once('.') else {
        return false;
    };
    let is_near = seconds
        .parse::<i64>()
        .is_ok_and(|seconds| seconds.abs_diff(now.timestamp()) <= AGE.unsigned_abs());
    let is_ours = |own: [u8; 32]| bool::from(hex(&own).as_bytes().ct_eq(hash.as_bytes()));
    is_near && keys.salted_hmacs(SALT, seconds).any(is_ours)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_mark_counts_for_ten_seconds_and_cannot_be_made_up() {
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
        for made_up in ["1", "", ".", &later, &now.timestamp().to_string()] {
            assert!(!is_recent(&own, made_up, now), "{made_up}");
        }
    }
}
