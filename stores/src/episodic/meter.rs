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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, TimeZone};

    fn well(completed: u64) -> Throughput {
        Throughput { completed, failed: 0 }
    }

    #[test]
    fn what_ended_in_a_minute_fades_out_over_a_minute() {
        let start = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        let first = minute_of(start);
        let of = |minute| if minute == first { well(10) } else { Throughput::default() };
        let within = |seconds, minutes| Throughput::within(start + TimeDelta::seconds(seconds), minutes, of).completed;
        assert_eq!([0, 59, 60, 66, 67, 90, 114, 115, 120].map(|at| within(at, 1)), [10, 10, 10, 9, 8, 5, 1, 0, 0]);
        assert_eq!([3599, 3600, 3630, 3660].map(|at| within(at, 60)), [10, 10, 5, 0]);
        assert_eq!(within(-1, 1), 0, "what a clock that jumped back has left in the future does not count");
    }

    #[test]
    fn a_window_is_the_sum_of_its_minutes() {
        let now = Utc.with_ymd_and_hms(2026, 1, 1, 0, 30, 0).unwrap();
        let sum =
            Throughput::within(now, 60, |minute| Throughput { completed: 1, failed: minute.rem_euclid(2) as u64 });
        assert_eq!(sum, Throughput { completed: 61, failed: 30 });
        assert_eq!(Throughput::within(now, 60, |_| well(u64::MAX)).completed, u64::MAX, "and ends at what fits");
    }
}
