//! `Persona`: the centre of the graph; its edges reach all seven stores.

use super::{
    analytics::Spend,
    asset::Asset,
    campaign::{Campaign, CampaignOrderField},
    ledger::{EntryFilter, LedgerEntry},
    list::{self, ListOf, OrderDirection, OrderField, one_of},
    memory::{Definition, Interaction, Memory, MemoryFilter, RagContext, RecallMode, RecalledMemory},
    post::{Post, PostFilter, PostOrderField},
    render_ranking::{self, RenderRanking, RenderRankingArgs},
    render_stats::{self, RenderStats, RenderStatsArgs},
    report::{self, SpendGroup, SpendReport},
    task::{Task, TaskState, Turn},
    telemetry::TimeRange,
    video::{Video, VideoFilter, VideoOrderField},
    wallet::{Wallet, wallets_of},
};
use crate::graphql::{
    context::RequestContext,
    error::bad_input,
    ids::NodeId,
    keys::{
        episodic::WindowOf,
        memory::{ContextOf, DefinitionOf, RecallOf},
        relational::ById,
    },
    loader::ByText,
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::{DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    episodic::WindowQuery,
    memory::{RecallQuery, context::ContextQuery},
    relational::{Column, Edge, Order, Predicate, Value},
    telemetry::Subject,
};
use uuid::Uuid;

/// Whether a persona acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::persona::Status")]
pub enum PersonaStatus {
    /// Being prepared.
    Draft,
    /// Acts.
    Active,
    /// Rests, and may act again.
    Paused,
    /// Will not act again.
    Retired,
}

/// What personas can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum PersonaOrderField {
    /// When it was made.
    CreatedAt,
    /// When it last changed.
    UpdatedAt,
    /// Its handle.
    Handle,
    /// Its name.
    Name,
}

impl OrderField for PersonaOrderField {
    fn column(self) -> Column {
        match self {
            Self::CreatedAt => Column::Id,
            Self::UpdatedAt => Column::UpdatedAt,
            Self::Handle => Column::Handle,
            Self::Name => Column::Name,
        }
    }
}

/// Which personas; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct PersonaFilter {
    /// With one of these.
    pub status: Option<Vec<PersonaStatus>>,
    /// With one of these handles.
    pub handle: Option<Vec<String>>,
    /// Whose name contains this, ignoring the case of ASCII letters.
    pub name_contains: Option<String>,
}

impl PersonaFilter {
    /// As conditions on columns.
    pub fn predicates(self) -> Vec<Predicate> {
        let stored = |status: PersonaStatus| entity::persona::Status::from(status);
        let status = self.status.map(|values| values.into_iter().map(stored).collect::<Vec<_>>());
        let handles =
            self.handle.map(|values| Predicate::In(Column::Handle, values.into_iter().map(Value::Text).collect()));
        let name = self.name_contains.map(|text| Predicate::Contains(Column::Name, text));
        [one_of(Column::Status, status), handles, name].into_iter().flatten().collect()
    }
}

/// An autonomous influencer.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Persona {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    avatar_asset_id: Option<Uuid>,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Unique in the organisation.
    pub handle: String,
    /// Name shown to people.
    pub name: String,
    /// Whether it acts.
    pub status: PersonaStatus,
    /// When it was made.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
    /// Grows by one with every change; give it back as `expectedVersion` to change only what you have seen.
    pub version: i64,
}

impl Listed for Persona {
    const NAME: &'static str = "Persona";
}

impl From<entity::persona::Model> for Persona {
    fn from(row: entity::persona::Model) -> Self {
        Self {
            key: row.id,
            avatar_asset_id: row.avatar_asset_id,
            external_id: row.external_id,
            handle: row.handle,
            name: row.name,
            status: row.status.into(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            version: row.version,
        }
    }
}

#[ComplexObject]
impl Persona {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Persona(self.key)
    }

    /// Its picture.
    async fn avatar(&self, context: &Context<'_>) -> Result<Option<One<Asset>>> {
        Asset::load(context, self.avatar_asset_id).await
    }

    /// Who it is: bio, voice, traits and directives.
    async fn definition(&self, context: &Context<'_>) -> Result<Option<Definition>> {
        Ok(RequestContext::of(context)?.load(DefinitionOf(self.key)).await?.map(Definition::from))
    }

