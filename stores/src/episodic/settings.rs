//! What an operator sets of a queue: whether it hands out tasks, and how fast.
//!
//! A rate limit is exact: adapters keep a log of when tasks were handed out (a sliding log), not an estimate of it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most tasks a rate limit can speak of: an adapter may keep as many entries for each queue with a limit. A higher
/// rate is said with a shorter `per`.
pub const MAX_RATE_COUNT: u32 = 10_000;

/// The settings of a queue; a queue that nobody has configured has the default ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Whether it hands out nothing. Leases under way go on, and tasks can still be enqueued, prolonged and settled.
    pub paused: bool,
    /// How fast it hands out tasks; `None` is as fast as they are asked for.
    pub rate_limit: Option<RateLimit>,
}

/// At most `count` tasks handed out in any span of `per`.
///
/// A task handed out at `t` counts at every time before `t + per`; every try of a task counts. Counting begins when a
/// limit is set, goes on under a changed one with what was counted so far, and is forgotten when the limit is removed.
/// Where a clock that jumped back has left tasks handed out in the future, they count as handed out at the next reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RateLimit {
    /// Tasks: 1 to [`MAX_RATE_COUNT`].
    pub count: u32,
    /// From a second to a day.
    pub per: Duration,
}

/// A change of a queue's settings; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct QueueChange {
    /// See [`QueueSettings::paused`].
    pub paused: Option<bool>,
    /// See [`QueueSettings::rate_limit`]; `Some(None)` removes it.
    pub rate_limit: Option<Option<RateLimit>>,
}

impl QueueChange {
    /// These settings, changed.
    #[must_use]
    pub fn of(self, settings: QueueSettings) -> QueueSettings {
        QueueSettings {
            paused: self.paused.unwrap_or(settings.paused),
            rate_limit: self.rate_limit.unwrap_or(settings.rate_limit),
        }
    }
}
