//! The relational port: the owner of organisations, users, the persona registry, campaigns, posts, videos, assets,
//! wallets, billing, the audit log and the outbox.
//!
//! Rows are the models of the `entity` crate. Reads are batches of ids, unique keys or parents. The only write is
//! [`Transaction`]: rows, audit entries and outbox entries commit together or not at all.

mod record;
mod spend;
mod sql;

pub use record::{Kind, Record, Row};
pub use spend::{MAX_SPEND_ROWS, SpendGroup, SpendQuery, SpendReport, SpendRow};
pub use sql::{PostgresOptions, SqlRelational};

use crate::{
    Finding, Result, Scope,
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
    page::{Page, Slice},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use entity::outbox_entry::Target;
use futures_util::stream::BoxStream;
use std::{collections::HashMap, sync::Arc};
use uuid::Uuid;

/// A column that predicates, orders and parents may name. A kind that lacks it answers `Invalid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the column of the same name")]
pub enum Column {
    Id,
    ExternalId,
    Handle,
    Name,
    Title,
    Email,
    Status,
    Kind,
    Category,
    Platform,
    Chain,
    Address,
    Actor,
    Action,
    EntityType,
    EntityId,
    UserId,
    PersonaId,
    CampaignId,
    VideoId,
    AssetId,
    SourceAssetId,
    AmountMinor,
    OccurredAt,
    ScheduledAt,
    PublishedAt,
    StartsAt,
    EndsAt,
    CreatedAt,
    UpdatedAt,
}

/// A value a predicate compares with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Text, and enums by their stored name (`ACTIVE`).
    Text(String),
    /// Integers.
    Int(i64),
    /// Ids.
    Uuid(Uuid),
    /// Times.
    Time(DateTime<Utc>),
}

/// A condition on one column; a list of them means all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Predicate {
    /// The column is one of these; an empty list matches nothing.
    In(Column, Vec<Value>),
    /// `from <= column < to`; a missing bound does not limit. A null column never matches.
    Range(Column, Option<Value>, Option<Value>),
    /// The text column contains this, ignoring ASCII case.
    Contains(Column, String),
    /// The column is null (`true`) or is not (`false`).
    IsNull(Column, bool),
}

/// How a page's rows hang on their parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// The child's column holds the parent's id.
    Column(Column),
    /// Personas of a campaign, or campaigns of a persona, through `campaign_persona`; the parent is the other side.
    CampaignPersona,
}

/// The order of a page: one column, then the id in the same direction. Only columns that are never null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// `Id` orders by creation.
    pub column: Column,
    /// Newest or largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { column: Column::Id, descending: true }
    }
}

/// What is asked of a list; the same for every parent of a batch. Positions hold times as microseconds, ids as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageQuery {
    /// Which rows.
    pub kind: Kind,
    /// How they hang on the parents; `None` lists the whole organisation (then pass one nil parent).
    pub edge: Option<Edge>,
    /// All must hold.
    pub predicates: Vec<Predicate>,
    /// The order.
    pub order: Order,
    /// Which part of the list.
    pub slice: Slice,
    /// Whether [`Page::total`] is wanted; costs a count.
    pub total: bool,
}

/// One row written.
#[derive(Clone, Debug)]
pub enum Change {
    /// Makes the row as it is; its `version` must be 1.
    Insert(Row),
    /// Replaces the row whose stored version is one less than this row's `version`; `Conflict` when it is not.
    Update(Row),
    /// Removes the row; a missing one is `NotFound`.
    Delete(Kind, Uuid),
}

/// An audit entry to be written with the rows. Time, actor and organisation come from the scope and the clock.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The mutation's name, such as `createCampaign`.
    pub action: &'static str,
    /// Type of what was changed, as in the API.
    pub entity_type: &'static str,
    /// Id of what was changed.
    pub entity_id: Uuid,
    /// The request it came with.
    pub request_id: Option<String>,
    /// SHA-256 (hex) of the row before.
    pub before_hash: Option<String>,
    /// SHA-256 (hex) of the row after.
    pub after_hash: Option<String>,
}

/// A change for a derived store, to be applied by the relay after the commit.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Which store.
    pub target: Target,
    /// What it is about; order is kept for each entity.
    pub entity_id: Uuid,
    /// The version of the entity that this change carries.
    pub entity_version: i64,
    /// The change as the target's port reads it (serialised `memory::Change` or `search::Change`).
    pub body: serde_json::Value,
}

