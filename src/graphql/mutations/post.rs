//! Writing, scheduling and publishing posts.
//!
//! A post becomes published by `publishPost` alone, and never ceases to be: what is out is out.

use super::{
    Outcome, UserError, UserErrorCode, check_text, commit, current, editor, expect_version, input, now, payload, unit,
};
use crate::graphql::{
    context::RequestContext,
    scalars::{DateTime, Url},
    types::{
        post::{Post, PostStatus},
        service::StoreName,
    },
};
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};
use entity::post::{Model, Status};
use uuid::Uuid;

/// The most bytes of a text.
const MAX_TEXT: usize = 16_384;
/// The most bytes of a platform's name.
const MAX_PLATFORM: usize = 64;

/// A new post.
#[derive(Clone, Debug, InputObject)]
pub struct CreatePostInput {
    /// Who publishes it.
    pub persona_id: ID,
    /// For which campaign.
    pub campaign_id: Option<ID>,
    /// The video it shows.
    pub video_id: Option<ID>,
    /// What it says: 1 to 16,384 bytes.
    pub text: String,
    /// Topics: at most 32 of at most 64 bytes; kept in lower case without `#`, each once.
    #[graphql(default)]
    pub topics: Vec<String>,
    /// Where it is to be published, such as `tiktok`: 1 to 64 bytes.
    pub platform: String,
    /// Where it stands: DRAFT, or SCHEDULED with `scheduledAt`.
    #[graphql(default_with = "PostStatus::Draft")]
    pub status: PostStatus,
    /// When it is to be published.
    pub scheduled_at: Option<DateTime>,
    /// The id in the system it comes from, at most 256 bytes; unique in the organisation.
    pub external_id: Option<String>,
}

/// A change of a post; what is absent stays as it is.
#[derive(Clone, Debug, InputObject)]
pub struct UpdatePostInput {
    /// The post.
    pub id: ID,
    /// Change only this version.
    pub expected_version: Option<i64>,
    /// A new text.
    pub text: Option<String>,
    /// New topics instead of all it has.
    pub topics: Option<Vec<String>>,
    /// A new platform.
    pub platform: Option<String>,
    /// A new status: DRAFT, SCHEDULED or FAILED. Only `publishPost` makes it PUBLISHED, which then stays.
    pub status: Option<PostStatus>,
    /// A new time to publish it; null takes it away.
    pub scheduled_at: MaybeUndefined<DateTime>,
    /// Another campaign; null takes it away.
    pub campaign_id: MaybeUndefined<ID>,
    /// Another video; null takes it away.
    pub video_id: MaybeUndefined<ID>,
    /// Another address where it can be seen; null takes it away.
    pub url: MaybeUndefined<Url>,
}

/// That a post is out.
#[derive(Clone, Debug, InputObject)]
pub struct PublishPostInput {
    /// The post.
    pub id: ID,
    /// Publish only this version.
    pub expected_version: Option<i64>,
    /// When it came out; now when absent.
    pub at: Option<DateTime>,
    /// Where it can be seen.
    pub url: Option<Url>,
}

payload! {
    /// What became of `createPost`.
    CreatePostPayload {
        /// The new post.
        post: Post
    }
}

payload! {
    /// What became of `updatePost`.
    UpdatePostPayload {
        /// The post as it is now.
        post: Post
    }
}

payload! {
    /// What became of `publishPost`.
    PublishPostPayload {
        /// The post as it is now.
        post: Post
    }
}

/// Mutations of posts.
#[derive(Default)]
pub struct PostMutation;

#[Object]
impl PostMutation {
    /// Makes a post.
    async fn create_post(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The post.")] input: CreatePostInput,
    ) -> Result<Option<CreatePostPayload>> {
        CreatePostPayload::of(create(editor(context)?, input).await)
    }

    /// Changes a post.
    async fn update_post(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdatePostInput,
    ) -> Result<Option<UpdatePostPayload>> {
        UpdatePostPayload::of(update(editor(context)?, input).await)
    }

