//! The memory store in this process: exact vector search and a keyword index in memory, one file on disk.
//!
//! Everything of a persona is held in memory (with 384 dimensions 1.5 KB a vector, plus text and index), and every
//! semantic recall looks at every vector of the persona, so results are exact: some 20 ms for 50,000 memories. Beyond
//! that a server with an approximate index is the better store. What readers see is always on disk already. The file
//! belongs to one process at a time.
//!
//! `writer` is the way of a change, `tenant` what readers see, `versions` what decides, `format` the bytes on disk.

mod format;
mod keywords;
mod tenant;
mod timeline;
mod versions;
mod writer;

#[cfg(test)]
mod tests;

use super::{
    Capabilities, Change, Definition, Interaction, InteractionPageQuery, MemoryAdapter, MemoryPageQuery, MemoryRecord,
    RecallMode, RecallQuery, Recalled,
    embedder::{Embedder, RecentQueries, embed_each},
};
use crate::{
    Clock, Result, Scope,
    durable::Durable,
    error::{ErrorKind, Store, StoreError},
    page::Page,
};
use async_trait::async_trait;
use parking_lot::RwLock;
use std::{collections::HashMap, path::Path, sync::Arc};
use tenant::Tenant;
use uuid::Uuid;
use writer::{Contents, Prepared};

const STORE: Store = Store::Memory;
/// Measured up to here; see the module's documentation.
const EXACT_UP_TO: u64 = 50_000;
/// Up to this many rows (under half a millisecond with 384 dimensions), work stays on the task that asks.
const INLINE_ROWS: usize = 1_000;
/// 1.5 KB each with 384 dimensions.
const RECENT_QUERIES: usize = 512;

/// The embedded memory store.
pub struct EmbeddedMemory {
    contents: Arc<Contents>,
    embedder: Arc<dyn Embedder>,
    recent: RecentQueries,
    clock: Arc<dyn Clock>,
    place: String,
}

impl EmbeddedMemory {
    /// Opens `memory.redb` in `folder`, or makes both. Reads the whole file: call it at the start, not on a request.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Conflict` for vectors of another model than the embedder's,
    /// `Unavailable` when the file cannot be opened or is held by another process.
    pub fn open(folder: &Path, embedder: Arc<dyn Embedder>, clock: Arc<dyn Clock>) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| {
            let message = format!("the folder {} cannot be made", folder.display());
            StoreError::with_source(STORE, ErrorKind::Unavailable, message, error)
        })?;
        let path = folder.join("memory.redb");
        let place = path.display().to_string();
        let (durable, records) = Durable::open(STORE, &path)?;
        let contents = Arc::new(Contents::load(embedder.model(), durable, records, &place)?);
        Ok(Self { contents, embedder, recent: RecentQueries::new(RECENT_QUERIES), clock, place })
    }

    fn tenant(&self, scope: &Scope, persona: Uuid) -> Option<Arc<RwLock<Tenant>>> {
        self.contents.tenant((scope.organization_id(), persona))
    }

    /// Adds vectors: those of unchanged texts are taken over, the others are embedded in one call, each text once.
    /// Answers the changes, and the embedder's failure if it failed.
    async fn prepare(&self, scope: &Scope, changes: &[Change]) -> (Vec<Result<Prepared>>, Option<StoreError>) {
        let mut texts: Vec<String> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let plan: Vec<Vector> = changes
            .iter()
            .map(|change| match change {
                Change::PutMemory(memory) => self.vector_kept(scope, memory).unwrap_or_else(|| {
                    Vector::Made(*known.entry(&memory.text).or_insert_with(|| {
                        texts.push(memory.text.clone());
                        texts.len() - 1
                    }))
                }),
                _ => Vector::None,
            })
            .collect();
        let made = embed_each(&*self.embedder, &texts).await;
        let prepared = changes.iter().zip(plan).map(|(change, vector)| {
            let vector = match vector {
                Vector::None => None,
                Vector::Kept(vector) => Some(vector),
                Vector::Made(at) => Some(made.as_ref().map_err(Clone::clone)?.get(at).cloned().unwrap_or_else(gone)?),
            };
            Ok(Prepared { change: change.clone(), vector })
        });
        (prepared.collect(), made.as_ref().err().cloned())
    }

    /// What is known without embedding: nothing is needed, or the text is unchanged.
    fn vector_kept(&self, scope: &Scope, memory: &MemoryRecord) -> Option<Vector> {
        let tenancy = (scope.organization_id(), memory.persona_id);
        if self.contents.is_stale(tenancy, memory.id, memory.version) {
            return Some(Vector::None);
        }
        let tenant = self.contents.tenant(tenancy)?;
        let tenant = tenant.read_recursive();
        let dimensions = self.embedder.model().dimensions;
        Some(Vector::Kept(tenant.memories.vector_of(memory.id, &memory.text, dimensions)?.to_vec()))
    }
}

/// Where the vector of a change comes from.
enum Vector {
    None,
    Kept(Vec<f32>),
    Made(usize),
}

fn gone<T>() -> Result<T> {
    Err(StoreError::new(STORE, ErrorKind::BadResponse, "the embedder answered no vector"))
}

/// The tenant's size, without queueing behind a writer that waits for a long recall.
fn rows(tenant: Option<&Arc<RwLock<Tenant>>>) -> usize {
    tenant.map_or(0, |tenant| tenant.read_recursive().rows())
}

