//! The telemetry port: the owner of render events, an append-only time series.
//!
//! Costs are integers of millionths of a US dollar, so that sums are exact. Where buckets lie is settled before a store
//! is asked ([`edges`]); what a store may leave to shared arithmetic is in [`stats`] and [`histogram`].

pub mod edges;
mod groups;
pub mod histogram;
mod questions;
mod sqlite;
pub mod stats;
mod storage;
mod timescale;

pub use questions::{
    Aggregate, Bucket, Fill, MAX_BUCKETS, MAX_RANKED, Measure, RankBy, RankKey, RankOrder, Ranking, RankingQuery,
    Resolution, Stats, StatsQuery, check_ranking, check_stats,
};
pub use sqlite::SqliteTelemetry;
pub use storage::{Compression, Job, Policies, RollUp, Storage};
pub use timescale::{TimescaleSettings, TimescaleTelemetry};

use crate::{
    Finding, Result, Scope,
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
    page::{Page, Slice},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// A step of making a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Stage {
    /// Writing the script.
    Script,
    /// Speaking it.
    Voice,
    /// Making the frames.
    Render,
    /// Encoding the file.
    Encode,
    /// Storing it.
    Upload,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Stage; 5] = [Stage::Script, Stage::Voice, Stage::Render, Stage::Encode, Stage::Upload];
}

/// One finished step of a render.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenderEvent {
    /// Its id; an event with an id already stored is absorbed.
    pub id: Uuid,
    /// The video.
    pub video_id: Uuid,
    /// Whose video.
    pub persona_id: Uuid,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// Which step.
    pub stage: Stage,
    /// When the step ended.
    pub at: DateTime<Utc>,
    /// How long it took, in milliseconds; not negative.
    pub duration_ms: i64,
    /// What it cost, in millionths of a US dollar; not negative.
    pub cost_micros: i64,
    /// Frames made; not negative.
    pub frames: i64,
    /// GPU time in seconds; finite, not negative.
    pub gpu_seconds: f64,
    /// Whether it succeeded.
    pub succeeded: bool,
}

/// Whose events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// All of the organisation.
    Organization,
    /// Of one persona.
    Persona(Uuid),
    /// Of one campaign.
    Campaign(Uuid),
    /// Of one video.
    Video(Uuid),
}

/// `from <= at < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// Inclusive.
    pub from: DateTime<Utc>,
    /// Exclusive; after `from`.
    pub to: DateTime<Utc>,
}

/// A page of events, newest first by `at` (then id).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventPageQuery {
    /// Whose.
    pub subject: Subject,
    /// When; `None` is any time.
    pub range: Option<TimeRange>,
    /// Only these stages; empty means any.
    pub stages: Vec<Stage>,
    /// Which part.
    pub slice: Slice,
}

/// How an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Stored now.
    pub inserted: u64,
    /// Absorbed because their id was stored before (or twice in the batch).
    pub duplicates: u64,
}

/// What a telemetry adapter can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `sqlite`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// Events of one append at the most.
    pub max_append: usize,
    /// Relative error bound of percentiles; 0 is exact.
    pub percentile_error: f64,
    /// Whether it drops old events by itself.
    pub retention: bool,
    /// Whether an acknowledged append survives `kill -9`.
    pub durable: bool,
}