/// Everything a mutation changes in this store: committed together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Rows, in order.
    pub changes: Vec<Change>,
    /// Audit entries.
    pub audit: Vec<Audit>,
    /// Outbox entries.
    pub outbox: Vec<Outgoing>,
}

/// What a commit leaves to be done: the outbox entries it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Sequence number and target of each outbox entry, in the order of [`Transaction::outbox`].
    pub outbox: Vec<(i64, Target)>,
}

/// How the relay's try at an outbox entry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Applied (or superseded): the entry is removed.
    Done,
    /// Try again not before this time.
    Retry {
        /// When.
        not_before: DateTime<Utc>,
        /// What the try said.
        error: String,
    },
}

/// Which billing records are summed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BillingKey {
    /// `None` sums the whole organisation; otherwise `CampaignId` or `PersonaId` and its id.
    pub parent: Option<(Column, Uuid)>,
    /// `from <= occurred_at`.
    pub from: Option<DateTime<Utc>>,
    /// `occurred_at < to`.
    pub to: Option<DateTime<Utc>>,
}

/// A sum of billing records in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingTotal {
    /// ISO 4217.
    pub currency: String,
    /// In minor units.
    pub amount_minor: i64,
    /// How many records.
    pub records: u64,
}

/// What a relational adapter can do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `sqlite`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// Keys of one batch at the most; the handle cuts larger ones.
    pub max_batch: usize,
    /// Whether an acknowledged commit survives a crash of the machine.
    pub durable: bool,
    /// Whether rows of other organisations are hidden by the database as well.
    pub row_level_security: bool,
}

/// What a relational store implements. Every method filters by the scope's organisation unless it says otherwise;
/// rows of another organisation behave exactly as absent ones.
#[async_trait]
pub trait RelationalAdapter: Send + Sync + 'static {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// Answers when the store can be read and written.
    async fn health(&self) -> Result<()>;

    /// What its operator should know about the store's own state; nothing when all is well.
    async fn findings(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// Lets go of what is open, in good order; nothing is asked afterwards. A store that is never closed loses nothing.
    async fn close(&self) {}

    /// Rows by id: one result per id, in order; absent is `None`. Users are visible through a membership, an
    /// organisation to its own scope. One statement a batch.
    async fn get(&self, scope: &Scope, kind: Kind, ids: &[Uuid]) -> Result<Vec<Option<Row>>>;

    /// Rows by a unique column (`Handle`, `ExternalId`, `Email`, `Address`): one result per value, in order.
    /// `Invalid` for a column that is not unique in the organisation. One statement a batch.
    async fn find(&self, scope: &Scope, kind: Kind, column: Column, values: &[String]) -> Result<Vec<Option<Row>>>;

    /// One page per parent, in order; an unknown parent has an empty page. One statement for all parents (and one
    /// more when totals are asked for).
    async fn pages(&self, scope: &Scope, query: &PageQuery, parents: &[Uuid]) -> Result<Vec<Page<Row>>>;

    /// Commits all or nothing. `Conflict` names the unique key or version that stood in the way, `Invalid` a missing
    /// reference. Rows must carry the scope's organisation.
    async fn commit(&self, scope: &Scope, transaction: &Transaction) -> Result<Committed>;

    /// Sums of billing records: one result per key, in order, currencies ascending. One statement a batch.
    async fn billing_totals(&self, scope: &Scope, keys: &[BillingKey]) -> Result<Vec<Vec<BillingTotal>>>;

    /// Billing records summed by what each question groups by: one report per question, in order. `Invalid` for a
    /// question that [`SpendQuery::check`] refuses. One statement a batch.
    async fn spend_reports(&self, scope: &Scope, queries: &[SpendQuery]) -> Result<Vec<SpendReport>>;

    /// For the relay, over all organisations: entries of `target` that are due, oldest first, leaving out every
    /// entity that has an older entry which is not due. Where several processes share the store they are this process's
    /// until it settles them or asks again, and nothing is due for the others meanwhile.
    async fn outbox_due(&self, target: Target, limit: u32) -> Result<Vec<entity::outbox_entry::Model>>;

    /// For the relay: how each entry's try ended, in one transaction.
    async fn outbox_settle(&self, settlements: &[(i64, Settlement)]) -> Result<()>;

    /// For a mutation that waits for its entries: which of these are still to be carried, ascending. The others were
    /// settled, by this process or another one.
    async fn outbox_left(&self, sequences: &[i64]) -> Result<Vec<i64>>;

    /// For the relay: an item whenever another process may have written to the outbox. Items may come late, more often
    /// than there was reason to, or not at all while the store is away, so who follows it polls as well. `None` when the
    /// store cannot tell.
    fn outbox_changes(&self) -> Option<BoxStream<'static, ()>> {
        None
    }

    /// For the relay and `/ready`: entries left for each target.
    async fn outbox_depth(&self) -> Result<Vec<(Target, u64)>>;

    /// For authentication, before there is a scope: the scope of a live key with this SHA-256 (hex).
    async fn authenticate(&self, key_hash: &str) -> Result<Option<Scope>>;

    /// For start-up, over all organisations: how many keys are neither revoked nor expired.
    async fn live_keys(&self) -> Result<u64>;

    /// For rebuilding derived stores: the ids of all organisations, ascending.
    async fn organizations(&self) -> Result<Vec<Uuid>>;

    /// For start-up: organisations by handle, before there is a scope.
    async fn organization_by_handle(&self, handle: &str) -> Result<Option<entity::organization::Model>>;
}

