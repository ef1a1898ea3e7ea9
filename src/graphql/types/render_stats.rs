//! `RenderStats`: how renders went over time, and in the period before.

use super::telemetry::{RenderStage, TimeRange, stages};
use crate::graphql::{
    context::RequestContext,
    error::bad_input,
    keys::telemetry::RenderStatsOf,
    scalars::{BigInt, DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    StoreError,
    telemetry::{
        self, MAX_BUCKETS, StatsQuery, Subject, check_stats,
        edges::{self, Cut, Steps, Zone},
    },
};

/// What a bucket without events shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "telemetry::Fill")]
pub enum Fill {
    /// It is left out.
    None,
    /// It is there, without values.
    Null,
    /// It repeats the values of the last bucket before it that has any.
    Previous,
    /// Its values lie on the line between its neighbours that have any, by the time at which they begin.
    Linear,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "telemetry::Measure")]
pub enum RenderMeasure {
    /// Time of a step, in milliseconds.
    Duration,
    /// Cost of a step, in millionths of a US dollar.
    Cost,
    /// Frames made.
    Frames,
    /// GPU time, in seconds.
    GpuSeconds,
}

/// A step of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "edges::Unit")]
pub enum CalendarUnit {
    /// From midnight to midnight: 23 or 25 hours where clocks are changed.
    Day,
    /// From Monday to Monday, after ISO 8601.
    Week,
    /// From the first to the first.
    Month,
}

/// How fine the rows were that an answer was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "telemetry::Resolution")]
pub enum RenderResolution {
    /// The events themselves.
    Raw,
    /// Roll-ups of a minute.
    Minute,
    /// Roll-ups of an hour.
    Hour,
    /// Roll-ups of a day.
    Day,
}

/// A question about renders over time. At most one of `bucket`, `unit` and `maxPoints` says how the range is cut; only
/// the total is given when none does.
#[derive(Clone, Debug, InputObject)]
#[graphql(name = "RenderStatsInput")]
pub struct RenderStatsArgs {
    /// When.
    pub range: TimeRange,
    /// Width of a bucket, at least a second. Whole days, and hours that divide a day, are aligned to midnight in
    /// `timeZone`; every other width, and every width in UTC, is aligned to the Unix epoch.
    pub bucket: Option<Duration>,
    /// Buckets by the calendar of `timeZone`.
    pub unit: Option<CalendarUnit>,
    /// Buckets at the most, 1 to 10,000: their width is the smallest round one that gives no more (1, 5, 15 or 30 seconds
    /// or minutes, 1, 3, 6 or 12 hours, a day, a week, 1 or 3 months, 1, 5, 10, 100 or 1,000 years).
    pub max_points: Option<i32>,
    /// In which zone days begin: a name of the IANA database such as `Europe/Berlin`.
    #[graphql(default = "UTC")]
    pub time_zone: String,
    /// What empty buckets show.
    #[graphql(default_with = "Fill::Null")]
    pub fill: Fill,
    /// What is measured.
    #[graphql(default_with = "RenderMeasure::Duration")]
    pub measure: RenderMeasure,
    /// Only these stages.
    pub stage: Option<Vec<RenderStage>>,
}

/// Aggregates of a measure. All values but the counts are null when there is nothing to aggregate.
#[derive(Clone, Debug, SimpleObject)]
pub struct RenderAggregate {
    /// Steps.
    pub count: u64,
    /// Steps that failed.
    pub failed: u64,
    /// Sum.
    pub sum: Option<f64>,
    /// Mean.
    pub avg: Option<f64>,
    /// Least.
    pub min: Option<f64>,
    /// Greatest.
    pub max: Option<f64>,
    /// Median. Percentiles are within the answer's `percentileError`.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl From<telemetry::Aggregate> for RenderAggregate {
    fn from(aggregate: telemetry::Aggregate) -> Self {
        let telemetry::Aggregate { count, failed, sum, avg, min, max, p50, p95, p99 } = aggregate;
        Self { count, failed, sum, avg, min, max, p50, p95, p99 }
    }
}

/// Aggregates of one span of time.
#[derive(Clone, Debug, SimpleObject)]
pub struct RenderBucket {
    /// Its beginning. Its end is the beginning of the next one.
    pub start: DateTime,
    /// What it holds.
    pub aggregate: RenderAggregate,
    /// Whether its values were filled in.
    pub filled: bool,
}

/// A span of time: `from` is in it, `to` is not.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub struct TimeSpan {
    /// Its beginning.
    pub from: DateTime,
    /// Its end.
    pub to: DateTime,
}

impl TimeSpan {
    /// What a store still has of a range; `None` when it has nothing of it.
    pub fn available(range: &telemetry::TimeRange, from: chrono::DateTime<chrono::Utc>) -> Option<Self> {
        (from < range.to).then(|| Self { from: from.into(), to: range.to.into() })
    }
}

/// A question, ready to be asked of the period before as well.
#[derive(Clone, Debug)]
struct Question {
    subject: Subject,
    range: telemetry::TimeRange,
    steps: Steps,
    fill: telemetry::Fill,
    measure: telemetry::Measure,
    stages: Vec<telemetry::Stage>,
}

