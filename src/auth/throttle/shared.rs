//! The counts in the cache. Each step is a script, so that it happens as a whole.

use std::sync::LazyLock;

use chrono::TimeDelta;
use redis::Script;

use super::counter::{Counter, WINDOW};
use crate::cache::Cache;

/// Refuses with the milliseconds to wait, or counts and returns 0. `ARGV` has a limit for each key, then the window in
/// seconds.
static ADMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 1, #KEYS do \
           if tonumber(redis.call('GET', KEYS[i]) or 0) >= tonumber(ARGV[i]) then \
             return math.max(redis.call('PTTL', KEYS[i]), 1) \
           end \
         end \
         for i = 1, #KEYS do \
           if redis.call('INCR', KEYS[i]) == 1 then redis.call('EXPIRE', KEYS[i], ARGV[#KEYS + 1]) end \
         end \
         return 0",
    )
});

/// Counts one less of each; with `ARGV[1]` 1, all less of the last.
static TAKE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 1, #KEYS do \
           if ARGV[1] == '1' and i == #KEYS then redis.call('DEL', KEYS[i]) \
           elseif redis.call('EXISTS', KEYS[i]) == 1 then redis.call('DECR', KEYS[i]) end \
         end \
         return 0",
    )
});

/// Counts an attempt, unless too many have failed: then the time to wait is more than zero. `None` without a cache.
pub(super) async fn admit(cache: &Cache, counters: &[Counter]) -> Option<TimeDelta> {
    let mut arguments: Vec<i64> = counters
        .iter()
        .map(|counter| counter.limit.into())
        .collect();
    arguments.push(WINDOW.num_seconds());
    let wait = cache.run(&ADMIT, &keys(counters), &arguments).await?;
    Some(TimeDelta::milliseconds(wait))
}

/// Takes the count back, and all of the last counter.
pub(super) async fn forgive(cache: &Cache, counters: &[Counter]) {
    cache.run(&TAKE_BACK, &keys(counters), &[1]).await;
}

/// Takes the count back.
pub(super) async fn withdraw(cache: &Cache, counters: &[Counter]) {
    cache.run(&TAKE_BACK, &keys(counters), &[0]).await;
}

fn keys(counters: &[Counter]) -> Vec<String> {
    let key = |counter: &Counter| format!("polls:failures:{}", counter.name);
    counters.iter().map(key).collect()
}
