//! The root of queries: entry points only; what they lead to lives with the types.

use super::{
    context::RequestContext,
    error::{bad_input, field_error, require},
    ids::NodeId,
    keys::{
        episodic::QueueByName,
        relational::{ById, ByUnique},
    },
    page::{Connection, PageArgs},
    scalars::Duration,
    types::{
        asset::Asset,
        billing::{BillingRecord, BillingRecordOrderField},
        campaign::{Campaign, CampaignFilter, CampaignOrderField},
        discovery::{self, FacetField, SearchArgs, SearchConnection, SearchFilter, SearchOrder, SearchType, Trend},
        ledger::{self, EntryFilter, LedgerEntry},
        list::{self, ListOf, OrderDirection},
        memory::Memory,
        organization::{ApiKey, AuditEntry, AuditFilter, Organization, User, Viewer, own_organization},
        persona::{Persona, PersonaFilter, PersonaOrderField},
        post::{Post, PostFilter, PostOrderField},
        render_ranking::{self, RenderRanking, RenderRankingArgs},
        render_stats::{self, RenderStats, RenderStatsArgs},
        report::{self, SpendGroup, SpendReport},
        service::Service,
        task::{Queue, Task},
        telemetry::{self, RenderEvent, RenderStage, TimeRange},
        video::{Video, VideoFilter, VideoOrderField},
        wallet::{Wallet, wallets_of},
    },
};
use async_graphql::{Context, ID, Interface, Object, Result};
use chimera_stores::{Role, relational::Column, telemetry::Subject};
use uuid::Uuid;

/// Nodes of one `nodes(ids)` at the most.
const MAX_NODES: usize = 100;

/// Anything that `node(id)` can fetch.
#[derive(Clone, Interface)]
#[graphql(field(name = "id", ty = "NodeId", desc = "Global id."))]
pub enum Node {
    /// A tenant.
    Organization(Organization),
    /// A person.
    User(User),
    /// A bearer token.
    ApiKey(ApiKey),
    /// An autonomous influencer.
    Persona(Persona),
    /// A campaign.
    Campaign(Campaign),
    /// A post.
    Post(Post),
    /// A video.
    Video(Video),
    /// A media object.
    Asset(Asset),
    /// A wallet.
    Wallet(Wallet),
    /// A billing record.
    BillingRecord(BillingRecord),
    /// A line of the audit log.
    AuditEntry(AuditEntry),
    /// A unit of work.
    Task(Task),
    /// A step of a render.
    RenderEvent(RenderEvent),
    /// A memory.
    Memory(Memory),
    /// A line of a ledger.
    LedgerEntry(LedgerEntry),
}

async fn fetch(context: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    let request = RequestContext::of(context)?;
    let Some(node) = NodeId::parse(id) else {
        return Err(bad_input(format!("`{}` is not a global id", id.chars().take(64).collect::<String>())));
    };
    macro_rules! row {
        ($module:ident, $variant:ident, $id:expr) => {
            request.load(ById::<entity::$module::Model>::new($id)).await?.map(|row| Node::$variant(row.into()))
        };
    }
    Ok(match node {
        NodeId::Organization(id) => row!(organization, Organization, id),
        NodeId::User(id) => row!(user, User, id),
        NodeId::ApiKey(id) => {
            require(request.scope(), Role::Admin)?;
            row!(api_key, ApiKey, id)
        }
        NodeId::Persona(id) => row!(persona, Persona, id),
        NodeId::Campaign(id) => row!(campaign, Campaign, id),
        NodeId::Post(id) => row!(post, Post, id),
        NodeId::Video(id) => row!(video, Video, id),
        NodeId::Asset(id) => row!(asset, Asset, id),
        NodeId::Wallet(id) => row!(wallet, Wallet, id),
        NodeId::BillingRecord(id) => row!(billing_record, BillingRecord, id),
        NodeId::AuditEntry(id) => {
            require(request.scope(), Role::Admin)?;
            row!(audit_entry, AuditEntry, id)
        }
        NodeId::Task(id) => Task::load(context, id).await?.map(Node::Task),
        NodeId::RenderEvent(id) => RenderEvent::load(context, id).await?.map(Node::RenderEvent),
        NodeId::Memory(persona, id) => Memory::load(context, persona, id).await?.map(Node::Memory),
        NodeId::LedgerEntry(id) => LedgerEntry::load(context, id).await?.map(Node::LedgerEntry),
    })
}

