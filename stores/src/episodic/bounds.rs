//! The bounds of what the episodic port takes, checked once by the handle whatever the adapter is.

use super::{CounterRequest, MAX_COUNT, MAX_RATE_COUNT, NewTask, Outcome, QueueChange, Turn};
use crate::error::{Result, Store, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

const STORE: Store = Store::Episodic;
/// The largest payload, result or session, as JSON.
pub const MAX_JSON_BYTES: usize = 64 * 1024;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
/// A completed task is remembered as long as its key is taken, so this bounds what the store holds.
const MAX_DEDUPE_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far ahead of the store's clock a turn may be: clocks of other machines differ. Without a bound, one wrong turn would stay the newest for ever: a
/// window is read from its newest end, and a turn is only forgotten when its time has passed.
pub const MAX_AHEAD: TimeDelta = TimeDelta::hours(24);

pub(super) fn check_task(task: &NewTask) -> Result<()> {
    check_queue(&task.queue)?;
    check_length("the task's kind", &task.kind, 64)?;
    check_json("the payload", &task.payload)?;
    if let Some(key) = &task.dedupe_key {
        check_length("the dedupe key", key, 128)?;
    }
    match (&task.dedupe_key, task.dedupe_for) {
        (None, Some(_)) => return Err(StoreError::invalid(STORE, "a dedupe window needs a dedupe key")),
        (_, Some(window)) if !(SECOND..=MAX_DEDUPE_FOR).contains(&window) => {
            return Err(StoreError::invalid(STORE, "a dedupe window lasts from a second to a week"));
        }
        _ => {}
    }
    if !(-100..=100).contains(&task.priority) {
        return Err(StoreError::invalid(STORE, "the priority is not between -100 and 100"));
    }
    if !(1..=100).contains(&task.max_attempts) {
        return Err(StoreError::invalid(STORE, "the attempts are not between 1 and 100"));
    }
    if task.delay > YEAR {
        return Err(StoreError::invalid(STORE, "the delay is longer than a year"));
    }
    Ok(())
}

/// Whether a queue may have this name.
pub fn is_queue_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

pub(super) fn check_queue(name: &str) -> Result<()> {
    if !is_queue_name(name) {
        return Err(StoreError::invalid(STORE, "a queue's name has 1 to 64 of a-z, 0-9, `_`, `.` and `-`"));
    }
    Ok(())
}

pub(super) fn check_lease(lease: Duration) -> Result<()> {
    if !(SECOND..=DAY).contains(&lease) {
        return Err(StoreError::invalid(STORE, "a lease lasts from a second to a day"));
    }
    Ok(())
}

pub(super) fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl.is_zero() || ttl > YEAR {
        return Err(StoreError::invalid(STORE, "a session lasts for more than no time and at most a year"));
    }
    Ok(())
}

pub(super) fn check_length(what: &str, text: &str, max: usize) -> Result<()> {
    if text.is_empty() || text.len() > max {
        return Err(StoreError::invalid(STORE, format!("{what} has 1 to {max} bytes")));
    }
    Ok(())
}

pub(super) fn check_json(what: &str, value: &serde_json::Value) -> Result<()> {
    if value.to_string().len() > MAX_JSON_BYTES {
        return Err(StoreError::invalid(STORE, format!("{what} is larger than {MAX_JSON_BYTES} bytes of JSON")));
    }
    Ok(())
}

pub(super) fn check_reserve(queue: &str, worker: &str, count: u32, lease: Duration) -> Result<()> {
    check_queue(queue)?;
    check_lease(lease)?;
    check_length("the worker's name", worker, 128)?;
    if count == 0 {
        return Err(StoreError::invalid(STORE, "at least one task must be asked for"));
    }
    Ok(())
}

pub(super) fn check_outcome(outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::Complete { result: Some(result) } => check_json("the result", result),
        _ => Ok(()),
    }
}

pub(super) fn check_change(change: &QueueChange) -> Result<()> {
    let Some(Some(limit)) = change.rate_limit else { return Ok(()) };
    if !(1..=MAX_RATE_COUNT).contains(&limit.count) {
        let message = format!("a rate limit is of 1 to {MAX_RATE_COUNT} tasks");
        return Err(StoreError::invalid(STORE, message));
    }
    if !(SECOND..=DAY).contains(&limit.per) {
        return Err(StoreError::invalid(STORE, "a rate limit is for a second to a day"));
    }
    Ok(())
}

pub(super) fn check_turn(turn: &Turn, now: DateTime<Utc>) -> Result<()> {
    check_length("the conversation's name", &turn.conversation, 128)?;
    check_length("the text", &turn.text, 16_384)?;
    if now.checked_add_signed(MAX_AHEAD).is_some_and(|latest| turn.at > latest) {
        return Err(StoreError::invalid(STORE, "the turn is more than a day in the future"));
    }
    Ok(())
}

pub(super) fn check_counter(request: &CounterRequest) -> Result<()> {
    check_length("the counter's key", &request.key, 128)?;
    if !(SECOND..=DAY).contains(&request.window) {
        return Err(StoreError::invalid(STORE, "a counter's window lasts from a second to a day"));
    }
    if !(1..=MAX_COUNT).contains(&request.limit) || request.cost > MAX_COUNT {
        let message = format!("a counter's limit is 1 to {MAX_COUNT}, and its cost is not higher");
        return Err(StoreError::invalid(STORE, message));
    }
    Ok(())
}
