//! The memory port: the owner of persona definitions, memories with their vectors, and interactions.
//!
//! Every persona is a tenant of its own inside its organisation: no call reads two personas' data together. Writes are
//! versioned changes, so that a relay may repeat them; a lower version than the stored one is refused as superseded.
//!
//! # How versions decide
//!
//! Each definition, memory and interaction has a line of versions of its own; a drop is on the definition's line. What
//! was removed leaves its version behind, so that a late replay cannot bring it back. At an equal version, a repeat
//! counts as already applied, and a removal wins over a put whichever came first: the outcome never depends on the order
//! of delivery. While a persona is dropped, puts of its memories and interactions are superseded; a definition with a
//! higher version makes an empty tenant anew, and what was in the old one stays gone unless put again with a higher
//! version.
//!
//! # How to add a memory store
//!
//! Implement [`MemoryAdapter`]; make vectors with an [`embedder::Embedder`] unless the store makes its own; score with
//! [`score`], so that a recall means the same in every store. Then add a line to `tests/contract/memory`.

pub mod context;
pub mod embedded;
pub mod embedder;
pub mod score;
mod words;

use crate::{
    Result, Scope,
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
    page::{Page, Slice},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, sync::Arc};
use uuid::Uuid;

/// What a memory is, in the terms of cognitive psychology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MemoryKind {
    /// Something that happened.
    Episodic,
    /// Something known.
    Semantic,
    /// How something is done.
    Procedural,
    /// A conclusion drawn from other memories.
    Reflection,
}

/// Who a persona is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// The persona.
    pub persona_id: Uuid,
    /// Grows with every change.
    pub version: i64,
    /// Its story.
    pub bio: String,
    /// How it speaks.
    pub voice: String,
    /// Traits, such as `curious`.
    pub traits: Vec<String>,
    /// Rules it follows.
    pub directives: Vec<String>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// One memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryRecord {
    /// Its id.
    pub id: Uuid,
    /// The persona that remembers.
    pub persona_id: Uuid,
    /// Grows with every change.
    pub version: i64,
    /// What it is.
    pub kind: MemoryKind,
    /// What is remembered: 1 to 16,384 bytes, not blank.
    pub text: String,
    /// From 0 (trivial) to 1 (defining).
    pub importance: f32,
    /// Where it comes from, such as `twitter` or a URL.
    pub source: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// One exchange between a persona and somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    /// Its id.
    pub id: Uuid,
    /// The persona.
    pub persona_id: Uuid,
    /// Grows with every change.
    pub version: i64,
    /// Where, such as `instagram`.
    pub channel: String,
    /// With whom, as that place names them.
    pub counterparty: String,
    /// `true` when the persona spoke.
    pub outbound: bool,
    /// What was said.
    pub text: String,
    /// When.
    pub occurred_at: DateTime<Utc>,
}

/// A versioned change of one thing; what the outbox carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Makes or replaces a definition (and the persona's tenant).
    PutDefinition(Definition),
    /// Makes or replaces a memory.
    PutMemory(MemoryRecord),
    /// Removes a memory for good; a later put with a higher version brings it back.
    ForgetMemory {
        /// The persona.
        persona_id: Uuid,
        /// The memory.
        id: Uuid,
        /// Its version.
        version: i64,
    },
    /// Makes or replaces an interaction.
    PutInteraction(Interaction),
    /// Removes the persona's whole tenant.
    DropPersona {
        /// The persona.
        persona_id: Uuid,
        /// Its version.
        version: i64,
    },
}

impl Change {
    /// The tenant it belongs to.
    pub fn persona_id(&self) -> Uuid {
        match self {
            Change::PutDefinition(definition) => definition.persona_id,
            Change::PutMemory(memory) => memory.persona_id,
            Change::PutInteraction(interaction) => interaction.persona_id,
            Change::ForgetMemory { persona_id, .. } | Change::DropPersona { persona_id, .. } => *persona_id,
        }
    }
}

/// How memories are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecallMode {
    /// By meaning: cosine of vectors.
    Semantic,
    /// By words: BM25.
    Keyword,
    /// Both, fused.
    Hybrid,
}

/// Which memories qualify; all given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryFilter {
    /// One of these kinds; empty means any.
    pub kinds: Vec<MemoryKind>,
    /// `from <= occurred_at`.
    pub from: Option<DateTime<Utc>>,
    /// `occurred_at < to`.
    pub to: Option<DateTime<Utc>>,
    /// At least this important.
    pub min_importance: Option<f32>,
    /// Exactly this source.
    pub source: Option<String>,
    /// Has all of these tags.
    pub tags: Vec<String>,
}

