//! The questions about events over time, and their answers, as every telemetry adapter understands them.
//!
//! Types and their bounds alone: where buckets lie is settled in [`super::edges`], what values mean in
//! [`super::stats`].

use super::{STORE, Stage, Subject, TimeRange, check_range};
use crate::{Result, error::StoreError};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whole buckets of one answer at the most: more than any chart has pixels. One more may be cut by the range's ends.
pub const MAX_BUCKETS: usize = 10_000;
/// Entries of one ranking at the most.
pub const MAX_RANKED: u32 = 1_000;

/// What a bucket without events shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fill {
    /// The bucket is left out.
    None,
    /// The bucket is there, with count 0 and no values.
    Null,
    /// The bucket repeats the values of the last one before it that has any; count 0.
    Previous,
    /// The bucket's values lie on the line between its neighbours that have any, by the time of the buckets' beginnings;
    /// count 0.
    Linear,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    /// `duration_ms`.
    Duration,
    /// `cost_micros`.
    Cost,
    /// `frames`.
    Frames,
    /// `gpu_seconds`.
    GpuSeconds,
}

/// A question about events over time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatsQuery {
    /// Whose.
    pub subject: Subject,
    /// When.
    pub range: TimeRange,
    /// Where buckets begin: ascending, whole microseconds, the first not after the range's beginning, the last before
    /// its end. Bucket `i` is `edges[i] <= at < edges[i + 1]`, and the last one has no end but the range's. Only what
    /// lies in the range is counted. Empty: only the total is wanted. See [`super::edges`].
    pub edges: Vec<DateTime<Utc>>,
    /// What empty buckets show.
    pub fill: Fill,
    /// What is measured.
    pub measure: Measure,
    /// Only these stages; empty means any.
    pub stages: Vec<Stage>,
}

/// Aggregates of a measure. All values are `None` when there is nothing to aggregate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggregate {
    /// Events.
    pub count: u64,
    /// Events that failed.
    pub failed: u64,
    /// Sum.
    pub sum: Option<f64>,
    /// Mean.
    pub avg: Option<f64>,
    /// Least; exact at every resolution.
    pub min: Option<f64>,
    /// Greatest; exact at every resolution.
    pub max: Option<f64>,
    /// Median: nearest rank, within the answer's `percentile_error`, like the next two.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// Aggregates from `start` on, up to the next edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Its beginning, one of the query's edges; the first one may lie before the range.
    pub start: DateTime<Utc>,
    /// What it holds.
    pub aggregate: Aggregate,
    /// Whether its values were filled in.
    pub filled: bool,
}

/// How fine the rows were that an answer was made from. The coarsest counts where several took part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The events themselves.
    Raw,
    /// Roll-ups of a minute.
    Minute,
    /// Roll-ups of an hour.
    Hour,
    /// Roll-ups of a day.
    Day,
}

/// An answer to a [`StatsQuery`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Buckets in order of time.
    pub buckets: Vec<Bucket>,
    /// Over the whole range.
    pub total: Aggregate,
    /// The total cost in millionths of a US dollar, exact, whatever the measure.
    pub cost_micros: i64,
    /// What it was made from.
    pub resolution: Resolution,
    /// Every event of the range before this that was acknowledged before the question is counted. Not after the range's
    /// end nor after the time of the question.
    pub fresh_to: DateTime<Utc>,
    /// From here on the range was answered: what lies before is no longer kept. The range's beginning when all of it
    /// is there, its end when nothing is.
    pub available_from: DateTime<Utc>,
    /// Relative error bound of this answer's percentiles; 0 is exact.
    pub percentile_error: f64,
}

/// What is put in an order of merit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RankBy {
    /// Personas.
    Persona,
    /// Campaigns; events without one take no part.
    Campaign,
    /// Stages.
    Stage,
}

/// By what it is put in order: greatest first, ties by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RankOrder {
    /// By the number of events.
    Count,
    /// By the number of events that failed.
    Failed,
    /// By the sum of the measure.
    Sum,
    /// By its mean.
    Avg,
    /// By its greatest value.
    Max,
    /// By its 95th percentile, as it is answered.
    P95,
}

/// A question about who or what has most of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RankingQuery {
    /// Whose events.
    pub subject: Subject,
    /// When.
    pub range: TimeRange,
    /// What is ranked.
    pub by: RankBy,
    /// What is measured.
    pub measure: Measure,
    /// By what it is ranked.
    pub order: RankOrder,
    /// Only these stages; empty means any.
    pub stages: Vec<Stage>,
    /// Entries at the most: 1 to [`MAX_RANKED`].
    pub limit: u32,
}

/// What a ranking ranks. Ties are in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RankKey {
    /// A persona's id.
    Persona(Uuid),
    /// A campaign's id.
    Campaign(Uuid),
    /// A stage.
    Stage(Stage),
}

/// An answer to a [`RankingQuery`].
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Greatest first; only what has events.
    pub entries: Vec<(RankKey, Aggregate)>,
    /// As in [`Stats`].
    pub resolution: Resolution,
    /// As in [`Stats`].
    pub fresh_to: DateTime<Utc>,
    /// As in [`Stats`].
    pub available_from: DateTime<Utc>,
    /// As in [`Stats`].
    pub percentile_error: f64,
}

/// Refuses a range that runs backwards, edges that do not cover it in order, and more than [`MAX_BUCKETS`] of them.
///
/// # Errors
/// `Invalid`.
pub fn check_stats(query: &StatsQuery) -> Result<()> {
    let StatsQuery { range, edges, .. } = query;
    check_range(range)?;
    if edges.len() > MAX_BUCKETS + 1 {
        return Err(StoreError::invalid(STORE, format!("the range has more than {MAX_BUCKETS} buckets")));
    }
    let fine = |edge: &DateTime<Utc>| !edge.timestamp_subsec_nanos().is_multiple_of(1000);
    if !edges.is_sorted_by(|a, b| a < b) || edges.iter().any(fine) {
        return Err(StoreError::invalid(
            STORE,
            "the edges of buckets are whole microseconds, each later than the last",
        ));
    }
    let outside =
        edges.first().is_some_and(|first| *first > range.from) || edges.last().is_some_and(|last| *last >= range.to);
    if outside {
        return Err(StoreError::invalid(STORE, "the edges of buckets do not cover the range and nothing else"));
    }
    Ok(())
}

/// Refuses a range that runs backwards and a limit out of bounds.
///
/// # Errors
/// `Invalid`.
pub fn check_ranking(query: &RankingQuery) -> Result<()> {
    check_range(&query.range)?;
    if (1..=MAX_RANKED).contains(&query.limit) {
        return Ok(());
    }
    Err(StoreError::invalid(STORE, format!("a ranking has 1 to {MAX_RANKED} entries")))
}
