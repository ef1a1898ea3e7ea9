//! Render events and their aggregates.

use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    error::bad_input,
    ids::NodeId,
    keys::telemetry::{RenderEventById, RenderEventsOf, RenderStatsOf},
    page::{Connection, Listed, PageArgs},
    scalars::{BigInt, DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Result, SimpleObject};
use chimera_stores::{
    Position, SortValue,
    telemetry::{
        self, EventPageQuery, StatsQuery, Subject, check_stats,
        edges::{Cut, Steps, Zone},
    },
};
use uuid::Uuid;

use super::{campaign::Campaign, persona::Persona, video::Video};

/// A step of making a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "telemetry::Stage")]
pub enum RenderStage {
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
    /// Its values lie on the line between its neighbours that have any.
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

/// A span of time: `from` is in it, `to` is not.
#[derive(Clone, Copy, Debug, InputObject)]
pub struct TimeRange {
    /// Its beginning.
    pub from: DateTime,
    /// Its end, after the beginning.
    pub to: DateTime,
}

impl From<TimeRange> for telemetry::TimeRange {
    fn from(range: TimeRange) -> Self {
        Self { from: range.from.0, to: range.to.0 }
    }
}

/// A question about renders over time.
#[derive(Clone, Debug, InputObject)]
#[graphql(name = "RenderStatsInput")]
pub struct RenderStatsArgs {
    /// When.
    pub range: TimeRange,
    /// Width of a bucket, at least a second, aligned to the Unix epoch; only the total is given when absent.
    pub bucket: Option<Duration>,
    /// What empty buckets show.
    #[graphql(default_with = "Fill::Null")]
    pub fill: Fill,
    /// What is measured.
    #[graphql(default_with = "RenderMeasure::Duration")]
    pub measure: RenderMeasure,
    /// Only these stages.
    pub stage: Option<Vec<RenderStage>>,
}

/// One finished step of a render.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct RenderEvent {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    video_id: Uuid,
    #[graphql(skip)]
    persona_id: Uuid,
    #[graphql(skip)]
    campaign_id: Option<Uuid>,
    /// Which step.
    pub stage: RenderStage,
    /// When it ended.
    pub at: DateTime,
    /// How long it took.
    pub duration: Duration,
    /// What it cost, in millionths of a US dollar.
    pub cost_micros: BigInt,
    /// Frames made.
    pub frames: BigInt,
    /// GPU time in seconds.
    pub gpu_seconds: f64,
    /// Whether it succeeded.
    pub succeeded: bool,
}

impl Listed for RenderEvent {
    const NAME: &'static str = "RenderEvent";
}

impl From<telemetry::RenderEvent> for RenderEvent {
    fn from(event: telemetry::RenderEvent) -> Self {
        Self {
            key: event.id,
            video_id: event.video_id,
            persona_id: event.persona_id,
            campaign_id: event.campaign_id,
            stage: event.stage.into(),
            at: event.at.into(),
            duration: Duration(std::time::Duration::from_millis(u64::try_from(event.duration_ms).unwrap_or_default())),
            cost_micros: event.cost_micros.into(),
            frames: event.frames.into(),
            gpu_seconds: event.gpu_seconds,
            succeeded: event.succeeded,
        }
    }
}

#[ComplexObject]
impl RenderEvent {
    /// Global id.
    pub async fn id(&self) -> ID {
        NodeId::RenderEvent(self.key).to_id()
    }

    /// The video.
    async fn video(&self, context: &Context<'_>) -> Result<Option<Video>> {
        Video::load(context, Some(self.video_id)).await
    }

    /// Whose video.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<Persona>> {
        Persona::load(context, Some(self.persona_id)).await
    }

    /// For which campaign.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<Campaign>> {
        Campaign::load(context, self.campaign_id).await
    }
}

impl RenderEvent {
    /// The event with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Uuid) -> Result<Option<Self>> {
        Ok(RequestContext::of(context)?.load(RenderEventById(id)).await?.map(Self::from))
    }
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
    /// Median.
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
    /// Its beginning.
    pub start: DateTime,
    /// What it holds.
    pub aggregate: RenderAggregate,
    /// Whether its values were filled in.
    pub filled: bool,
}

/// How renders went.
#[derive(Clone, Debug, SimpleObject)]
pub struct RenderStats {
    /// In order of time.
    pub buckets: Vec<RenderBucket>,
    /// Over the whole range.
    pub total: RenderAggregate,
    /// What all of it cost, in millionths of a US dollar; exact.
    pub cost_micros: BigInt,
}

impl From<telemetry::Stats> for RenderStats {
    fn from(stats: telemetry::Stats) -> Self {
        let bucket = |bucket: telemetry::Bucket| RenderBucket {
            start: bucket.start.into(),
            aggregate: bucket.aggregate.into(),
            filled: bucket.filled,
        };
        Self {
            buckets: stats.buckets.into_iter().map(bucket).collect(),
            total: stats.total.into(),
            cost_micros: stats.cost_micros.into(),
        }
    }
}

/// A page of render events.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn events(
    context: &Context<'_>,
    subject: Subject,
    range: Option<TimeRange>,
    stage: Option<Vec<RenderStage>>,
    args: PageArgs,
) -> Result<Option<Connection<RenderEvent>>> {
    let request = RequestContext::of(context)?;
    let list = ListId::new(RenderEvent::NAME, "at");
    if range.is_some_and(|range| range.from >= range.to) {
        return Err(bad_input("`range` ends before it begins"));
    }
    let query = EventPageQuery {
        subject,
        range: range.map(Into::into),
        stages: stages(stage),
        slice: args.slice(request, list)?,
    };
    let page = request.load(RenderEventsOf(query)).await?;
    Ok(Some(Connection::new(page, list, |event: &telemetry::RenderEvent| Position {
        value: SortValue::Int(event.at.timestamp_micros()),
        id: event.id,
    })))
}

/// Aggregates of a subject's events.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn stats(context: &Context<'_>, subject: Subject, args: RenderStatsArgs) -> Result<Option<RenderStats>> {
    let range = args.range.into();
    let cut = args.bucket.map_or(Cut::Whole, |bucket| Cut::Width(bucket.0));
    let edges = Steps::new(&range, cut, Zone::UTC).and_then(|steps| steps.edges(&range));
    let query = StatsQuery {
        subject,
        range,
        edges: edges.map_err(|error| bad_input(error.message()))?,
        fill: args.fill.into(),
        measure: args.measure.into(),
        stages: stages(args.stage),
    };
    // Checked here so that one bad question does not fail the batch of others.
    check_stats(&query).map_err(|error| bad_input(error.message()))?;
    Ok(Some(RequestContext::of(context)?.load(RenderStatsOf(query)).await?.into()))
}

fn stages(stage: Option<Vec<RenderStage>>) -> Vec<telemetry::Stage> {
    stage.unwrap_or_default().into_iter().map(Into::into).collect()
}