impl MemoryFilter {
    /// Whether a memory qualifies: the meaning of a filter, for every adapter.
    pub fn matches(&self, memory: &MemoryRecord) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&memory.kind))
            && self.from.is_none_or(|from| from <= memory.occurred_at)
            && self.to.is_none_or(|to| memory.occurred_at < to)
            && self.min_importance.is_none_or(|least| memory.importance >= least)
            && (self.source.is_none() || self.source == memory.source)
            && self.tags.iter().all(|tag| memory.tags.contains(tag))
    }

    /// Whether every memory qualifies.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A recall of one persona.
#[derive(Clone, Debug, PartialEq)]
pub struct RecallQuery {
    /// The persona.
    pub persona_id: Uuid,
    /// What is looked for: 1 to 4,096 bytes.
    pub query: String,
    /// How.
    pub mode: RecallMode,
    /// Among which.
    pub filter: MemoryFilter,
    /// At most this many, 1 to 100.
    pub limit: u32,
    /// In HYBRID, the weight of meaning from 0 to 1 (words get the rest).
    pub alpha: f32,
}

/// Where a score comes from. `score = relevance × weight`, documented in [`context`].
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled {
    /// The memory.
    pub memory: MemoryRecord,
    /// What the list is ordered by, descending, ties by id.
    pub score: f64,
    /// Cosine similarity of the query and the memory, when meaning was used.
    pub semantic: Option<f64>,
    /// BM25 of the query's words, when words were used.
    pub keyword: Option<f64>,
    /// The factor for importance and recency, between 0.75 and 1.25.
    pub weight: f64,
}

/// A page of one persona's memories, newest first by `occurred_at` (then id).
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryPageQuery {
    /// The persona.
    pub persona_id: Uuid,
    /// Among which.
    pub filter: MemoryFilter,
    /// Which part.
    pub slice: Slice,
    /// Whether the total is wanted.
    pub total: bool,
}

/// A page of one persona's interactions, newest first by `occurred_at` (then id).
#[derive(Clone, Debug, PartialEq)]
pub struct InteractionPageQuery {
    /// The persona.
    pub persona_id: Uuid,
    /// Only with this counterparty.
    pub counterparty: Option<String>,
    /// Which part.
    pub slice: Slice,
}

/// What a memory adapter can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `embedded`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// The embedding model's name.
    pub model: String,
    /// Its dimensions.
    pub dimensions: usize,
    /// Up to how many memories a persona semantic recall is exact.
    pub exact_up_to: u64,
    /// Whether an acknowledged change survives `kill -9`.
    pub durable: bool,
}

/// What a memory store implements. Look-ups of another organisation's persona behave as an unknown persona's.
#[async_trait]
pub trait MemoryAdapter: Send + Sync + 'static {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// Answers when the store can be read and written.
    async fn health(&self) -> Result<()>;

    /// Applies changes in order, one result per change. `Superseded` for a version not above the stored one (equal
    /// counts as already applied and is `Ok`; the module's documentation has the ties). What is `Ok` is durable and
    /// visible to every read.
    async fn apply(&self, scope: &Scope, changes: &[Change]) -> Result<Vec<Result<()>>>;

    /// Definitions by persona, one result per persona; absent is `None`.
    async fn definitions(&self, scope: &Scope, persona_ids: &[Uuid]) -> Result<Vec<Option<Definition>>>;

    /// Memories by (persona, id), one result per key; absent is `None`.
    async fn memories(&self, scope: &Scope, keys: &[(Uuid, Uuid)]) -> Result<Vec<Option<MemoryRecord>>>;

    /// One page per query. Sort position: `Int` microseconds of `occurred_at`, descending.
    async fn memory_pages(&self, scope: &Scope, queries: &[MemoryPageQuery]) -> Result<Vec<Page<MemoryRecord>>>;

    /// One page per query. Sort position as for memories.
    async fn interaction_pages(
        &self,
        scope: &Scope,
        queries: &[InteractionPageQuery],
    ) -> Result<Vec<Page<Interaction>>>;

    /// Best first, one result per query; a bad query fails alone.
    async fn recall(&self, scope: &Scope, queries: &[RecallQuery]) -> Result<Vec<Result<Vec<Recalled>>>>;
}

/// The memory handle.
#[derive(Clone)]
pub struct Memory {
    guard: Guard,
    adapter: Arc<dyn MemoryAdapter>,
}

const STORE: Store = Store::Memory;

