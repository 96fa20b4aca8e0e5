//! The counters in Redis. Each operation is one script, which Redis runs atomically.

use std::sync::LazyLock;

use chrono::TimeDelta;
use redis::Script;

use super::counter::{Counter, WINDOW};
use crate::cache::Cache;

/// Increments the counters and returns 0; or, beyond a limit, returns the milliseconds to wait. `ARGV` has a limit for each
/// key, then the window in seconds.
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

/// Decrements the counters; with `ARGV[1]` 1, removes the last one.
static DECREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for i = 1, #KEYS do \
           if ARGV[1] == '1' and i == #KEYS then redis.call('DEL', KEYS[i]) \
           elseif redis.call('EXISTS', KEYS[i]) == 1 then redis.call('DECR', KEYS[i]) end \
         end \
         return 0",
    )
});

/// Counts an attempt and returns zero; or, beyond a limit, returns the time to wait. `None` without a cache.
pub(super) async fn admit(cache: &Cache, counters: &[Counter]) -> Option<TimeDelta> {
    let mut arguments: Vec<i64> = counters
        .iter()
        .map(|counter| counter.limit.into())
        .collect();
    arguments.push(WINDOW.num_seconds());
    let wait = cache.run(&ADMIT, &keys(counters), &arguments).await?;
    Some(TimeDelta::milliseconds(wait))
}

/// Decrements the counters; with `resets_last`, removes the last one.
pub(super) async fn decrement(cache: &Cache, counters: &[Counter], resets_last: bool) {
    let arguments = [i64::from(resets_last)];
    cache.run(&DECREMENT, &keys(counters), &arguments).await;
}

fn keys(counters: &[Counter]) -> Vec<String> {
    let key = |counter: &Counter| format!("polls:failures:{}", counter.name);
    counters.iter().map(key).collect()
}
