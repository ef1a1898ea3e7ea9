//! Making and changing videos in the catalogue. Their bytes are assets, their rendering is telemetry.

use super::{Outcome, check_text, commit, current, editor, expect_version, input, now, payload, unit};
use crate::graphql::{
    context::RequestContext,
    scalars::{DateTime, Duration},
    types::{
        service::StoreName,
        video::{Video, VideoStatus},
    },
};
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};
use entity::video::{Model, Status};
use uuid::Uuid;

/// The most bytes of a title.
const MAX_TITLE: usize = 512;
/// The most bytes of a description.
const MAX_DESCRIPTION: usize = 16_384;
/// The most bytes of a category.
const MAX_CATEGORY: usize = 128;

/// A new video.
#[derive(Clone, Debug, InputObject)]
pub struct CreateVideoInput {
    /// Whose video it is.
    pub persona_id: ID,
    /// For which campaign.
    pub campaign_id: Option<ID>,
    /// Title shown to people: 1 to 512 bytes.
    pub title: String,
    /// Longer text: at most 16,384 bytes.
    pub description: Option<String>,
    /// Where it stands.
    #[graphql(default_with = "VideoStatus::Queued")]
    pub status: VideoStatus,
    /// A single category: at most 128 bytes.
    pub category: Option<String>,
    /// Tags: at most 32 of at most 64 bytes.
    #[graphql(default)]
    pub tags: Vec<String>,
    /// How long it runs.
    pub duration: Option<Duration>,
    /// The rendered file.
    pub asset_id: Option<ID>,
    /// A still.
    pub thumbnail_id: Option<ID>,
    /// When it was published; now when absent and the status is PUBLISHED.
    pub published_at: Option<DateTime>,
    /// The id in the system it comes from, at most 256 bytes; unique in the organisation.
    pub external_id: Option<String>,
}

/// A change of a video; what is absent stays as it is.
#[derive(Clone, Debug, InputObject)]
pub struct UpdateVideoInput {
    /// The video.
    pub id: ID,
    /// Change only this version.
    pub expected_version: Option<i64>,
    /// A new title.
    pub title: Option<String>,
    /// A new description; null takes it away.
    pub description: MaybeUndefined<String>,
    /// A new status. A video that becomes PUBLISHED without a time is published now.
    pub status: Option<VideoStatus>,
    /// A new category; null takes it away.
    pub category: MaybeUndefined<String>,
    /// New tags instead of all it has.
    pub tags: Option<Vec<String>>,
    /// A new length; null takes it away.
    pub duration: MaybeUndefined<Duration>,
    /// Another campaign; null takes it away.
    pub campaign_id: MaybeUndefined<ID>,
    /// Another rendered file; null takes it away.
    pub asset_id: MaybeUndefined<ID>,
    /// Another still; null takes it away.
    pub thumbnail_id: MaybeUndefined<ID>,
    /// Another time of publication; null takes it away.
    pub published_at: MaybeUndefined<DateTime>,
}

payload! {
    /// What became of `createVideo`.
    CreateVideoPayload {
        /// The new video.
        video: Video
    }
}

payload! {
    /// What became of `updateVideo`.
    UpdateVideoPayload {
        /// The video as it is now.
        video: Video
    }
}

/// Mutations of videos.
#[derive(Default)]
pub struct VideoMutation;

#[Object]
impl VideoMutation {
    /// Puts a video into the catalogue.
    async fn create_video(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The video.")] input: CreateVideoInput,
    ) -> Result<Option<CreateVideoPayload>> {
        CreateVideoPayload::of(create(editor(context)?, input).await)
    }

