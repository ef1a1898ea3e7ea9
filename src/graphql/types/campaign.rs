//! `Campaign`.

use super::{
    analytics::Spend,
    billing::{BillingRecord, BillingRecordOrderField, Money},
    list::{self, ListOf, OrderDirection, OrderField, one_of},
    persona::Persona,
    post::{Post, PostFilter},
    render_ranking::{self, RenderRanking, RenderRankingArgs},
    render_stats::{self, RenderStats, RenderStatsArgs},
    report::{self, SpendGroup, SpendReport},
    task::{Task, TaskScope, TaskState},
    telemetry::TimeRange,
    video::{Video, VideoFilter},
};
use crate::graphql::{
    context::RequestContext,
    ids::NodeId,
    keys::relational::ById,
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::DateTime,
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    relational::{Column, Predicate},
    telemetry::Subject,
};
use uuid::Uuid;

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::campaign::Status")]
pub enum CampaignStatus {
    /// Being prepared.
    Draft,
    /// Running.
    Active,
    /// Stopped for a while.
    Paused,
    /// Ended as planned.
    Completed,
    /// Ended early.
    Cancelled,
}

/// What campaigns can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum CampaignOrderField {
    /// When it was made.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Its name.
    Name,
}

impl OrderField for CampaignOrderField {
    fn column(self) -> Column {
        match self {
            Self::CreatedAt => Column::Id,
            Self::UpdatedAt => Column::UpdatedAt,
            Self::Name => Column::Name,
        }
    }
}

/// Which campaigns; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct CampaignFilter {
    /// With one of these.
    pub status: Option<Vec<CampaignStatus>>,
    /// Whose name contains this, ignoring the case of ASCII letters.
    pub name_contains: Option<String>,
}

impl CampaignFilter {
    /// As conditions on columns.
    pub fn predicates(self) -> Vec<Predicate> {
        let status = self.status.map(|all| all.into_iter().map(entity::campaign::Status::from).collect::<Vec<_>>());
        let name = self.name_contains.map(|text| Predicate::Contains(Column::Name, text));
        [one_of(Column::Status, status), name].into_iter().flatten().collect()
    }
}

/// What one or more personas do together for an objective, inside a budget.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Campaign {
    #[graphql(skip)]
    key: Uuid,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Name shown to people.
    pub name: String,
    /// What it is to achieve.
    pub objective: String,
    /// Where it stands.
    pub status: CampaignStatus,
    /// When it begins.
    pub starts_at: Option<DateTime>,
    /// When it ends.
    pub ends_at: Option<DateTime>,
    /// What it may cost.
    pub budget: Option<Money>,
    /// When it was made.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
    /// Grows by one with every change; give it back as `expectedVersion` to change only what you have seen.
    pub version: i64,
}

impl Listed for Campaign {
    const NAME: &'static str = "Campaign";
}

impl From<entity::campaign::Model> for Campaign {
    fn from(row: entity::campaign::Model) -> Self {
        Self {
            key: row.id,
            external_id: row.external_id,
            name: row.name,
            objective: row.objective,
            status: row.status.into(),
            starts_at: row.starts_at.map(DateTime::from),
            ends_at: row.ends_at.map(DateTime::from),
            budget: row.budget_minor.map(|amount| Money::new(amount, row.currency)),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            version: row.version,
        }
    }
}

#[ComplexObject]
impl Campaign {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Campaign(self.key)
    }

    /// Who takes part, newest first.
    async fn personas(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<Connection<Persona>>> {
        Persona::of_campaign(context, self.key, PageArgs::new(first, after, last, before)).await
    }

    /// What is published for it, newest first.
    async fn posts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only posts that satisfy this.")] filter: Option<PostFilter>,
    ) -> Result<Option<Connection<Post>>> {
        let list = ListOf::children(Column::CampaignId, self.key).filtered(filter.unwrap_or_default().predicates());
        list::connection::<entity::post::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Videos made for it, newest first.
    async fn videos(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only videos that satisfy this.")] filter: Option<VideoFilter>,
    ) -> Result<Option<Connection<Video>>> {
        let list = ListOf::children(Column::CampaignId, self.key).filtered(filter.unwrap_or_default().predicates());
        list::connection::<entity::video::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Work for it, newest first.
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only in one of these states.")] state: Option<Vec<TaskState>>,
    ) -> Result<Option<Connection<Task>>> {
        let scope = TaskScope { campaign_id: Some(self.key), ..Default::default() };
        super::task::tasks(context, scope, state, PageArgs::new(first, after, last, before)).await
    }

    /// What it was billed for.
    async fn billing_records(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "What to order by.")] order_by: Option<BillingRecordOrderField>,
        #[graphql(desc = "Which way.")] direction: Option<OrderDirection>,
    ) -> Result<Option<Connection<BillingRecord>>> {
        let list = ListOf::children(Column::CampaignId, self.key).ordered(list::order(order_by, direction));
        list::connection::<entity::billing_record::Model, _>(context, list, PageArgs::new(first, after, last, before))
            .await
    }

    /// How the renders for it went.
    async fn render_stats(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderStatsArgs,
    ) -> Result<Option<RenderStats>> {
        render_stats::stats(context, Subject::Campaign(self.key), args).await
    }

    /// Whose renders for it, or which stages, had most of something.
    async fn render_ranking(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderRankingArgs,
        #[graphql(desc = "Places from the top: 1 to 100.", default = 10)] first: i32,
    ) -> Result<Option<RenderRanking>> {
        render_ranking::ranking(context, Subject::Campaign(self.key), args, first).await
    }

    /// What it cost: rendering, money on chain, and bills.
    async fn spend(&self, #[graphql(desc = "When; all time when absent.")] range: Option<TimeRange>) -> Spend {
        Spend::of_campaign(self.key, range)
    }

    /// What it was billed, by group.
    async fn spend_report(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "When it was incurred; all time when absent.")] range: Option<TimeRange>,
        #[graphql(desc = "What the rows are told apart by, besides the currency; one row a currency when empty.")]
        group_by: Vec<SpendGroup>,
        #[graphql(desc = "Rows at the most: 1 to 1000.", default = 100)] first: i32,
    ) -> Result<Option<SpendReport>> {
        report::spend_report(context, Some((Column::CampaignId, self.key)), range, group_by, first).await
    }
}

impl Campaign {
    /// The campaign with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Option<Uuid>) -> Result<Option<One<Self>>> {
        let Some(id) = id else { return Ok(None) };
        Ok(RequestContext::of(context)?
            .load(ById::<entity::campaign::Model>::new(id))
            .await?
            .map(|row| One(row.into())))
    }
}