/// The root of queries.
pub struct Query;

/// Everything that can be read. Each field fails alone: a store that is down costs its own fields and nothing else.
#[Object]
impl Query {
    /// Anything by its global id; null when it does not exist or belongs to another organisation.
    async fn node(&self, context: &Context<'_>, #[graphql(desc = "A global id.")] id: ID) -> Result<Option<Node>> {
        fetch(context, &id).await
    }

    /// Things by their global ids, in the order of the ids; null for each that does not exist.
    async fn nodes(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Global ids, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MAX_NODES {
            return Err(bad_input(format!("`ids` has {} items; at most {MAX_NODES} are accepted", ids.len())));
        }
        // One bad id costs its own place in the list.
        let fetched = futures_util::future::join_all(ids.iter().map(|id| fetch(context, id))).await;
        let mut nodes = Vec::with_capacity(fetched.len());
        for (index, result) in fetched.into_iter().enumerate() {
            match result {
                Ok(node) => nodes.push(node),
                Err(error) => {
                    let mut error = error.into_server_error(context.item.pos);
                    error.path = vec![
                        async_graphql::PathSegment::Field(context.item.node.response_key().node.to_string()),
                        async_graphql::PathSegment::Index(index),
                    ];
                    context.add_error(error);
                    nodes.push(None);
                }
            }
        }
        Ok(nodes)
    }

    /// Who asks.
    async fn viewer(&self) -> Viewer {
        Viewer
    }

    /// The caller's organisation.
    async fn organization(&self, context: &Context<'_>) -> Result<Option<Organization>> {
        own_organization(context).await
    }

    /// This service: version, limits, stores.
    async fn service(&self) -> Service {
        Service
    }

    /// A persona by its handle.
    async fn persona(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Its handle.")] handle: String,
    ) -> Result<Option<Persona>> {
        let key = ByUnique::<entity::persona::Model>::new(Column::Handle, handle);
        Ok(RequestContext::of(context)?.load(key).await?.map(Persona::from))
    }