    /// Changes a video.
    async fn update_video(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdateVideoInput,
    ) -> Result<Option<UpdateVideoPayload>> {
        UpdateVideoPayload::of(update(editor(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreateVideoInput) -> Outcome<(Video, Vec<StoreName>)> {
    let now = now(request);
    let campaign_id = input.campaign_id.map(|id| input::campaign_id(&id, &["input", "campaignId"])).transpose()?;
    let asset_id = input.asset_id.map(|id| input::asset_id(&id, &["input", "assetId"])).transpose()?;
    let thumbnail_id = input.thumbnail_id.map(|id| input::asset_id(&id, &["input", "thumbnailId"])).transpose()?;
    let duration_ms = input.duration.map(|span| input::milliseconds(&["input", "duration"], span)).transpose()?;
    let mut row = Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        external_id: input::external_id(&["input", "externalId"], input.external_id)?,
        persona_id: input::persona_id(&input.persona_id, &["input", "personaId"])?,
        campaign_id,
        title: input::text(&["input", "title"], input.title, MAX_TITLE)?,
        description: input::optional(&["input", "description"], input.description, MAX_DESCRIPTION)?,
        status: input.status.into(),
        category: input::optional(&["input", "category"], input.category, MAX_CATEGORY)?,
        tags: entity::Strings(input::tags(&["input", "tags"], input.tags)?),
        duration_ms,
        asset_id,
        thumbnail_asset_id: thumbnail_id,
        published_at: input.published_at.map(|at| at.0),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    if row.status == Status::Published {
        row.published_at.get_or_insert(now);
    }
    let persona = input::reference(row.persona_id, &["input", "personaId"]);
    let personas = async { input::known::<entity::persona::Model>(request, "persona", &[persona]).await };
    tokio::try_join!(personas, check_references(request, None, &row))?;
    let mut work = unit(request, "createVideo");
    work.insert(&row);
    let pending = commit(request, work).await?;
    Ok((row.into(), pending))
}

async fn update(request: &RequestContext, input: UpdateVideoInput) -> Outcome<(Video, Vec<StoreName>)> {
    let id = input::video_id(&input.id, &["input", "id"])?;
    let before: Model = current(request, id, &["input", "id"], "video").await?;
    expect_version(input.expected_version, before.version)?;
    let now = now(request);
    let mut after = before.clone();
    if let Some(title) = input.title {
        check_text(&["input", "title"], &title, MAX_TITLE)?;
        after.title = title;
    }
    if let Some(tags) = input.tags {
        after.tags = entity::Strings(input::tags(&["input", "tags"], tags)?);
    }
    input::change(&mut after.description, input.description, |description| {
        input::text(&["input", "description"], description, MAX_DESCRIPTION)
    })?;
    input::change(&mut after.category, input.category, |category| {
        input::text(&["input", "category"], category, MAX_CATEGORY)
    })?;
    input::change(&mut after.duration_ms, input.duration, |span| input::milliseconds(&["input", "duration"], span))?;
    input::change(&mut after.campaign_id, input.campaign_id, |id| input::campaign_id(&id, &["input", "campaignId"]))?;
    input::change(&mut after.asset_id, input.asset_id, |id| input::asset_id(&id, &["input", "assetId"]))?;
    input::change(&mut after.thumbnail_asset_id, input.thumbnail_id, |id| {
        input::asset_id(&id, &["input", "thumbnailId"])
    })?;
    input::change(&mut after.published_at, input.published_at, |at| Ok(at.0))?;
    if let Some(status) = input.status {
        after.status = status.into();
        if after.status == Status::Published && before.status != Status::Published {
            after.published_at.get_or_insert(now);
        }
    }
    if after == before {
        return Ok((before.into(), Vec::new()));
    }
    check_references(request, Some(&before), &after).await?;
    after.version += 1;
    after.updated_at = now;
    let mut work = unit(request, "updateVideo");
    work.update(&before, &after);
    let pending = commit(request, work).await?;
    Ok((after.into(), pending))
}

/// Refuses references that are new and lead nowhere; both assets in one read.
async fn check_references(request: &RequestContext, before: Option<&Model>, after: &Model) -> Outcome<()> {
    let old = |column: fn(&Model) -> Option<Uuid>| before.and_then(column);
    let campaign = input::new_reference(old(|row| row.campaign_id), after.campaign_id, &["input", "campaignId"]);
    let asset = input::new_reference(old(|row| row.asset_id), after.asset_id, &["input", "assetId"]);
    let thumbnail =
        input::new_reference(old(|row| row.thumbnail_asset_id), after.thumbnail_asset_id, &["input", "thumbnailId"]);
    let assets: Vec<_> = asset.into_iter().chain(thumbnail).collect();
    tokio::try_join!(
        input::known::<entity::campaign::Model>(request, "campaign", campaign.as_slice()),
        input::known::<entity::asset::Model>(request, "asset", &assets),
    )?;
    Ok(())
}
