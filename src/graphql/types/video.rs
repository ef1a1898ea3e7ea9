//! `Video`.

use super::{
    asset::Asset,
    campaign::Campaign,
    list::{OrderField, one_of},
    persona::Persona,
    render_stats::{RenderStats, RenderStatsArgs},
    telemetry::{RenderEvent, RenderStage, TimeRange},
};
use crate::graphql::{
    context::RequestContext,
    ids::NodeId,
    keys::relational::ById,
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::{DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    relational::{Column, Predicate, Value},
    telemetry::Subject,
};
use uuid::Uuid;

/// Where a video stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::video::Status")]
pub enum VideoStatus {
    /// Waits to be rendered.
    Queued,
    /// Is being rendered.
    Rendering,
    /// Rendered.
    Ready,
    /// Out.
    Published,
    /// Could not be rendered.
    Failed,
}

/// What videos can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum VideoOrderField {
    /// When it was made.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Its title.
    Title,
}

impl OrderField for VideoOrderField {
    fn column(self) -> Column {
        match self {
            Self::CreatedAt => Column::Id,
            Self::UpdatedAt => Column::UpdatedAt,
            Self::Title => Column::Title,
        }
    }
}

/// Which videos; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct VideoFilter {
    /// With one of these.
    pub status: Option<Vec<VideoStatus>>,
    /// In one of these categories.
    pub category: Option<Vec<String>>,
    /// Whose title contains this, ignoring the case of ASCII letters.
    pub title_contains: Option<String>,
}

impl VideoFilter {
    /// As conditions on columns.
    pub fn predicates(self) -> Vec<Predicate> {
        let status = self.status.map(|all| all.into_iter().map(entity::video::Status::from).collect::<Vec<_>>());
        let category =
            self.category.map(|all| Predicate::In(Column::Category, all.into_iter().map(Value::Text).collect()));
        let title = self.title_contains.map(|text| Predicate::Contains(Column::Title, text));
        [one_of(Column::Status, status), category, title].into_iter().flatten().collect()
    }
}

/// A video in the catalogue.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Video {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    persona_id: Uuid,
    #[graphql(skip)]
    campaign_id: Option<Uuid>,
    #[graphql(skip)]
    asset_id: Option<Uuid>,
    #[graphql(skip)]
    thumbnail_asset_id: Option<Uuid>,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Title shown to people.
    pub title: String,
    /// Longer text.
    pub description: Option<String>,
    /// Where it stands.
    pub status: VideoStatus,
    /// A single category.
    pub category: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// How long it runs.
    pub duration: Option<Duration>,
    /// When it was published.
    pub published_at: Option<DateTime>,
    /// When it was made.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
    /// Grows by one with every change; give it back as `expectedVersion` to change only what you have seen.
    pub version: i64,
}

impl Listed for Video {
    const NAME: &'static str = "Video";
}

impl From<entity::video::Model> for Video {
    fn from(row: entity::video::Model) -> Self {
        let millis = |ms: i64| Duration(std::time::Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
        Self {
            key: row.id,
            persona_id: row.persona_id,
            campaign_id: row.campaign_id,
            asset_id: row.asset_id,
            thumbnail_asset_id: row.thumbnail_asset_id,
            external_id: row.external_id,
            title: row.title,
            description: row.description,
            status: row.status.into(),
            category: row.category,
            tags: row.tags.0,
            duration: row.duration_ms.map(millis),
            published_at: row.published_at.map(DateTime::from),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            version: row.version,
        }
    }
}

#[ComplexObject]
impl Video {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Video(self.key)
    }

    /// Whose video it is.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, Some(self.persona_id)).await
    }

    /// For which campaign.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
        Campaign::load(context, self.campaign_id).await
    }

    /// The rendered file.
    async fn asset(&self, context: &Context<'_>) -> Result<Option<One<Asset>>> {
        Asset::load(context, self.asset_id).await
    }

    /// A still.
    async fn thumbnail(&self, context: &Context<'_>) -> Result<Option<One<Asset>>> {
        Asset::load(context, self.thumbnail_asset_id).await
    }

    /// The steps of its rendering, newest first.
    async fn render_events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "When; any time when absent.")] range: Option<TimeRange>,
        #[graphql(desc = "Only these stages.")] stage: Option<Vec<RenderStage>>,
    ) -> Result<Option<Connection<RenderEvent>>> {
        let page = PageArgs::new(first, after, last, before);
        super::telemetry::events(context, Subject::Video(self.key), range, stage, page).await
    }

    /// How its rendering went.
    async fn render_stats(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderStatsArgs,
    ) -> Result<Option<RenderStats>> {
        super::render_stats::stats(context, Subject::Video(self.key), args).await
    }
}

impl Video {
    /// The video with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Option<Uuid>) -> Result<Option<One<Self>>> {
        let Some(id) = id else { return Ok(None) };
        Ok(RequestContext::of(context)?.load(ById::<entity::video::Model>::new(id)).await?.map(|row| One(row.into())))
    }
}
