//! The counters of one organisation. In memory only: a limit that waited for the disk would cost more than what it
//! guards, and what a restart forgets is at most two windows of it.

use super::{
    super::{Counted, CounterRequest},
    journal::Batch,
};
use chrono::{DateTime, Utc};
use std::collections::{BTreeSet, HashMap};

/// A key and the length of its windows in milliseconds.
type Name = (String, i64);

#[derive(Clone, Copy, Default)]
struct Counter {
    /// The running window, numbered from the epoch.
    window: i64,
    running: u32,
    before: u32,
}

/// The counters of one organisation.
#[derive(Default)]
pub(super) struct Counters {
    counters: HashMap<Name, Counter>,
    /// When each counter is back at nothing, in milliseconds.
    ends: BTreeSet<(i64, Name)>,
}

impl Counters {
    pub(super) fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// Forgets the counters that are back at nothing.
    pub(super) fn tick(&mut self, batch: &Batch) {
        let now = batch.now.timestamp_millis();
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, name)) = self.ends.pop_first() {
                self.counters.remove(&name);
            }
        }
    }

    /// See the port.
    pub(super) fn count(&mut self, batch: &Batch, request: &CounterRequest) -> Counted {
        let now = batch.now.timestamp_millis();
        let length = i64::try_from(request.window.as_millis()).unwrap_or(i64::MAX).max(1);
        let name = (request.key.clone(), length);
        let mut counter = self.counters.remove(&name).unwrap_or_default();
        if let Some(end) = counter.end(length) {
            self.ends.remove(&(end, name.clone()));
        }
        counter.turn(now.div_euclid(length));
        let used = counter.used(now, length);
        let allowed = u64::from(used) + u64::from(request.cost) <= u64::from(request.limit);
        let cost = if allowed { request.cost } else { 0 };
        counter.running = counter.running.saturating_add(cost);
        let end = counter.end(length);
        if let Some(end) = end {
            self.ends.insert((end, name.clone()));
            self.counters.insert(name, counter);
        }
        let used = used.saturating_add(cost);
        let resets_at = DateTime::<Utc>::from_timestamp_millis(end.unwrap_or(now)).unwrap_or(batch.now);
        Counted { allowed, used, remaining: request.limit.saturating_sub(used), resets_at }
    }
}

impl Counter {
    /// Goes on to this window, or back to it with the clock.
    fn turn(&mut self, window: i64) {
        match window.saturating_sub(self.window) {
            ..=0 => {}
            1 => (self.before, self.running) = (self.running, 0),
            _ => (self.before, self.running) = (0, 0),
        }
        self.window = window;
    }

    /// What was counted in the running window, and the part of the one before that still counts.
    fn used(&self, now: i64, length: i64) -> u32 {
        let left = length - now.rem_euclid(length);
        let before = (i64::from(self.before) * left + length - 1) / length;
        self.running.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// When it is back at nothing, in milliseconds; `None` when it is.
    fn end(&self, length: i64) -> Option<i64> {
        let windows = match (self.running, self.before) {
            (0, 0) => return None,
            (0, _) => 1,
            _ => 2,
        };
        Some(self.window.saturating_add(windows).saturating_mul(length))
    }
}
