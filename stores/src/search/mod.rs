//! The search port: documents derived from the owner stores, and full-text discovery over them.
//!
//! Nothing here is the owner of a fact: every document can be rebuilt. Writes are versioned changes; a lower version
//! than the stored one is refused as superseded.

pub mod embedded;

use crate::{
    Result, Scope,
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
    page::{Position, Slice},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// The type of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DocumentType {
    /// A persona.
    Persona,
    /// A campaign.
    Campaign,
    /// A post.
    Post,
    /// A video.
    Video,
    /// A topic: its id is the UUIDv5 of its name in the organisation.
    Topic,
}

/// What is searchable of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Its type.
    #[serde(rename = "type")]
    pub document_type: DocumentType,
    /// The entity's id.
    pub id: Uuid,
    /// Name, title, or the first words of a post. Weighs most.
    pub title: String,
    /// Handle, of personas.
    pub handle: Option<String>,
    /// Longer text.
    pub text: String,
    /// Tags and topics; searched, and a facet.
    pub tags: Vec<String>,
    /// Status by its stored name; a facet.
    pub status: Option<String>,
    /// Category; a facet.
    pub category: Option<String>,
    /// Platform; a facet.
    pub platform: Option<String>,
    /// Whose.
    pub persona_id: Option<Uuid>,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// When the entity was made.
    pub created_at: DateTime<Utc>,
    /// When it was published; what trending looks at.
    pub published_at: Option<DateTime<Utc>>,
}

/// A versioned change of one document; what the outbox carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The document's type.
    #[serde(rename = "type")]
    pub document_type: DocumentType,
    /// The entity's id.
    pub id: Uuid,
    /// The entity's version.
    pub version: i64,
    /// The document; `None` removes it.
    pub document: Option<Document>,
}

/// A field whose values can be counted and filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FacetField {
    /// The document's type.
    Type,
    /// Tags.
    Tags,
    /// Status.
    Status,
    /// Category.
    Category,
    /// Platform.
    Platform,
}

/// The order of hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchOrder {
    /// Best first (all scores are 0 when the query is empty).
    Relevance,
    /// Newest first by `created_at`.
    Newest,
    /// Oldest first by `created_at`.
    Oldest,
}

/// Which documents qualify; all given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchFilter {
    /// One of these values of each field named.
    pub facets: Vec<(FacetField, Vec<String>)>,
    /// Of this persona.
    pub persona_id: Option<Uuid>,
    /// For this campaign.
    pub campaign_id: Option<Uuid>,
    /// `from <= created_at`.
    pub created_from: Option<DateTime<Utc>>,
    /// `created_at < to`.
    pub created_to: Option<DateTime<Utc>>,
}

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// What is looked for; the last word may be a prefix, and words may have typos (one from 4 letters on, two from 8).
    /// Empty matches everything.
    pub query: String,
    /// Only these types; empty means any.
    pub types: Vec<DocumentType>,
    /// Among which.
    pub filter: SearchFilter,
    /// Which facets are counted. Disjunctive: a facet's own filter does not apply to its counts.
    pub facets: Vec<FacetField>,
    /// Values of each facet at the most, most frequent first (then by value).
    pub facet_limit: u32,
    /// The order.
    pub order: SearchOrder,
    /// Which part. Forward only is required of adapters: `slice.backward` may be `Unsupported`.
    pub slice: Slice,
    /// Whether highlights are wanted.
    pub highlights: bool,
}

/// A fragment of a field, with the matched parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highlight {
    /// `title`, `text`, `handle` or `tags`.
    pub field: &'static str,
    /// Plain text; never markup.
    pub fragment: String,
    /// Byte ranges of the matches in `fragment`, ascending.
    pub matches: Vec<(usize, usize)>,
}

/// One hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The entity's type.
    pub document_type: DocumentType,
    /// The entity's id.
    pub id: Uuid,
    /// The document's title, so that a list can be shown without another store.
    pub title: String,
    /// Relevance; comparable within one answer.
    pub score: f64,
    /// Where it stands in the order, for the next page.
    pub position: Position,
    /// Where it matched.
    pub highlights: Vec<Highlight>,
}

