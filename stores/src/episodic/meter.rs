//! How many tries of a queue's tasks ended lately: counted by minute of the clock, read as a sliding window.
//!
//! An adapter keeps one [`Throughput`] for each minute in which something ended, for [`KEPT_MINUTES`] minutes before the
//! running one, and reads both windows with [`Throughput::within`], so that all adapters round alike.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

const MINUTE_MILLIS: i64 = 60_000;

/// Minutes that are kept besides the running one.
pub const KEPT_MINUTES: i64 = 60;

/// How tries ended within a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Throughput {
    /// Tasks that were completed.
    pub completed: u64,
    /// Tries that their worker reported as failed. A lease that merely ended is not among them.
    pub failed: u64,
}

impl Throughput {
    /// What ended in the `minutes` before `now`; `of` gives what ended in a minute, numbered from the epoch (see
    /// [`minute_of`]).
    ///
    /// The window begins within a minute: of that minute the same share counts as of it lies in the window, rounded
    /// down. So what ended within one minute fades out over a minute.
    pub fn within(now: DateTime<Utc>, minutes: i64, of: impl Fn(i64) -> Self) -> Self {
        let running = minute_of(now);
        let inside = MINUTE_MILLIS - now.timestamp_millis().rem_euclid(MINUTE_MILLIS);
        let share = u64::try_from(inside).unwrap_or_default();
        let part = |count: u64| count.saturating_mul(share) / MINUTE_MILLIS.unsigned_abs();
        let edge = of(running - minutes);
        let edge = Self { completed: part(edge.completed), failed: part(edge.failed) };
        (running - minutes + 1..=running).map(of).fold(edge, Self::plus)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            completed: self.completed.saturating_add(other.completed),
            failed: self.failed.saturating_add(other.failed),
        }
    }
}

/// The number of the minute that `at` lies in, from the epoch.
pub fn minute_of(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis().div_euclid(MINUTE_MILLIS)
}