    /// Personas.
    async fn personas(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only personas that satisfy this.")] filter: Option<PersonaFilter>,
        #[graphql(desc = "What to order by.")] order_by: Option<PersonaOrderField>,
        #[graphql(desc = "Which way.")] direction: Option<OrderDirection>,
    ) -> Result<Option<Connection<Persona>>> {
        let list = ListOf::organization()
            .filtered(filter.unwrap_or_default().predicates())
            .ordered(list::order(order_by, direction));
        list::connection::<entity::persona::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Campaigns.
    async fn campaigns(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only campaigns that satisfy this.")] filter: Option<CampaignFilter>,
        #[graphql(desc = "What to order by.")] order_by: Option<CampaignOrderField>,
        #[graphql(desc = "Which way.")] direction: Option<OrderDirection>,
    ) -> Result<Option<Connection<Campaign>>> {
        let list = ListOf::organization()
            .filtered(filter.unwrap_or_default().predicates())
            .ordered(list::order(order_by, direction));
        list::connection::<entity::campaign::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Posts.
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
        let list = ListOf::organization()
            .filtered(filter.unwrap_or_default().predicates())
            .ordered(list::order(order_by, direction));
        list::connection::<entity::post::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Videos.
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
        let list = ListOf::organization()
            .filtered(filter.unwrap_or_default().predicates())
            .ordered(list::order(order_by, direction));
        list::connection::<entity::video::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Media objects, newest first.
    async fn assets(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<Connection<Asset>>> {
        let page = PageArgs::new(first, after, last, before);
        list::connection::<entity::asset::Model, _>(context, ListOf::organization(), page).await
    }

    /// Wallets of all personas, newest first.
    async fn wallets(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<Connection<Wallet>>> {
        let page = PageArgs::new(first, after, last, before);
        list::connection::<entity::wallet::Model, _>(context, ListOf::organization(), page).await
    }

    /// What happened in the organisation's wallets (the newest 100), newest first.
    async fn ledger_entries(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only entries that satisfy this.")] filter: Option<EntryFilter>,
    ) -> Result<Option<Connection<LedgerEntry>>> {
        let wallets = wallets_of(context, Column::Id, Uuid::nil()).await?;
        ledger::entries(context, wallets, filter.unwrap_or_default(), PageArgs::new(first, after, last, before)).await
    }

    /// Bills and credits.
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
        let list = ListOf::organization().ordered(list::order(order_by, direction));
        list::connection::<entity::billing_record::Model, _>(context, list, PageArgs::new(first, after, last, before))
            .await
    }

    /// What the organisation was billed, by group.
    async fn spend_report(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "When it was incurred; all time when absent.")] range: Option<TimeRange>,
        #[graphql(desc = "What the rows are told apart by, besides the currency; one row a currency when empty.")]
        group_by: Vec<SpendGroup>,
        #[graphql(desc = "Rows at the most: 1 to 1000.", default = 100)] first: i32,
    ) -> Result<Option<SpendReport>> {
        report::spend_report(context, None, range, group_by, first).await
    }

    /// Who did what, newest first. Needs the role ADMIN.
    async fn audit_log(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only entries that satisfy this.")] filter: Option<AuditFilter>,
    ) -> Result<Option<Connection<AuditEntry>>> {
        require(RequestContext::of(context)?.scope(), Role::Admin)?;
        let list = ListOf::organization().filtered(filter.unwrap_or_default().predicates());
        list::connection::<entity::audit_entry::Model, _>(context, list, PageArgs::new(first, after, last, before))
            .await
    }

    /// The queues that have tasks or settings of their own, by name.
    async fn queues(&self, context: &Context<'_>) -> Result<Option<Vec<Queue>>> {
        let request = RequestContext::of(context)?;
        let call = async { request.stores().episodic()?.queues(request.scope(), &[]).await };
        let queues = call.await.map_err(|error| field_error(&error))?;
        Ok(Some(queues.into_iter().map(Queue::from).collect()))
    }

    /// One queue by its name; an unknown one is empty.
    async fn queue(&self, context: &Context<'_>, #[graphql(desc = "Its name.")] name: String) -> Result<Option<Queue>> {
        Ok(Some(RequestContext::of(context)?.load(QueueByName(name)).await?.into()))
    }

    /// The steps of all renders, newest first.
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
        telemetry::events(context, Subject::Organization, range, stage, page).await
    }

    /// How all renders went.
    async fn render_stats(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderStatsArgs,
    ) -> Result<Option<RenderStats>> {
        render_stats::stats(context, Subject::Organization, args).await
    }

    /// Whose renders, for which campaigns or in which stages, had most of something.
    async fn render_ranking(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is asked.")] args: RenderRankingArgs,
        #[graphql(desc = "Places from the top: 1 to 100.", default = 10)] first: i32,
    ) -> Result<Option<RenderRanking>> {
        render_ranking::ranking(context, Subject::Organization, args, first).await
    }

    /// Finds personas, campaigns, posts, videos and topics by words: all words must match, the last one as a prefix,
    /// with one typo in words of four letters and two in words of eight.
    async fn search(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What to look for, at most 1,024 bytes; empty finds everything.")] query: String,
        #[graphql(desc = "Only these types.")] types: Option<Vec<SearchType>>,
        #[graphql(desc = "Only hits that satisfy this.")] filter: Option<SearchFilter>,
        #[graphql(desc = "Which facets to count.")] facets: Option<Vec<FacetField>>,
        #[graphql(desc = "In which order.", default_with = "SearchOrder::Relevance")] order: SearchOrder,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<SearchConnection>> {
        let args = SearchArgs { query, types, filter, facets, order };
        discovery::search(context, args, PageArgs::new(first, after, last, before)).await
    }

    /// Topics on the rise: each post and video counts less the older it is.
    async fn trending(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How far to look back: a minute to a year.", default_with = "Duration::from_secs(86_400)")]
        window: Duration,
        #[graphql(desc = "Topics at the most: 1 to 100.", default = 10)] limit: i32,
    ) -> Result<Option<Vec<Trend>>> {
        discovery::trending(context, window, limit).await
    }
}
