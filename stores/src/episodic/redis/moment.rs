//! The time at which a call is decided: taken once, in whole microseconds, from the clock of the caller.

use super::WINDOW_SECONDS;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use std::time::Duration;

/// Now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

impl Moment {
    /// Cut to microseconds, as everything is stored.
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self(now.trunc_subsecs(6))
    }

    /// In microseconds.
    pub(super) fn micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    /// What was said earlier is forgotten.
    pub(super) fn window(self) -> DateTime<Utc> {
        self.earlier(Duration::from_secs(WINDOW_SECONDS))
    }

    /// `by` after it; as late as there is a date for when that is too long.
    pub(super) fn later(self, by: Duration) -> DateTime<Utc> {
        let later = TimeDelta::from_std(by).ok().and_then(|by| self.0.checked_add_signed(by));
        later.unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
    }

    /// `by` before it; as early as there is a date for when that is too long.
    pub(super) fn earlier(self, by: Duration) -> DateTime<Utc> {
        let earlier = TimeDelta::from_std(by).ok().and_then(|by| self.0.checked_sub_signed(by));
        earlier.unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}