/// The relational handle.
#[derive(Clone)]
pub struct Relational {
    guard: Guard,
    adapter: Arc<dyn RelationalAdapter>,
}

const STORE: Store = Store::Relational;

impl Relational {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn RelationalAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`RelationalAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`RelationalAdapter::close`].
    pub async fn close(&self) {
        self.adapter.close().await;
    }

    /// See [`RelationalAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`RelationalAdapter::findings`].
    pub async fn findings(&self, scope: &Scope) -> Result<Vec<Finding>> {
        self.guard.call(scope, "findings", Idempotence::Read, || self.adapter.findings()).await
    }

    /// Rows of one type by id: one result per id, in order.
    pub async fn get<R: Record>(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<R>>> {
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(self.adapter.capabilities().max_batch) {
            let call = || self.adapter.get(scope, R::KIND, ids);
            let found = self.guard.call(scope, R::GET, Idempotence::Read, call).await?;
            rows.extend(one_per_key(STORE, ids.len(), found)?.into_iter().map(|row| row.and_then(R::from_row)));
        }
        Ok(rows)
    }

    /// Rows of one type by a unique column: one result per value, in order.
    pub async fn find<R: Record>(&self, scope: &Scope, column: Column, values: &[String]) -> Result<Vec<Option<R>>> {
        let mut rows = Vec::with_capacity(values.len());
        for values in values.chunks(self.adapter.capabilities().max_batch) {
            let call = || self.adapter.find(scope, R::KIND, column, values);
            let found = self.guard.call(scope, R::FIND, Idempotence::Read, call).await?;
            rows.extend(one_per_key(STORE, values.len(), found)?.into_iter().map(|row| row.and_then(R::from_row)));
        }
        Ok(rows)
    }

    /// One page of one type per parent, in order. `query.kind` is set from the type.
    pub async fn pages<R: Record>(&self, scope: &Scope, query: &PageQuery, parents: &[Uuid]) -> Result<Vec<Page<R>>> {
        query.slice.check(STORE)?;
        if query.kind != R::KIND {
            return Err(StoreError::invalid(STORE, "the query is about another kind of row"));
        }
        let mut pages = Vec::with_capacity(parents.len());
        for parents in parents.chunks(self.adapter.capabilities().max_batch) {
            let call = || self.adapter.pages(scope, query, parents);
            let found = self.guard.call(scope, R::PAGES, Idempotence::Read, call).await?;
            for page in one_per_key(STORE, parents.len(), found)? {
                let Page { items, has_previous, has_next, total } = page;
                let items = items.into_iter().filter_map(R::from_row).collect();
                pages.push(Page { items, has_previous, has_next, total });
            }
        }
        Ok(pages)
    }

    /// See [`RelationalAdapter::commit`].
    pub async fn commit(&self, scope: &Scope, transaction: &Transaction) -> Result<Committed> {
        for change in &transaction.changes {
            if let Change::Insert(row) | Change::Update(row) = change
                && row.organization_id().is_some_and(|id| id != scope.organization_id())
            {
                return Err(StoreError::invalid(STORE, "a row of another organisation cannot be written"));
            }
        }
        self.guard.call(scope, "commit", Idempotence::Once, || self.adapter.commit(scope, transaction)).await
    }

    /// See [`RelationalAdapter::billing_totals`].
    pub async fn billing_totals(&self, scope: &Scope, keys: &[BillingKey]) -> Result<Vec<Vec<BillingTotal>>> {
        let call = || self.adapter.billing_totals(scope, keys);
        let totals = self.guard.call(scope, "billing_totals", Idempotence::Read, call).await?;
        one_per_key(STORE, keys.len(), totals)
    }

    /// See [`RelationalAdapter::spend_reports`].
    pub async fn spend_reports(&self, scope: &Scope, queries: &[SpendQuery]) -> Result<Vec<SpendReport>> {
        let mut reports = Vec::with_capacity(queries.len());
        for queries in queries.chunks(self.adapter.capabilities().max_batch) {
            queries.iter().try_for_each(SpendQuery::check)?;
            let call = || self.adapter.spend_reports(scope, queries);
            let found = self.guard.call(scope, "spend_reports", Idempotence::Read, call).await?;
            reports.extend(one_per_key(STORE, queries.len(), found)?);
        }
        Ok(reports)
    }

    /// See [`RelationalAdapter::outbox_due`].
    pub async fn outbox_due(
        &self,
        scope: &Scope,
        target: Target,
        limit: u32,
    ) -> Result<Vec<entity::outbox_entry::Model>> {
        self.guard.call(scope, "outbox_due", Idempotence::Read, || self.adapter.outbox_due(target, limit)).await
    }

    /// See [`RelationalAdapter::outbox_settle`].
    pub async fn outbox_settle(&self, scope: &Scope, settlements: &[(i64, Settlement)]) -> Result<()> {
        // Settling twice is the same as settling once, so this write may be repeated.
        let call = || self.adapter.outbox_settle(settlements);
        self.guard.call(scope, "outbox_settle", Idempotence::Read, call).await
    }

    /// See [`RelationalAdapter::outbox_left`].
    pub async fn outbox_left(&self, scope: &Scope, sequences: &[i64]) -> Result<Vec<i64>> {
        self.guard.call(scope, "outbox_left", Idempotence::Read, || self.adapter.outbox_left(sequences)).await
    }

    /// See [`RelationalAdapter::outbox_changes`].
    pub fn outbox_changes(&self) -> Option<BoxStream<'static, ()>> {
        self.adapter.outbox_changes()
    }

    /// See [`RelationalAdapter::outbox_depth`].
    pub async fn outbox_depth(&self, scope: &Scope) -> Result<HashMap<Target, u64>> {
        let depths = self.guard.call(scope, "outbox_depth", Idempotence::Read, || self.adapter.outbox_depth()).await?;
        Ok(depths.into_iter().collect())
    }

    /// See [`RelationalAdapter::authenticate`].
    pub async fn authenticate(&self, key_hash: &str) -> Result<Option<Scope>> {
        let scope = Scope::system(Uuid::nil());
        self.guard.call(&scope, "authenticate", Idempotence::Read, || self.adapter.authenticate(key_hash)).await
    }

    /// See [`RelationalAdapter::live_keys`].
    pub async fn live_keys(&self) -> Result<u64> {
        let scope = Scope::system(Uuid::nil());
        self.guard.call(&scope, "live_keys", Idempotence::Read, || self.adapter.live_keys()).await
    }

    /// See [`RelationalAdapter::organizations`].
    pub async fn organizations(&self) -> Result<Vec<Uuid>> {
        let scope = Scope::system(Uuid::nil());
        self.guard.call(&scope, "organizations", Idempotence::Read, || self.adapter.organizations()).await
    }

    /// See [`RelationalAdapter::organization_by_handle`].
    pub async fn organization_by_handle(&self, handle: &str) -> Result<Option<entity::organization::Model>> {
        let scope = Scope::system(Uuid::nil());
        let call = || self.adapter.organization_by_handle(handle);
        self.guard.call(&scope, "organization_by_handle", Idempotence::Read, call).await
    }
}
