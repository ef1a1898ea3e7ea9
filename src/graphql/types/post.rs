//! `Post`.

use super::{
    campaign::Campaign,
    list::{OrderField, between, one_of},
    persona::Persona,
    video::Video,
};
use crate::graphql::{
    ids::NodeId,
    page::Listed,
    resolve::One,
    scalars::{DateTime, Url},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::relational::{Column, Predicate, Value};
use uuid::Uuid;

/// Where a post stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::post::Status")]
pub enum PostStatus {
    /// Being written.
    Draft,
    /// Waits for its time.
    Scheduled,
    /// Out.
    Published,
    /// Could not be published.
    Failed,
}

/// What posts can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum PostOrderField {
    /// When it was made.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
}

impl OrderField for PostOrderField {
    fn column(self) -> Column {
        match self {
            Self::CreatedAt => Column::Id,
            Self::UpdatedAt => Column::UpdatedAt,
        }
    }
}

/// Which posts; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct PostFilter {
    /// With one of these.
    pub status: Option<Vec<PostStatus>>,
    /// On one of these platforms.
    pub platform: Option<Vec<String>>,
    /// Published at or after this.
    pub published_from: Option<DateTime>,
    /// Published before this.
    pub published_to: Option<DateTime>,
}

impl PostFilter {
    /// As conditions on columns.
    pub fn predicates(self) -> Vec<Predicate> {
        let status = self.status.map(|all| all.into_iter().map(entity::post::Status::from).collect::<Vec<_>>());
        let platform =
            self.platform.map(|all| Predicate::In(Column::Platform, all.into_iter().map(Value::Text).collect()));
        let published = between(Column::PublishedAt, self.published_from, self.published_to);
        [one_of(Column::Status, status), platform, published].into_iter().flatten().collect()
    }
}

/// A text that a persona publishes.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Post {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    persona_id: Uuid,
    #[graphql(skip)]
    campaign_id: Option<Uuid>,
    #[graphql(skip)]
    video_id: Option<Uuid>,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// What it says.
    pub text: String,
    /// Topics in lower case, without `#`.
    pub topics: Vec<String>,
    /// Where it is published, such as `tiktok`.
    pub platform: String,
    /// Where it stands.
    pub status: PostStatus,
    /// When it is to be published.
    pub scheduled_at: Option<DateTime>,
    /// When it was published.
    pub published_at: Option<DateTime>,
    /// Where it can be seen.
    pub url: Option<Url>,
    /// When it was made.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
    /// Grows by one with every change; give it back as `expectedVersion` to change only what you have seen.
    pub version: i64,
}

impl Listed for Post {
    const NAME: &'static str = "Post";
}

impl From<entity::post::Model> for Post {
    fn from(row: entity::post::Model) -> Self {
        Self {
            key: row.id,
            persona_id: row.persona_id,
            campaign_id: row.campaign_id,
            video_id: row.video_id,
            external_id: row.external_id,
            text: row.text,
            topics: row.topics.0,
            platform: row.platform,
            status: row.status.into(),
            scheduled_at: row.scheduled_at.map(DateTime::from),
            published_at: row.published_at.map(DateTime::from),
            url: row.url.map(Url),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            version: row.version,
        }
    }
}

#[ComplexObject]
impl Post {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Post(self.key)
    }

    /// Who publishes it.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, Some(self.persona_id)).await
    }

    /// For which campaign.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
        Campaign::load(context, self.campaign_id).await
    }

    /// The video it shows.
    async fn video(&self, context: &Context<'_>) -> Result<Option<One<Video>>> {
        Video::load(context, self.video_id).await
    }
}