impl Question {
    fn new(subject: Subject, args: RenderStatsArgs) -> Result<Self> {
        let zone = zone(&args.time_zone)?;
        let cut = match (args.bucket, args.unit, args.max_points) {
            (None, None, None) => Cut::Whole,
            (Some(bucket), None, None) => Cut::Width(bucket.0),
            (None, Some(unit), None) => Cut::Unit(unit.into()),
            (None, None, Some(count)) => Cut::AtMost(points(count)?),
            _ => return Err(bad_input("give at most one of `bucket`, `unit` and `maxPoints`")),
        };
        let range = args.range.into();
        let (fill, measure, stages) = (args.fill.into(), args.measure.into(), stages(args.stage));
        let steps = Steps::new(&range, cut, zone).map_err(refused)?;
        Ok(Self { subject, range, steps, fill, measure, stages })
    }

    fn previous(&self) -> Result<Self> {
        let range = self.steps.previous(&self.range).map_err(refused)?;
        Ok(Self { range, ..self.clone() })
    }

    fn query(&self) -> Result<StatsQuery> {
        let query = StatsQuery {
            subject: self.subject,
            range: self.range,
            edges: self.steps.edges(&self.range).map_err(refused)?,
            fill: self.fill,
            measure: self.measure,
            stages: self.stages.clone(),
        };
        // Checked here so that one bad question does not fail the batch of others.
        check_stats(&query).map_err(refused)?;
        Ok(query)
    }

    async fn ask(self, context: &Context<'_>) -> Result<RenderStats> {
        let request = RequestContext::of(context)?;
        let answer = request.load(RenderStatsOf(self.query()?));
        if !context.look_ahead().field("previous").exists() {
            return Ok(RenderStats::new(self.clone(), answer.await?));
        }
        // Both periods go out in one batch; `previous` finds its answer there, or tells its own error.
        let before = async {
            if let Ok(query) = self.previous().and_then(|question| question.query()) {
                let _ = request.load(RenderStatsOf(query)).await;
            }
        };
        let (stats, ()) = futures_util::future::join(answer, before).await;
        Ok(RenderStats::new(self.clone(), stats?))
    }
}

/// How renders went.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct RenderStats {
    #[graphql(skip)]
    question: Question,
    /// In order of time.
    pub buckets: Vec<RenderBucket>,
    /// Over the whole range.
    pub total: RenderAggregate,
    /// What all of it cost, in millionths of a US dollar; exact.
    pub cost_micros: BigInt,
    /// What the answer was made from. The store picks the coarsest rows that can tell the buckets apart, or the finest it
    /// still has.
    pub resolution: RenderResolution,
    /// All events of the range before this that were recorded before the question are counted; later ones may be missing.
    /// Never after the range's end nor after now.
    pub fresh_to: DateTime,
    /// The part of the range that could be answered: what lies before it is no longer kept. Null when nothing is.
    pub available_range: Option<TimeSpan>,
    /// The bound on the relative error of percentiles: with 0.01 a `p95` of 200 stands for an exact one of 198 to 202. 0
    /// is exact. Counts, sums, least and greatest are exact always.
    pub percentile_error: f64,
}

impl RenderStats {
    fn new(question: Question, stats: telemetry::Stats) -> Self {
        let bucket = |bucket: telemetry::Bucket| RenderBucket {
            start: bucket.start.into(),
            aggregate: bucket.aggregate.into(),
            filled: bucket.filled,
        };
        Self {
            buckets: stats.buckets.into_iter().map(bucket).collect(),
            total: stats.total.into(),
            cost_micros: stats.cost_micros.into(),
            resolution: stats.resolution.into(),
            fresh_to: stats.fresh_to.into(),
            available_range: TimeSpan::available(&question.range, stats.available_from),
            percentile_error: stats.percentile_error,
            question,
        }
    }
}

#[ComplexObject]
impl RenderStats {
    /// The same question about the period before. With `unit` both ends of the range go back by as many days, weeks or
    /// months as it takes to cover it, so that 1 to 10 March is compared with 1 to 10 February; a range of whole local
    /// days is compared with as many days before it; any other with as long a time that ends where it begins.
    async fn previous(&self, context: &Context<'_>) -> Result<Option<RenderStats>> {
        // Boxed: the period before has a period before.
        Ok(Some(Box::pin(self.question.previous()?.ask(context)).await?))
    }
}

/// Aggregates of a subject's events.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn stats(context: &Context<'_>, subject: Subject, args: RenderStatsArgs) -> Result<Option<RenderStats>> {
    // Boxed, as what is awaited in a load is: every field of a video would be moved about with room for it.
    Box::pin(Question::new(subject, args)?.ask(context)).await.map(Some)
}

fn zone(name: &str) -> Result<Zone> {
    edges::zone(name).map_err(|error| bad_input(format!("`timeZone`: {}", error.message())))
}

fn points(count: i32) -> Result<usize> {
    let count = usize::try_from(count).ok().filter(|count| (1..=MAX_BUCKETS).contains(count));
    count.ok_or_else(|| bad_input(format!("`maxPoints` lies between 1 and {MAX_BUCKETS}")))
}

fn refused(error: StoreError) -> async_graphql::Error {
    bad_input(error.message())
}