    /// What it remembers, newest first.
    async fn memories(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only memories that satisfy this.")] filter: Option<MemoryFilter>,
    ) -> Result<Option<Connection<Memory>>> {
        super::memory::memories(
            context,
            self.key,
            filter.unwrap_or_default(),
            PageArgs::new(first, after, last, before),
        )
        .await
    }

    /// The memories that answer a query best, best first.
    async fn recall(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What to look for: 1 to 4,096 bytes.")] query: String,
        #[graphql(desc = "How to look.", default_with = "RecallMode::Hybrid")] mode: RecallMode,
        #[graphql(desc = "Only memories that satisfy this.")] filter: Option<MemoryFilter>,
        #[graphql(desc = "At most this many: 1 to 100.", default = 10)] limit: i32,
        #[graphql(desc = "In HYBRID, the weight of meaning against words, from 0 to 1.", default = 0.5)] alpha: f64,
    ) -> Result<Option<Vec<RecalledMemory>>> {
        let query = RecallQuery {
            persona_id: self.key,
            query,
            mode: mode.into(),
            filter: filter.unwrap_or_default().into(),
            limit: u32::try_from(limit).map_err(|_| bad_input("`limit` is negative"))?,
            #[allow(clippy::cast_possible_truncation, reason = "a weight needs no more than single precision")]
            alpha: alpha as f32,
        };
        let recalled = RequestContext::of(context)?.load(RecallOf(ByText::new(query))).await?;
        Ok(Some(recalled.into_iter().map(RecalledMemory::from).collect()))
    }

    /// Memories for a language model's prompt: relevant, without repetition, in order of time, within a budget of
    /// tokens, each with a citation.
    #[graphql(name = "context")]
    async fn rag_context(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the prompt is about: 1 to 4,096 bytes.")] query: String,
        #[graphql(desc = "Size at the most, in tokens: 1 to 32,768.", default = 1024)] max_tokens: i32,
        #[graphql(desc = "How to look.", default_with = "RecallMode::Hybrid")] mode: RecallMode,
        #[graphql(desc = "Only memories that satisfy this.")] filter: Option<MemoryFilter>,
    ) -> Result<Option<RagContext>> {
        let max_tokens = u32::try_from(max_tokens)
            .ok()
            .filter(|tokens| (1..=32_768).contains(tokens))
            .ok_or_else(|| bad_input("`maxTokens` is not between 1 and 32,768"))?;
        let filter = filter.unwrap_or_default().into();
        let query = ContextQuery { persona_id: self.key, query, max_tokens, mode: mode.into(), filter };
        Ok(Some(RequestContext::of(context)?.load(ContextOf(ByText::new(query))).await?.into()))
    }