/// What a telemetry store implements.
#[async_trait]
pub trait TelemetryAdapter: Send + Sync + 'static {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// Answers when the store can be read and written.
    async fn health(&self) -> Result<()>;

    /// What its operator should know about the store's own state; nothing when all is well.
    async fn findings(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// Lets go of what is open, in good order; nothing is asked afterwards. A store that is never closed loses nothing.
    async fn close(&self) {}

    /// Stores events, all or none; idempotent by id within an organisation.
    async fn append(&self, scope: &Scope, events: &[RenderEvent]) -> Result<Appended>;

    /// Events by id, one result per id; absent is `None`.
    async fn events(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<RenderEvent>>>;

    /// One page per query, in as few statements as the store can. Sort position: `Int` microseconds of `at`, descending.
    async fn event_pages(&self, scope: &Scope, queries: &[EventPageQuery]) -> Result<Vec<Page<RenderEvent>>>;

    /// One answer per query.
    async fn stats(&self, scope: &Scope, queries: &[StatsQuery]) -> Result<Vec<Stats>>;

    /// One answer per query.
    async fn rankings(&self, scope: &Scope, queries: &[RankingQuery]) -> Result<Vec<Ranking>>;

    /// What the store holds and how it looks after itself, over all organisations.
    async fn storage(&self) -> Result<Storage>;

    /// Removes events before `before` in every organisation; how many.
    async fn retain(&self, before: DateTime<Utc>) -> Result<u64>;
}

/// The telemetry handle.
#[derive(Clone)]
pub struct Telemetry {
    guard: Guard,
    adapter: Arc<dyn TelemetryAdapter>,
}

const STORE: Store = Store::Telemetry;

impl Telemetry {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn TelemetryAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`TelemetryAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`TelemetryAdapter::close`].
    pub async fn close(&self) {
        self.adapter.close().await;
    }

    /// See [`TelemetryAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`TelemetryAdapter::findings`].
    pub async fn findings(&self, scope: &Scope) -> Result<Vec<Finding>> {
        self.guard.call(scope, "findings", Idempotence::Read, || self.adapter.findings()).await
    }

    /// See [`TelemetryAdapter::append`]. `Invalid` names the first event out of bounds. Idempotent, hence repeatable.
    pub async fn append(&self, scope: &Scope, events: &[RenderEvent]) -> Result<Appended> {
        let max = self.adapter.capabilities().max_append;
        if events.len() > max {
            return Err(StoreError::invalid(STORE, format!("at most {max} events fit one append")));
        }
        for (index, event) in events.iter().enumerate() {
            let bad = event.duration_ms < 0
                || event.cost_micros < 0
                || event.frames < 0
                || !event.gpu_seconds.is_finite()
                || event.gpu_seconds < 0.0;
            if bad {
                let message =
                    format!("event {index}: durations, costs, frames and GPU seconds are finite and not negative");
                return Err(StoreError::invalid(STORE, message));
            }
        }
        self.guard.call(scope, "append", Idempotence::Read, || self.adapter.append(scope, events)).await
    }

    /// See [`TelemetryAdapter::events`].
    pub async fn events(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<RenderEvent>>> {
        let call = || self.adapter.events(scope, ids);
        one_per_key(STORE, ids.len(), self.guard.call(scope, "events", Idempotence::Read, call).await?)
    }

    /// See [`TelemetryAdapter::event_pages`].
    pub async fn event_pages(&self, scope: &Scope, queries: &[EventPageQuery]) -> Result<Vec<Page<RenderEvent>>> {
        for query in queries {
            query.slice.check(STORE)?;
            query.range.as_ref().map_or(Ok(()), check_range)?;
        }
        let call = || self.adapter.event_pages(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "event_pages", Idempotence::Read, call).await?)
    }

    /// See [`TelemetryAdapter::stats`].
    pub async fn stats(&self, scope: &Scope, queries: &[StatsQuery]) -> Result<Vec<Stats>> {
        for query in queries {
            check_stats(query)?;
        }
        let call = || self.adapter.stats(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "stats", Idempotence::Read, call).await?)
    }

    /// See [`TelemetryAdapter::rankings`].
    pub async fn rankings(&self, scope: &Scope, queries: &[RankingQuery]) -> Result<Vec<Ranking>> {
        for query in queries {
            check_ranking(query)?;
        }
        let call = || self.adapter.rankings(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "rankings", Idempotence::Read, call).await?)
    }

    /// See [`TelemetryAdapter::storage`].
    pub async fn storage(&self, scope: &Scope) -> Result<Storage> {
        self.guard.call(scope, "storage", Idempotence::Read, || self.adapter.storage()).await
    }

    /// See [`TelemetryAdapter::retain`].
    pub async fn retain(&self, scope: &Scope, before: DateTime<Utc>) -> Result<u64> {
        self.guard.call(scope, "retain", Idempotence::Once, || self.adapter.retain(before)).await
    }
}

fn check_range(range: &TimeRange) -> Result<()> {
    if range.from < range.to { Ok(()) } else { Err(StoreError::invalid(STORE, "the range ends before it begins")) }
}
