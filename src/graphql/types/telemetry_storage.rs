//! `TelemetryStorage`: what the telemetry store holds and how it looks after itself.

use super::render_stats::RenderResolution;
use crate::graphql::{
    context::RequestContext,
    error::field_error,
    scalars::{BigInt, DateTime, Duration},
};
use async_graphql::{Context, Result, SimpleObject};
use chimera_stores::telemetry::{Compression, Job, Policies, RollUp, Storage};
use chrono::TimeDelta;

/// The policies in force; null where the store has no such policy, and so does it never.
#[derive(Clone, Debug, SimpleObject)]
pub struct TelemetryPolicies {
    /// The age at which render events are compressed.
    pub compress_after: Option<Duration>,
    /// How long render events are kept.
    pub retain_raw: Option<Duration>,
    /// How long roll-ups of a minute are kept.
    pub retain_minutes: Option<Duration>,
    /// How long roll-ups of an hour are kept.
    pub retain_hours: Option<Duration>,
}

/// What compression does to the events that are compressed.
#[derive(Clone, Debug, SimpleObject)]
pub struct TelemetryCompression {
    /// Partitions that are compressed.
    pub partitions: u64,
    /// Their bytes before.
    pub bytes_before: BigInt,
    /// Their bytes now.
    pub bytes_after: BigInt,
}

/// Render events added up by a span of time.
#[derive(Clone, Debug, SimpleObject)]
pub struct TelemetryRollUp {
    /// The span.
    pub resolution: RenderResolution,
    /// How long its rows are kept; null: for ever.
    pub retain: Option<Duration>,
    /// Events before this are in it.
    pub fresh_to: Option<DateTime>,
    /// Bytes on disk.
    pub bytes: Option<BigInt>,
}

/// Something that the telemetry store does by itself.
#[derive(Clone, Debug, SimpleObject)]
pub struct TelemetryJob {
    /// What it does.
    pub name: String,
    /// How often.
    pub every: Option<Duration>,
    /// When it last ended well; null when it has not since this is known.
    pub last_success: Option<DateTime>,
    /// How often it has failed since this is known.
    pub failures: Option<u64>,
}

/// What the telemetry store holds and how it looks after itself, over all organisations.
#[derive(Clone, Debug, SimpleObject)]
pub struct TelemetryStorage {
    /// The policies in force.
    pub policies: TelemetryPolicies,
    /// Bytes on disk, of everything the store holds.
    pub bytes: Option<BigInt>,
    /// What compression does; null when nothing is compressed.
    pub compression: Option<TelemetryCompression>,
    /// The roll-ups, finest first.
    pub roll_ups: Vec<TelemetryRollUp>,
    /// What runs by itself.
    pub jobs: Vec<TelemetryJob>,
}

impl From<Policies> for TelemetryPolicies {
    fn from(policies: Policies) -> Self {
        let Policies { compress_after, retain_raw, retain_minutes, retain_hours } = policies;
        Self {
            compress_after: compress_after.and_then(duration),
            retain_raw: retain_raw.and_then(duration),
            retain_minutes: retain_minutes.and_then(duration),
            retain_hours: retain_hours.and_then(duration),
        }
    }
}

impl From<Compression> for TelemetryCompression {
    fn from(compression: Compression) -> Self {
        let Compression { partitions, bytes_before, bytes_after } = compression;
        Self { partitions, bytes_before: bytes_before.into(), bytes_after: bytes_after.into() }
    }
}

impl From<RollUp> for TelemetryRollUp {
    fn from(roll_up: RollUp) -> Self {
        Self {
            resolution: roll_up.resolution.into(),
            retain: roll_up.retain.and_then(duration),
            fresh_to: roll_up.fresh_to.map(Into::into),
            bytes: roll_up.bytes.map(Into::into),
        }
    }
}

impl From<Job> for TelemetryJob {
    fn from(job: Job) -> Self {
        let Job { name, every, last_success, failures } = job;
        Self { name, every: every.and_then(duration), last_success: last_success.map(Into::into), failures }
    }
}

impl From<Storage> for TelemetryStorage {
    fn from(storage: Storage) -> Self {
        Self {
            policies: storage.policies.into(),
            bytes: storage.bytes.map(Into::into),
            compression: storage.compression.map(Into::into),
            roll_ups: storage.roll_ups.into_iter().map(Into::into).collect(),
            jobs: storage.jobs.into_iter().map(Into::into).collect(),
        }
    }
}

/// The API's durations are not negative, nor are ages.
fn duration(age: TimeDelta) -> Option<Duration> {
    age.to_std().ok().map(Duration)
}

/// What the telemetry store says of itself.
///
/// # Errors
/// What the store says.
pub async fn storage(context: &Context<'_>) -> Result<Option<TelemetryStorage>> {
    let request = RequestContext::of(context)?;
    let call = async { request.stores().telemetry()?.storage(request.scope()).await };
    Ok(Some(call.await.map_err(|error| field_error(&error))?.into()))
}
