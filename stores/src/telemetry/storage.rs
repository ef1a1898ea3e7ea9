//! How a telemetry store looks after itself: what it is told to keep, and what it says it holds and does.
//!
//! Types alone. Everything an adapter cannot know is `None` or empty, never a guess.

use super::Resolution;
use chrono::{DateTime, TimeDelta, Utc};

/// What a store is told about the age of what it holds. An adapter without a thing ignores the policy on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Events older than this are compressed; `None`: never.
    pub compress_after: Option<TimeDelta>,
    /// Events older than this are dropped; `None`: never.
    pub retain_raw: Option<TimeDelta>,
    /// Roll-ups of a minute older than this are dropped; `None`: never.
    pub retain_minutes: Option<TimeDelta>,
    /// Roll-ups of an hour older than this are dropped; `None`: never. Those of a day stay.
    pub retain_hours: Option<TimeDelta>,
}

/// What a store holds and how it keeps it, over all organisations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// The policies in force; `None` where the store has no such thing.
    pub policies: Policies,
    /// Bytes on disk, of everything the store holds.
    pub bytes: Option<u64>,
    /// What compression does.
    pub compression: Option<Compression>,
    /// The roll-ups, finest first.
    pub roll_ups: Vec<RollUp>,
    /// What runs by itself.
    pub jobs: Vec<Job>,
}

/// What compression does: the compressed part of the events alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// Partitions that are compressed.
    pub partitions: u64,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
}

/// A roll-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollUp {
    /// How fine it is.
    pub resolution: Resolution,
    /// How long its rows are kept; `None`: for ever.
    pub retain: Option<TimeDelta>,
    /// Events before this are in it.
    pub fresh_to: Option<DateTime<Utc>>,
    /// Bytes on disk.
    pub bytes: Option<u64>,
}

/// Something that runs by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What it does, in a word or two: `retention`, `compression`, `minute roll-up`.
    pub name: String,
    /// How often.
    pub every: Option<TimeDelta>,
    /// When it last ended well; `None`: not since this is known.
    pub last_success: Option<DateTime<Utc>>,
    /// How often it has failed since this is known.
    pub failures: Option<u64>,
}
