//! The counts in the cache. Each step is a script, so that it happens as a whole.

use std::sync::LazyLock;

use chrono::TimeDelta;
use redis::Script;

use super::{PER_ADDRESS, PER_USER, Try, WINDOW};
use crate::cache::Cache;

/// Refuses with the milliseconds to wait, or counts and returns 0.
static ADMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 1, 2 do \
           if tonumber(redis.call('GET', KEYS[i]) or 0) >= tonumber(ARGV[i]) then \
             return math.max(redis.call('PTTL', KEYS[i]), 1) \
           end \
         end \
         for i = 1, 2 do \
           if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[3]) end \
         end \
         return 0",
    )
});

/// Counts one less of the first, and as many less of the second as is said.
static TAKE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DECR', KEYS[1]) end \
         if ARGV[1] == '0' then redis.call('DEL', KEYS[2]) \
         elseif redis.call('EXISTS', KEYS[2]) == 1 then redis.call('DECRBY', KEYS[2], ARGV[1]) end \
         return 0",
    )
});

/// Counts a try, unless too many have failed: then the time to wait is more than zero. `None` without a cache.
pub(super) async fn admit(cache: &Cache, this: &Try) -> Option<TimeDelta> {
    let limits = [PER_ADDRESS.into(), PER_USER.into(), WINDOW.num_seconds()];
    let wait = cache.run(&ADMIT, &names(this), &limits).await?;
    Some(TimeDelta::milliseconds(wait))
}

/// Takes the count back, and those of this user before it.
pub(super) async fn forgive(cache: &Cache, this: &Try) {
    cache.run(&TAKE_BACK, &names(this), &[0]).await;
}

/// Takes the count back.
pub(super) async fn withdraw(cache: &Cache, this: &Try) {
    cache.run(&TAKE_BACK, &names(this), &[1]).await;
}

fn names(this: &Try) -> [String; 2] {
    [&this.address, &this.user].map(|name| format!("polls:failures:{name}"))
}
