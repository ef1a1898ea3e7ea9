//! Recording the steps of renders. Not audited: see the module above.

use super::{Outcome, Refusal, UserError, editor, input, payload};
use crate::graphql::{
    context::RequestContext,
    scalars::{BigInt, DateTime, Duration},
    types::telemetry::RenderStage,
};
use async_graphql::{Context, ID, InputObject, Object, Result};
use chimera_stores::telemetry::RenderEvent;
use uuid::Uuid;

/// The most events of one mutation.
const MAX_BATCH: usize = 1_000;

/// Finished steps of renders.
#[derive(Clone, Debug, InputObject)]
pub struct RecordRenderEventsInput {
    /// The steps: 1 to 1,000.
    pub events: Vec<RenderEventInput>,
}

/// One finished step of a render. Its persona and campaign are those of the video now.
#[derive(Clone, Debug, InputObject)]
pub struct RenderEventInput {
    /// A UUID of your own making: an event with an id that is stored already is absorbed, so a batch may be sent again.
    /// Made here when absent.
    pub id: Option<String>,
    /// The video.
    pub video_id: ID,
    /// Which step.
    pub stage: RenderStage,
    /// When it ended.
    pub at: DateTime,
    /// How long it took.
    pub duration: Duration,
    /// What it cost, in millionths of a US dollar; not negative.
    #[graphql(default_with = "BigInt::from(0_i64)")]
    pub cost_micros: BigInt,
    /// Frames made; not negative.
    #[graphql(default_with = "BigInt::from(0_i64)")]
    pub frames: BigInt,
    /// GPU time in seconds; not negative.
    #[graphql(default)]
    pub gpu_seconds: f64,
    /// Whether it succeeded.
    #[graphql(default = true)]
    pub succeeded: bool,
}

payload! {
    /// What became of `recordRenderEvents`.
    direct RecordRenderEventsPayload {
        /// Events stored now.
        inserted: u64,
        /// Events absorbed because their id was stored before, or twice in the argument.
        duplicates: u64
    }
}

/// Mutations of telemetry.
#[derive(Default)]
pub struct TelemetryMutation;

#[Object]
impl TelemetryMutation {
    /// Records finished steps of renders: all of them or none. Does not appear in the audit log.
    async fn record_render_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The steps.")] input: RecordRenderEventsInput,
    ) -> Result<Option<RecordRenderEventsPayload>> {
        RecordRenderEventsPayload::of(record(editor(context)?, input).await)
    }
}

async fn record(request: &RequestContext, input: RecordRenderEventsInput) -> Outcome<(u64, u64, Vec<UserError>)> {
    input::check_count(&["input", "events"], input.events.len(), MAX_BATCH)?;
    let mut events = Vec::with_capacity(input.events.len());
    for (index, event) in input.events.into_iter().enumerate() {
        events.push(read(&index.to_string(), event)?);
    }
    let telemetry = request.stores().telemetry()?;
    let ids = events.iter().map(|event| event.video_id).collect();
    let videos = input::rows::<entity::video::Model>(request, ids).await?;
    let mut missing = Vec::new();
    for (index, event) in events.iter_mut().enumerate() {
        match videos.get(&event.video_id) {
            Some(video) => {
                event.persona_id = video.persona_id;
                event.campaign_id = video.campaign_id;
            }
            None => {
                let field = input::path(&["input", "events", &index.to_string(), "videoId"]);
                missing.push(input::missing("video", field));
            }
        }
    }
    if !missing.is_empty() {
        return Err(Refusal::User(missing));
    }
    let appended = telemetry.append(request.scope(), &events).await?;
    Ok((appended.inserted, appended.duplicates, Vec::new()))
}

/// The event, but for what the video knows.
fn read(index: &str, event: RenderEventInput) -> Outcome<RenderEvent> {
    let at = |name| ["input", "events", index, name];
    let id = match event.id {
        None => Uuid::now_v7(),
        Some(id) => Uuid::try_parse(&id).map_err(|_| UserError::invalid(&at("id"), "this is not a UUID"))?,
    };
    if !event.gpu_seconds.is_finite() || event.gpu_seconds < 0.0 {
        return Err(UserError::invalid(&at("gpuSeconds"), "this must not be negative").into());
    }
    Ok(RenderEvent {
        id,
        video_id: input::video_id(&event.video_id, &at("videoId"))?,
        persona_id: Uuid::nil(),
        campaign_id: None,
        stage: event.stage.into(),
        at: event.at.0,
        duration_ms: input::milliseconds(&at("duration"), event.duration)?,
        cost_micros: input::quantity(&at("costMicros"), &event.cost_micros)?,
        frames: input::quantity(&at("frames"), &event.frames)?,
        gpu_seconds: event.gpu_seconds,
        succeeded: event.succeeded,
    })
}
