//! Counters for limits: how much of something an organisation has used lately, and whether there is room for more.
//!
//! A sliding window counter. Time is cut into windows of the asked length, from the epoch on; a counter keeps two
//! numbers, what was counted in the running window and in the one before, and `used` is the first plus the share of the
//! second that a window ending now still covers, rounded up. This takes two numbers whatever the limit is. What was
//! used is taken as spread evenly over its window: where it was not, more than the limit may pass within one length of
//! time (less than twice as much), and never more than the limit within one of the aligned windows.
//!
//! All arithmetic is in whole milliseconds and stays below 2^53, so that a script of a server that knows only floating
//! point gives the same numbers.

use crate::{Result, Scope};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The greatest limit and cost of a counter.
pub const MAX_COUNT: u32 = 1_000_000;

/// Asks for room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CounterRequest {
    /// What is counted: 1 to 128 bytes. The same key with another window is another counter.
    pub key: String,
    /// The length of the window: from a second to a day; what is below a millisecond is ignored.
    pub window: Duration,
    /// How much is asked for, up to [`MAX_COUNT`]; zero only looks.
    pub cost: u32,
    /// How much there is: 1 to [`MAX_COUNT`].
    pub limit: u32,
}

/// What a counter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether there was room for the whole cost. Otherwise nothing of it was counted.
    pub allowed: bool,
    /// What is used, this request included when it was allowed.
    pub used: u32,
    /// What is left; zero when the limit was lowered below what is used.
    pub remaining: u32,
    /// When all of what is used will have left the window, if nothing is added; now when nothing is used. In whole
    /// milliseconds.
    pub resets_at: DateTime<Utc>,
}

/// Counters. Another organisation's behave as absent.
#[async_trait]
pub trait CounterAdapter: Send + Sync + 'static {
    /// Counts each request when there is room for it, one answer per request. Each is atomic, in the order of the
    /// argument, so that two of one key see each other; the batch as a whole is not. What was counted need not outlast
    /// a restart of the store. Where the clock has jumped back behind a counter's windows, the counter moves back with
    /// it and keeps its two numbers.
    async fn counts(&self, scope: &Scope, requests: &[CounterRequest]) -> Result<Vec<Counted>>;
}
