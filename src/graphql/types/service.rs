//! The service about itself: version, limits, and the health of its stores.

use super::telemetry_storage::{self, TelemetryStorage};
use crate::graphql::{
    context::RequestContext,
    page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE},
};
use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use chimera_stores::{Store, guard};

/// The limits every request is held to. All are settings.
#[derive(Clone, Debug, Default, SimpleObject)]
pub struct Limits {
    /// Size of a request's body at the most, in bytes.
    pub max_body_bytes: u64,
    /// Size of a request at the most, its document apart, in bytes.
    pub max_variables_bytes: u64,
    /// Lexical tokens of a document at the most.
    pub max_tokens: u64,
    /// Nesting of fields at the most.
    pub max_depth: u64,
    /// Fields of a document at the most, fragments put in place.
    pub max_selections: u64,
    /// Aliases of a document at the most.
    pub max_aliases: u64,
    /// Fields of the root at the most.
    pub max_root_fields: u64,
    /// Directives of a document at the most.
    pub max_directives: u64,
    /// Estimated fields of an answer at the most; lists count as often as they may have rows.
    pub max_complexity: u64,
    /// Requests in one body at the most; 0 refuses batches.
    pub max_batch: u64,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: u64,
}

/// Sizes of pages.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageLimits {
    /// Rows when neither `first` nor `last` is given.
    pub default_size: u32,
    /// Rows at the most.
    pub max_size: u32,
}

/// One of the seven stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum StoreName {
    /// Organisations, users, campaigns, billing, audit, outbox.
    Relational,
    /// Persona definitions, memories, interactions.
    Memory,
    /// Queues, windows, sessions.
    Episodic,
    /// Render events.
    Telemetry,
    /// Balances, transfers, contract events.
    Ledger,
    /// Bytes of media.
    Media,
    /// Full-text discovery.
    Search,
}

impl From<Store> for StoreName {
    fn from(store: Store) -> Self {
        match store {
            Store::Relational => Self::Relational,
            Store::Memory => Self::Memory,
            Store::Episodic => Self::Episodic,
            Store::Telemetry => Self::Telemetry,
            Store::Ledger => Self::Ledger,
            Store::Media => Self::Media,
            Store::Search => Self::Search,
        }
    }
}

/// What a store's breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "guard::BreakerState")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// One call at a time probes whether the store is back.
    HalfOpen,
    /// Calls are refused without being tried.
    Open,
}

/// The state of one store.
#[derive(Clone, Debug, SimpleObject)]
pub struct StoreStatus {
    /// Which.
    pub name: StoreName,
    /// The adapter behind it; `off` when this installation runs without the store.
    pub adapter: String,
    /// What its breaker lets through; null when the store is off.
    pub breaker: Option<BreakerState>,
    /// Calls under way.
    pub in_flight: u64,
    /// Calls under way at the most.
    pub max_in_flight: u64,
    /// The longest a call may take, in milliseconds.
    pub deadline_ms: u64,
}

/// This service.
pub struct Service;

/// What this service is, what it allows, and how its stores are.
#[Object]
impl Service {
    /// Its version.
    async fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The limits every request is held to.
    async fn limits(&self, context: &Context<'_>) -> Result<Limits> {
        Ok(RequestContext::of(context)?.shared().limits.clone())
    }

    /// Sizes of pages.
    async fn pages(&self) -> PageLimits {
        PageLimits { default_size: DEFAULT_PAGE_SIZE, max_size: MAX_PAGE_SIZE }
    }

    /// The seven stores, as their guards see them; asks none of them.
    async fn stores(&self, context: &Context<'_>) -> Result<Vec<StoreStatus>> {
        let stores = RequestContext::of(context)?.stores();
        let status = |description: crate::stores::Description| {
            let guard = stores.guard(description.store);
            let settings = guard.map(|guard| guard.settings().clone()).unwrap_or_default();
            StoreStatus {
                name: description.store.into(),
                adapter: description.adapter.to_owned(),
                breaker: guard.map(|guard| guard.breaker_state().into()),
                in_flight: guard.map_or(0, |guard| guard.in_flight() as u64),
                max_in_flight: settings.max_in_flight as u64,
                deadline_ms: u64::try_from(settings.deadline.as_millis()).unwrap_or(u64::MAX),
            }
        };
        Ok(stores.describe().into_iter().map(status).collect())
    }

    /// What the telemetry store holds and how it looks after itself: sizes, policies, roll-ups, jobs. Asks the store.
    async fn telemetry_storage(&self, context: &Context<'_>) -> Result<Option<TelemetryStorage>> {
        telemetry_storage::storage(context).await
    }
}
