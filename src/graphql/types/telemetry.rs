//! Render events; their aggregates are in [`super::render_stats`] and [`super::render_ranking`].

use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    error::bad_input,
    ids::NodeId,
    keys::telemetry::{RenderEventById, RenderEventsOf},
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::{BigInt, DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    Position, SortValue,
    telemetry::{self, EventPageQuery, Subject},
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
    pub async fn id(&self) -> NodeId {
        NodeId::RenderEvent(self.key)
    }

    /// The video.
    async fn video(&self, context: &Context<'_>) -> Result<Option<One<Video>>> {
        Video::load(context, Some(self.video_id)).await
    }

    /// Whose video.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, Some(self.persona_id)).await
    }

    /// For which campaign.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
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

/// The stages of an argument as a store takes them.
pub fn stages(stage: Option<Vec<RenderStage>>) -> Vec<telemetry::Stage> {
    stage.unwrap_or_default().into_iter().map(Into::into).collect()
}