async fn run<T: Send + 'static>(rows: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if rows <= INLINE_ROWS {
        return Ok(work());
    }
    blocking(work).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::with_source(STORE, ErrorKind::Internal, "the store failed", error))
}

#[async_trait]
impl MemoryAdapter for EmbeddedMemory {
    fn capabilities(&self) -> Capabilities {
        let model = self.embedder.model();
        Capabilities {
            adapter: "embedded",
            place: self.place.clone(),
            model: model.name.clone(),
            dimensions: model.dimensions,
            exact_up_to: EXACT_UP_TO,
            durable: true,
        }
    }

    async fn health(&self) -> Result<()> {
        self.contents.health().await
    }

    /// When the embedder fails, the changes that need it fail, and the call as a whole if none else is left.
    async fn apply(&self, scope: &Scope, changes: &[Change]) -> Result<Vec<Result<()>>> {
        let (prepared, failure) = self.prepare(scope, changes).await;
        if let Some(failure) = failure
            && prepared.iter().all(Result::is_err)
        {
            return Err(failure);
        }
        let (contents, organization) = (self.contents.clone(), scope.organization_id());
        let (results, batch) = blocking(move || contents.queue(organization, prepared)).await??;
        self.contents.shown(batch).await?;
        Ok(results)
    }

    async fn definitions(&self, scope: &Scope, persona_ids: &[Uuid]) -> Result<Vec<Option<Definition>>> {
        let definition = |persona: &Uuid| self.tenant(scope, *persona)?.read_recursive().definition.clone();
        Ok(persona_ids.iter().map(definition).collect())
    }

    async fn memories(&self, scope: &Scope, keys: &[(Uuid, Uuid)]) -> Result<Vec<Option<MemoryRecord>>> {
        let memory =
            |(persona, id): &(Uuid, Uuid)| self.tenant(scope, *persona)?.read_recursive().memories.get(*id).cloned();
        Ok(keys.iter().map(memory).collect())
    }

    async fn memory_pages(&self, scope: &Scope, queries: &[MemoryPageQuery]) -> Result<Vec<Page<MemoryRecord>>> {
        let work: Vec<_> = queries.iter().map(|query| (self.tenant(scope, query.persona_id), query.clone())).collect();
        let most = work.iter().map(|(tenant, _)| rows(tenant.as_ref())).sum();
        let page = |(tenant, query): (Option<Arc<RwLock<Tenant>>>, MemoryPageQuery)| match tenant {
            Some(tenant) => tenant.read().memories.page(&query),
            None => Page { total: query.total.then_some(0), ..Page::empty() },
        };
        run(most, move || work.into_iter().map(page).collect()).await
    }

    async fn interaction_pages(
        &self,
        scope: &Scope,
        queries: &[InteractionPageQuery],
    ) -> Result<Vec<Page<Interaction>>> {
        let work: Vec<_> = queries.iter().map(|query| (self.tenant(scope, query.persona_id), query.clone())).collect();
        let most = work.iter().map(|(tenant, _)| rows(tenant.as_ref())).sum();
        let page = |(tenant, query): (Option<Arc<RwLock<Tenant>>>, InteractionPageQuery)| {
            tenant.map_or_else(Page::empty, |tenant| tenant.read().interaction_page(&query))
        };
        run(most, move || work.into_iter().map(page).collect()).await
    }

    /// When the embedder fails, the queries that need it fail, and the call as a whole if none else is left.
    async fn recall(&self, scope: &Scope, queries: &[RecallQuery]) -> Result<Vec<Result<Vec<Recalled>>>> {
        let tenants: Vec<_> = queries.iter().map(|query| self.tenant(scope, query.persona_id)).collect();
        let by_meaning = |(query, tenant): &(&RecallQuery, &Option<_>)| {
            (query.mode != RecallMode::Keyword && tenant.is_some()).then(|| query.query.clone())
        };
        let texts: Vec<String> = queries.iter().zip(&tenants).filter_map(|pair| by_meaning(&pair)).collect();
        let embedded = self.recent.embed_each(&*self.embedder, &texts).await;
        if let Err(failure) = &embedded
            && texts.len() == queries.len()
        {
            return Err(failure.clone());
        }
        let most = tenants.iter().map(|tenant| rows(tenant.as_ref())).sum();
        let mut vectors = match embedded {
            Ok(vectors) => vectors,
            Err(failure) => vec![Err(failure); texts.len()],
        }
        .into_iter();
        let work: Vec<_> = queries
            .iter()
            .zip(tenants)
            .map(|(query, tenant)| {
                let vector = by_meaning(&(query, &tenant)).map(|_| vectors.next().unwrap_or_else(gone)).transpose();
                vector.map(|vector| (query.clone(), tenant, vector))
            })
            .collect();
        let now = self.clock.now();
        let recall = move |(query, tenant, vector): (RecallQuery, Option<Arc<RwLock<Tenant>>>, Option<Arc<[f32]>>)| {
            tenant.map_or_else(Vec::new, |tenant| tenant.read().memories.recall(&query, vector.as_deref(), now))
        };
        run(most, move || work.into_iter().map(|work| work.map(recall)).collect()).await
    }
}