impl Memory {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn MemoryAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`MemoryAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`MemoryAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`MemoryAdapter::apply`]. Versioned, hence repeatable. A change out of bounds fails alone, before the store
    /// is asked.
    pub async fn apply(&self, scope: &Scope, changes: &[Change]) -> Result<Vec<Result<()>>> {
        let checked: Vec<Result<()>> = changes.iter().map(check_change).collect();
        let good: Cow<'_, [Change]> = if checked.iter().all(Result::is_ok) {
            changes.into()
        } else {
            changes.iter().zip(&checked).filter(|(_, check)| check.is_ok()).map(|(change, _)| change.clone()).collect()
        };
        let mut results = Vec::new();
        if !good.is_empty() {
            let call = || self.adapter.apply(scope, &good);
            let applied = self.guard.call(scope, "apply", Idempotence::Read, call).await?;
            results = one_per_key(STORE, good.len(), applied)?;
        }
        let mut results = results.into_iter();
        let missing = || Err(StoreError::invalid(STORE, "the change was not answered"));
        Ok(checked.into_iter().map(|check| check.and_then(|()| results.next().unwrap_or_else(missing))).collect())
    }

    /// See [`MemoryAdapter::definitions`].
    pub async fn definitions(&self, scope: &Scope, persona_ids: &[Uuid]) -> Result<Vec<Option<Definition>>> {
        let call = || self.adapter.definitions(scope, persona_ids);
        one_per_key(STORE, persona_ids.len(), self.guard.call(scope, "definitions", Idempotence::Read, call).await?)
    }

    /// See [`MemoryAdapter::memories`].
    pub async fn memories(&self, scope: &Scope, keys: &[(Uuid, Uuid)]) -> Result<Vec<Option<MemoryRecord>>> {
        let call = || self.adapter.memories(scope, keys);
        one_per_key(STORE, keys.len(), self.guard.call(scope, "memories", Idempotence::Read, call).await?)
    }

    /// See [`MemoryAdapter::memory_pages`].
    pub async fn memory_pages(&self, scope: &Scope, queries: &[MemoryPageQuery]) -> Result<Vec<Page<MemoryRecord>>> {
        for query in queries {
            query.slice.check(STORE)?;
        }
        let call = || self.adapter.memory_pages(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "memory_pages", Idempotence::Read, call).await?)
    }

    /// See [`MemoryAdapter::interaction_pages`].
    pub async fn interaction_pages(
        &self,
        scope: &Scope,
        queries: &[InteractionPageQuery],
    ) -> Result<Vec<Page<Interaction>>> {
        for query in queries {
            query.slice.check(STORE)?;
        }
        let call = || self.adapter.interaction_pages(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "interaction_pages", Idempotence::Read, call).await?)
    }

    /// See [`MemoryAdapter::recall`]. A query out of bounds fails alone, before the store is asked.
    pub async fn recall(&self, scope: &Scope, queries: &[RecallQuery]) -> Result<Vec<Result<Vec<Recalled>>>> {
        let checked: Vec<Result<()>> = queries.iter().map(check_recall).collect();
        let good: Vec<RecallQuery> =
            queries.iter().zip(&checked).filter(|(_, check)| check.is_ok()).map(|(query, _)| query.clone()).collect();
        let mut results = Vec::new();
        if !good.is_empty() {
            let call = || self.adapter.recall(scope, &good);
            let found = self.guard.call(scope, "recall", Idempotence::Read, call).await?;
            results = one_per_key(STORE, good.len(), found)?;
        }
        let mut results = results.into_iter();
        let missing = || Err(StoreError::invalid(STORE, "the recall was not answered"));
        Ok(checked.into_iter().map(|check| check.and_then(|()| results.next().unwrap_or_else(missing))).collect())
    }
}

/// The longest memory, in bytes.
pub const MAX_TEXT_BYTES: usize = 16_384;

fn check_change(change: &Change) -> Result<()> {
    let invalid = |message: &str| Err(StoreError::invalid(STORE, message));
    match change {
        Change::PutMemory(memory) if memory.text.trim().is_empty() => invalid("the memory's text is empty"),
        Change::PutMemory(memory) if memory.text.len() > MAX_TEXT_BYTES => {
            invalid("the memory's text is longer than 16,384 bytes")
        }
        Change::PutMemory(memory) if !(0.0..=1.0).contains(&memory.importance) => {
            invalid("the importance is not between 0 and 1")
        }
        _ => Ok(()),
    }
}

fn check_recall(query: &RecallQuery) -> Result<()> {
    let invalid = |message: &str| Err(StoreError::invalid(STORE, message));
    match query {
        _ if query.query.trim().is_empty() => invalid("the query is empty"),
        _ if query.query.len() > 4096 => invalid("the query is longer than 4,096 bytes"),
        _ if !(1..=100).contains(&query.limit) => invalid("the limit is not between 1 and 100"),
        _ if !(0.0..=1.0).contains(&query.alpha) => invalid("alpha is not between 0 and 1"),
        _ => Ok(()),
    }
}