/// How many documents have a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetCount {
    /// The value.
    pub value: String,
    /// How many.
    pub count: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchResult {
    /// Hits of the page.
    pub hits: Vec<Hit>,
    /// Whether some come before.
    pub has_previous: bool,
    /// Whether more follow.
    pub has_next: bool,
    /// All matching documents, exact.
    pub total: u64,
    /// Facets in the order asked for.
    pub facets: Vec<(FacetField, Vec<FacetCount>)>,
}

/// A question for what is on the rise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrendingQuery {
    /// Looks back this far from now.
    pub window_seconds: u64,
    /// At most this many topics.
    pub limit: u32,
}

/// A topic on the rise. `score` sums `2^(-age / half-life)` over the posts and videos published in the window, with a
/// half-life of a quarter of the window.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend {
    /// The topic.
    pub topic: String,
    /// The decayed count.
    pub score: f64,
    /// The plain count.
    pub count: u64,
}

/// What a search adapter can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `embedded`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// Changes of one `apply` at the most.
    pub max_apply: usize,
    /// Whether pages can be walked backwards.
    pub backward: bool,
    /// Whether `apply` returns only when the change is visible to searches.
    pub visible_on_ack: bool,
}

/// What a search store implements. Documents of other organisations never match nor count.
#[async_trait]
pub trait SearchAdapter: Send + Sync + 'static {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// Answers when the store can be read and written.
    async fn health(&self) -> Result<()>;

    /// Applies changes in order, one result per change. `Superseded` for a version below the stored one (equal counts
    /// as already applied and is `Ok`); a removal is remembered, so that an older put cannot bring the document back.
    /// What is `Ok` is durable and searchable within a second.
    async fn apply(&self, scope: &Scope, changes: &[Change]) -> Result<Vec<Result<()>>>;

    /// One answer per query, in as few calls as the store can; a bad query fails alone.
    async fn search(&self, scope: &Scope, queries: &[SearchQuery]) -> Result<Vec<Result<SearchResult>>>;

    /// Topics by score, descending, one answer per query.
    async fn trending(&self, scope: &Scope, queries: &[TrendingQuery]) -> Result<Vec<Vec<Trend>>>;
}

/// The search handle.
#[derive(Clone)]
pub struct Search {
    guard: Guard,
    adapter: Arc<dyn SearchAdapter>,
}

const STORE: Store = Store::Search;

impl Search {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn SearchAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`SearchAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`SearchAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`SearchAdapter::apply`]. Versioned, hence repeatable.
    pub async fn apply(&self, scope: &Scope, changes: &[Change]) -> Result<Vec<Result<()>>> {
        let mut results = Vec::with_capacity(changes.len());
        for changes in changes.chunks(self.adapter.capabilities().max_apply) {
            let call = || self.adapter.apply(scope, changes);
            let applied = self.guard.call(scope, "apply", Idempotence::Read, call).await?;
            results.extend(one_per_key(STORE, changes.len(), applied)?);
        }
        Ok(results)
    }

    /// See [`SearchAdapter::search`]. A query out of bounds fails the batch with `Invalid`.
    pub async fn search(&self, scope: &Scope, queries: &[SearchQuery]) -> Result<Vec<Result<SearchResult>>> {
        for query in queries {
            query.slice.check(STORE)?;
            if query.query.len() > 1024 {
                return Err(StoreError::invalid(STORE, "the query is longer than 1,024 bytes"));
            }
            if query.slice.backward && !self.adapter.capabilities().backward {
                return Err(StoreError::unsupported(STORE, "this search store pages forward only"));
            }
        }
        let call = || self.adapter.search(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "search", Idempotence::Read, call).await?)
    }

    /// See [`SearchAdapter::trending`].
    pub async fn trending(&self, scope: &Scope, queries: &[TrendingQuery]) -> Result<Vec<Vec<Trend>>> {
        let call = || self.adapter.trending(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "trending", Idempotence::Read, call).await?)
    }
}