    /// What was said in the last hour, oldest first: the newest turns that fit all bounds.
    async fn conversation(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Only this conversation.")] conversation: Option<String>,
        #[graphql(
            desc = "Not older than this; turns are forgotten after an hour.",
            default_with = "Duration::from_secs(3600)"
        )]
        max_age: Duration,
        #[graphql(desc = "At most this many turns: 1 to 200.", default = 50)] max_turns: i32,
        #[graphql(desc = "At most this many tokens together.")] max_tokens: Option<i32>,
    ) -> Result<Option<Vec<Turn>>> {
        let max_turns = u32::try_from(max_turns)
            .ok()
            .filter(|turns| (1..=200).contains(turns))
            .ok_or_else(|| bad_input("`maxTurns` is not between 1 and 200"))?;
        let max_tokens = max_tokens.map(u32::try_from).transpose().map_err(|_| bad_input("`maxTokens` is negative"))?;
        let query = WindowQuery { persona_id: self.key, conversation, max_age: max_age.0, max_turns, max_tokens };
        let turns = RequestContext::of(context)?.load(WindowOf(query)).await?;
        Ok(Some(turns.into_iter().map(Turn::from).collect()))
    }

    /// Exchanges with others, newest first.
    async fn interactions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only with this counterparty.")] counterparty: Option<String>,
    ) -> Result<Option<Connection<Interaction>>> {
        super::memory::interactions(context, self.key, counterparty, PageArgs::new(first, after, last, before)).await
    }

    /// The campaigns it takes part in.
    async fn campaigns(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "What to order by.")] order_by: Option<CampaignOrderField>,
        #[graphql(desc = "Which way.")] direction: Option<OrderDirection>,
    ) -> Result<Option<Connection<Campaign>>> {
        let list = ListOf { edge: Some(Edge::CampaignPersona), parent: self.key, ..ListOf::organization() }
            .ordered(list::order(order_by, direction));
        list::connection::<entity::campaign::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// What it publishes.
    async fn posts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only posts that satisfy this.")] filter: Option<PostFilter>,
        #[graphql(desc = "What to order by.")] order_by: Option<PostOrderField>,
        #[graphql(desc = "Which way.")] direction: Option<OrderDirection>,
    ) -> Result<Option<Connection<Post>>> {
        let list = ListOf::children(Column::PersonaId, self.key)
            .filtered(filter.unwrap_or_default().predicates())
            .ordered(list::order(order_by, direction));
        list::connection::<entity::post::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Its videos.
    async fn videos(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only videos that satisfy this.")] filter: Option<VideoFilter>,
        #[graphql(desc = "What to order by.")] order_by: Option<VideoOrderField>,
        #[graphql(desc = "Which way.")] direction: Option<OrderDirection>,
    ) -> Result<Option<Connection<Video>>> {
        let list = ListOf::children(Column::PersonaId, self.key)
            .filtered(filter.unwrap_or_default().predicates())
            .ordered(list::order(order_by, direction));
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
        let filter = super::task::TaskScope { persona_id: Some(self.key), ..Default::default() };
        super::task::tasks(context, filter, state, PageArgs::new(first, after, last, before)).await
    }

    /// Its wallets, newest first.
    async fn wallets(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<Connection<Wallet>>> {
        let list = ListOf::children(Column::PersonaId, self.key);
        list::connection::<entity::wallet::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// What happened in its wallets, newest first. The newest 100 wallets are looked at.
    async fn ledger_entries(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only entries that satisfy this.")] filter: Option<EntryFilter>,
    ) -> Result<Option<Connection<LedgerEntry>>> {
        let wallets = wallets_of(context, Column::PersonaId, self.key).await?;
        super::ledger::entries(context, wallets, filter.unwrap_or_default(), PageArgs::new(first, after, last, before))
            .await
    }

    /// How its renders went.
    async fn render_stats(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderStatsArgs,
    ) -> Result<Option<RenderStats>> {
        render_stats::stats(context, Subject::Persona(self.key), args).await
    }

    /// For which campaigns, or in which stages, its renders had most of something.
    async fn render_ranking(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderRankingArgs,
        #[graphql(desc = "Places from the top: 1 to 100.", default = 10)] first: i32,
    ) -> Result<Option<RenderRanking>> {
        render_ranking::ranking(context, Subject::Persona(self.key), args, first).await
    }

    /// What it cost: rendering, money on chain, and bills.
    async fn spend(&self, #[graphql(desc = "When; all time when absent.")] range: Option<TimeRange>) -> Spend {
        Spend::of_persona(self.key, range)
    }

    /// What was billed for it, by group.
    async fn spend_report(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "When it was incurred; all time when absent.")] range: Option<TimeRange>,
        #[graphql(desc = "What the rows are told apart by, besides the currency; one row a currency when empty.")]
        group_by: Vec<SpendGroup>,
        #[graphql(desc = "Rows at the most: 1 to 1000.", default = 100)] first: i32,
    ) -> Result<Option<SpendReport>> {
        report::spend_report(context, Some((Column::PersonaId, self.key)), range, group_by, first).await
    }
}

impl Persona {
    /// The persona with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Option<Uuid>) -> Result<Option<One<Self>>> {
        let Some(id) = id else { return Ok(None) };
        Ok(RequestContext::of(context)?.load(ById::<entity::persona::Model>::new(id)).await?.map(|row| One(row.into())))
    }

    /// A page of the personas of a campaign.
    ///
    /// # Errors
    /// A bad page argument, or what the store says.
    pub async fn of_campaign(
        context: &Context<'_>,
        campaign_id: Uuid,
        args: PageArgs,
    ) -> Result<Option<Connection<Self>>> {
        let list = ListOf { edge: Some(Edge::CampaignPersona), parent: campaign_id, ..ListOf::organization() };
        list::connection::<entity::persona::Model, _>(context, list.ordered(Order::default()), args).await
    }
}