    /// Marks a post as published. Refused when it is published already.
    async fn publish_post(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The post.")] input: PublishPostInput,
    ) -> Result<Option<PublishPostPayload>> {
        PublishPostPayload::of(publish(editor(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreatePostInput) -> Outcome<(Post, Vec<StoreName>)> {
    if !matches!(input.status, PostStatus::Draft | PostStatus::Scheduled) {
        return Err(UserError::invalid(&["input", "status"], "a new post is DRAFT or SCHEDULED").into());
    }
    let campaign = input.campaign_id.map(|id| input::campaign_id(&id, &["input", "campaignId"])).transpose()?;
    let video = input.video_id.map(|id| input::video_id(&id, &["input", "videoId"])).transpose()?;
    let now = now(request);
    let row = Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        external_id: input::external_id(&["input", "externalId"], input.external_id)?,
        persona_id: input::persona_id(&input.persona_id, &["input", "personaId"])?,
        campaign_id: campaign,
        video_id: video,
        text: input::text(&["input", "text"], input.text, MAX_TEXT)?,
        topics: entity::Strings(topics(input.topics)?),
        platform: input::text(&["input", "platform"], input.platform, MAX_PLATFORM)?,
        status: input.status.into(),
        scheduled_at: input.scheduled_at.map(|at| at.0),
        published_at: None,
        url: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    check_schedule(&row)?;
    let persona = input::reference(row.persona_id, &["input", "personaId"]);
    let personas = async { input::known::<entity::persona::Model>(request, "persona", &[persona]).await };
    tokio::try_join!(personas, check_references(request, None, &row))?;
    let mut work = unit(request, "createPost");
    work.insert(&row);
    let pending = commit(request, work).await?;
    Ok((row.into(), pending))
}

async fn update(request: &RequestContext, input: UpdatePostInput) -> Outcome<(Post, Vec<StoreName>)> {
    let id = input::post_id(&input.id, &["input", "id"])?;
    let before: Model = current(request, id, &["input", "id"], "post").await?;
    expect_version(input.expected_version, before.version)?;
    let mut after = before.clone();
    if let Some(text) = input.text {
        check_text(&["input", "text"], &text, MAX_TEXT)?;
        after.text = text;
    }
    if let Some(given) = input.topics {
        after.topics = entity::Strings(topics(given)?);
    }
    if let Some(platform) = input.platform {
        check_text(&["input", "platform"], &platform, MAX_PLATFORM)?;
        after.platform = platform;
    }
    if let Some(status) = input.status {
        after.status = status.into();
        check_status(before.status, after.status)?;
    }
    input::change(&mut after.scheduled_at, input.scheduled_at, |at| Ok(at.0))?;
    input::change(&mut after.campaign_id, input.campaign_id, |id| input::campaign_id(&id, &["input", "campaignId"]))?;
    input::change(&mut after.video_id, input.video_id, |id| input::video_id(&id, &["input", "videoId"]))?;
    input::change(&mut after.url, input.url, |url| Ok(url.0))?;
    if after == before {
        return Ok((before.into(), Vec::new()));
    }
    check_schedule(&after)?;
    check_references(request, Some(&before), &after).await?;
    save(request, "updatePost", &before, after).await
}

async fn publish(request: &RequestContext, input: PublishPostInput) -> Outcome<(Post, Vec<StoreName>)> {
    let id = input::post_id(&input.id, &["input", "id"])?;
    let before: Model = current(request, id, &["input", "id"], "post").await?;
    expect_version(input.expected_version, before.version)?;
    match before.status {
        Status::Draft | Status::Scheduled | Status::Failed => {}
        Status::Published => {
            let message = "the post is published already";
            return Err(UserError::new(UserErrorCode::Refused, &["input", "id"], message).into());
        }
    }
    let mut after = before.clone();
    after.status = Status::Published;
    after.published_at = Some(input.at.map_or_else(|| now(request), |at| at.0));
    if let Some(url) = input.url {
        after.url = Some(url.0);
    }
    save(request, "publishPost", &before, after).await
}

async fn save(
    request: &RequestContext,
    action: &'static str,
    before: &Model,
    mut after: Model,
) -> Outcome<(Post, Vec<StoreName>)> {
    after.version += 1;
    after.updated_at = now(request);
    let mut work = unit(request, action);
    work.update(before, &after);
    let pending = commit(request, work).await?;
    Ok((after.into(), pending))
}

/// Refuses references that are new and lead nowhere.
async fn check_references(request: &RequestContext, before: Option<&Model>, after: &Model) -> Outcome<()> {
    let old = |column: fn(&Model) -> Option<Uuid>| before.and_then(column);
    let campaign = input::new_reference(old(|row| row.campaign_id), after.campaign_id, &["input", "campaignId"]);
    let video = input::new_reference(old(|row| row.video_id), after.video_id, &["input", "videoId"]);
    tokio::try_join!(
        input::known::<entity::campaign::Model>(request, "campaign", campaign.as_slice()),
        input::known::<entity::video::Model>(request, "video", video.as_slice()),
    )?;
    Ok(())
}

fn check_status(before: Status, after: Status) -> Outcome<()> {
    let message = match (before, after) {
        (before, after) if before == after => return Ok(()),
        (Status::Published, _) => "the post is published and stays so",
        (_, Status::Published) => "a post becomes PUBLISHED by `publishPost`",
        _ => return Ok(()),
    };
    Err(UserError::new(UserErrorCode::Refused, &["input", "status"], message).into())
}

fn check_schedule(row: &Model) -> Outcome<()> {
    if row.status == Status::Scheduled && row.scheduled_at.is_none() {
        return Err(UserError::invalid(&["input", "scheduledAt"], "a SCHEDULED post needs its time").into());
    }
    Ok(())
}

/// Topics in lower case, trimmed, without `#`, each once.
fn topics(given: Vec<String>) -> Outcome<Vec<String>> {
    let mut topics: Vec<String> = Vec::with_capacity(given.len().min(32));
    for topic in given {
        let topic = topic.trim().trim_start_matches('#').trim().to_lowercase();
        if !topics.contains(&topic) {
            topics.push(topic);
        }
        // Too many already; the rest need not be compared.
        if topics.len() > 32 {
            break;
        }
    }
    input::tags(&["input", "topics"], topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_brought_to_one_form() {
        let given = [" #Moon ", "moon", "##Zero Waste", "ÄPFEL"].map(str::to_owned).to_vec();
        assert_eq!(topics(given).ok(), Some(["moon", "zero waste", "äpfel"].map(str::to_owned).to_vec()));
        for bad in [vec!["#".to_owned()], vec!["x".repeat(65)], (0..33).map(|number| number.to_string()).collect()] {
            assert!(topics(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_publishing_publishes_and_nothing_unpublishes() {
        assert!(check_status(Status::Draft, Status::Published).is_err());
        assert!(check_status(Status::Published, Status::Draft).is_err());
        assert!(check_status(Status::Published, Status::Published).is_ok());
        assert!(check_status(Status::Scheduled, Status::Failed).is_ok());
    }
}
