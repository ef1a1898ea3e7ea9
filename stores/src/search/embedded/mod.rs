//! The embedded search: a full-text index in a folder, held by this process alone.
//!
//! It must never be the owner of anything: a damaged folder is refused, and an empty one is filled again from the
//! owners (see [`EmbeddedSearch::is_empty`]).
//!
//! # Rules that the adapters for real servers follow too
//!
//! *Words.* Letters and digits make words; everything else separates them (`ai_nova.x` is three words). Words are
//! lower-cased, accents and other marks removed, letters beyond ASCII folded where they have a counterpart (`ß` is
//! `ss`). Kana, ideographs, Thai, Lao, Burmese and Khmer are cut into pairs of characters; an emoji is a word. Only the
//! first 64 characters of a word tell it apart. Documents and queries are cut alike. There is no stemming and there
//! are no stop words, as content comes in many languages.
//!
//! *Matching.* Every word of the query must match in one of title, handle, tags or text; there is no query syntax. The
//! last word also matches as a prefix. A word of 4 to 7 letters may have one typo, of 8 to 32 letters two (a swap of
//! neighbours is one), for the first sixteen words of a query; longer or later ones must be met as they are. A blank
//! query matches everything; one without a single word, such as `!!!`, matches nothing.
//!
//! *Relevance.* A word counts by its best match: 3 in the title, 1 elsewhere; times 1 for the exact word, 0.4 to 0.7
//! for a prefix (more for a longer one), 0.1 for one typo, 0.05 for two; times 0.8 to 1 by frequency and length of the text. The score is the sum.
//! Scores depend on the query and the document alone.
//!
//! *Filters.* Facet values are compared as they are. A condition without values matches nothing. `types` narrows the
//! whole search, also the counts of the type facet; only a filter on that facet is left out of them.
//!
//! *Order.* Ids must be unique over all types of an organisation (they are UUIDs): they break ties.

mod analysis;
mod facets;
mod highlight;
mod order;
mod query;
mod schema;
mod trending;
mod words;
mod writer;

#[cfg(test)]
mod tests;

use super::{Capabilities, Change, SearchAdapter, SearchQuery, SearchResult, Trend, TrendingQuery};
use crate::{Clock, ErrorKind, Result, Scope, Store, StoreError};
use async_trait::async_trait;
use futures_util::future::join_all;
use schema::{Fields, Key, column};
use std::{
    collections::HashMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};
use tantivy::{
    Index, IndexReader, IndexWriter, ReloadPolicy, TantivyError,
    columnar::Column,
    directory::{MmapDirectory, error::LockError, error::OpenReadError},
    index::SegmentComponent,
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use writer::{Applied, Job, Writer};

/// Changes of one `apply` at the most.
const MAX_APPLY: usize = 1_000;

/// The list of segments; there is no index without it.
const META_FILE: &str = "meta.json";

/// A full-text index in a folder.
pub struct EmbeddedSearch {
    folder: PathBuf,
    fields: Fields,
    reader: IndexReader,
    clock: Arc<dyn Clock>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for EmbeddedSearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedSearch").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl EmbeddedSearch {
    /// Opens the index in `folder`, or makes one. Reads every file of it once to verify the checksums, so this takes
    /// as long as reading the folder; call it outside of async code.
    ///
    /// # Errors
    /// `Corrupt` for a damaged folder, one of another release, or one that holds something else; `Unavailable` when it
    /// is in use by another process or cannot be read.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| unavailable(folder, error))?;
        let fields = Fields::new();
        // The engine reports most damage, and panics on some.
        let opened = catch_unwind(AssertUnwindSafe(|| open(folder, &fields)));
        let Opened { index, engine, reader, versions } =
            opened.unwrap_or_else(|_| Err(StoreError::new(Store::Search, ErrorKind::Corrupt, damaged(folder))))?;
        let writer = Writer::new(folder.to_owned(), fields.clone(), index, reader.clone(), engine, versions);
        let (jobs, inbox) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("search-writer".to_owned()).spawn(move || writer.run(inbox));
        let thread = thread.map_err(|error| {
            StoreError::with_source(Store::Search, ErrorKind::Internal, "a thread could not be started", error)
        })?;
        Ok(Self { folder: folder.to_owned(), fields, reader, clock, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Whether nothing was ever applied, removals included: the index is new and wants to be filled from the owners.
    pub fn is_empty(&self) -> bool {
        self.reader.searcher().num_docs() == 0
    }

    async fn write(&self, organization: Uuid, changes: Vec<Change>) -> Applied {
        let stopped = || StoreError::new(Store::Search, ErrorKind::Unavailable, "the search index has stopped writing");
        let (done, wait) = oneshot::channel();
        let job = Job { organization, changes, done };
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(stopped)?;
        wait.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for EmbeddedSearch {
    /// Waits until the last commit and merge are through and the folder is free for the next one who opens it.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has said so already, and what it left behind is checked when opened again.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl SearchAdapter for EmbeddedSearch {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: "embedded",
            place: self.folder.display().to_string(),
            max_apply: MAX_APPLY,
            backward: true,
            visible_on_ack: true,
        }
    }

    async fn health(&self) -> Result<()> {
        tokio::fs::metadata(self.folder.join(META_FILE)).await.map_err(|error| unavailable(&self.folder, error))?;
        self.write(Uuid::nil(), Vec::new()).await.map(drop)
    }

    async fn apply(&self, scope: &Scope, changes: &[Change]) -> Result<Vec<Result<()>>> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.write(scope.organization_id(), changes.to_vec()).await
    }

    async fn search(&self, scope: &Scope, queries: &[SearchQuery]) -> Result<Vec<Result<SearchResult>>> {
        // One snapshot for the whole batch.
        let searcher = self.reader.searcher();
        let organization = scope.organization_id();
        let answers = queries.iter().map(|query| {
            let (searcher, fields, query) = (searcher.clone(), self.fields.clone(), query.clone());
            blocking(move || query::search(&searcher, &fields, organization, &query))
        });
        Ok(join_all(answers).await)
    }

    async fn trending(&self, scope: &Scope, queries: &[TrendingQuery]) -> Result<Vec<Vec<Trend>>> {
        let (searcher, fields, queries) = (self.reader.searcher(), self.fields.clone(), queries.to_vec());
        let (organization, now) = (scope.organization_id(), self.clock.now());
        blocking(move || {
            queries.iter().map(|query| trending::trending(&searcher, &fields, organization, now, query)).collect()
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let failed = |error| StoreError::with_source(Store::Search, ErrorKind::Internal, "the search failed", error);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(failed(error)))
}

struct Opened {
    index: Index,
    engine: IndexWriter,
    reader: IndexReader,
    versions: HashMap<Key, i64>,
}

fn open(folder: &Path, fields: &Fields) -> Result<Opened> {
    let refuse = |error: TantivyError| refusal(folder, error);
    let index = if is_fresh(folder)? {
        Index::create_in_dir(folder, fields.schema.clone()).map_err(refuse)?
    } else {
        let directory = MmapDirectory::open(folder).map_err(|error| refuse(error.into()))?;
        Index::open(directory).map_err(refuse)?
    };
    if index.schema() != fields.schema {
        let message = format!("{} was written by another release; {REMEDY}", folder.display());
        return Err(StoreError::new(Store::Search, ErrorKind::Corrupt, message));
    }
    index.tokenizers().register(analysis::ANALYZER, analysis::of_documents());
    // Takes the lock of the folder, so that nobody changes what is verified next.
    let engine = writer::engine(&index).map_err(refuse)?;
    verify(folder, &index)?;
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(refuse)?;
    let versions = versions(&reader).map_err(refuse)?;
    let promised = index.load_metas().map_err(refuse)?.payload;
    if promised.unwrap_or_else(|| "0".to_owned()) != versions.len().to_string() {
        return Err(StoreError::new(Store::Search, ErrorKind::Corrupt, damaged(folder)));
    }
    Ok(Opened { index, engine, reader, versions })
}

/// Whether the folder holds no index yet. Hidden files do not count: a start that was cut off leaves some behind.
fn is_fresh(folder: &Path) -> Result<bool> {
    let mut fresh = true;
    for entry in fs::read_dir(folder).map_err(|error| unavailable(folder, error))? {
        let name = entry.map_err(|error| unavailable(folder, error))?.file_name();
        if name == META_FILE {
            return Ok(false);
        }
        fresh &= name.as_encoded_bytes().starts_with(b".");
    }
    if fresh { Ok(true) } else { Err(StoreError::new(Store::Search, ErrorKind::Corrupt, damaged(folder))) }
}

/// Compares every file of every segment with the checksum at its end. The engine's own check skips files that its
/// list of files does not name, and missing ones.
fn verify(folder: &Path, index: &Index) -> Result<()> {
    use SegmentComponent::{Delete, FastFields, FieldNorms, Positions, Postings, Store as Texts, Terms};
    for segment in index.searchable_segments().map_err(|error| refusal(folder, error))? {
        let deletes = segment.meta().has_deletes().then_some(Delete);
        for part in [Postings, Positions, FastFields, FieldNorms, Terms, Texts].into_iter().chain(deletes) {
            let file = segment.meta().relative_path(part);
            if !index.directory().validate_checksum(&file).map_err(|error| refusal(folder, error.into()))? {
                return Err(StoreError::new(Store::Search, ErrorKind::Corrupt, damaged(folder)));
            }
        }
    }
    Ok(())
}

/// The version of every document and tombstone.
fn versions(reader: &IndexReader) -> tantivy::Result<HashMap<Key, i64>> {
    let mut versions = HashMap::new();
    for segment in reader.searcher().segment_readers() {
        let columns = segment.fast_fields();
        let id = |(high, low): (&str, &str)| -> tantivy::Result<(Column<u64>, Column<u64>)> {
            Ok((columns.u64(high)?, columns.u64(low)?))
        };
        let read = |(high, low): &(Column<u64>, Column<u64>), doc| {
            Some(Uuid::from_u64_pair(high.first(doc)?, low.first(doc)?))
        };
        let (organizations, ids) = (id(column::ORGANIZATION)?, id(column::ID)?);
        let (numbers, types) = (columns.i64(column::VERSION)?, columns.str(column::TYPE)?);
        let types = types.ok_or_else(incomplete)?;
        let mut names = Vec::new();
        for ordinal in (0_u64..).take(types.num_terms()) {
            let mut name = String::new();
            types.ord_to_str(ordinal, &mut name)?;
            names.push(schema::type_of(&name));
        }
        let type_at = |doc| names.get(usize::try_from(types.ords().first(doc)?).ok()?).copied().flatten();
        for doc in segment.doc_ids_alive() {
            let key = || {
                let (organization, id) = (read(&organizations, doc)?, read(&ids, doc)?);
                Some((Key { organization, document_type: type_at(doc)?, id }, numbers.first(doc)?))
            };
            let (key, version) = key().ok_or_else(incomplete)?;
            // Two living versions of one document: a list of deletions was lost.
            if versions.insert(key, version).is_some() {
                return Err(incomplete());
            }
        }
    }
    Ok(versions)
}

fn incomplete() -> TantivyError {
    TantivyError::SchemaError("the keys of the documents are not complete or not unique".to_owned())
}

const REMEDY: &str = "it is derived data: remove the folder to rebuild it";

fn damaged(folder: &Path) -> String {
    format!("{} is damaged or not a search index of this program; {REMEDY}", folder.display())
}

fn unavailable(folder: &Path, error: std::io::Error) -> StoreError {
    let message = format!("{} cannot be read", folder.display());
    StoreError::with_source(Store::Search, ErrorKind::Unavailable, message, error)
}

/// Why an index could not be opened. Everything but a lock or a folder that cannot be reached is damage.
fn refusal(folder: &Path, error: TantivyError) -> StoreError {
    use std::io::ErrorKind::{NotFound, PermissionDenied, StorageFull};
    let out_of_reach = |error: &std::io::Error| matches!(error.kind(), NotFound | PermissionDenied | StorageFull);
    let (kind, message) = match &error {
        TantivyError::LockFailure(LockError::LockBusy, _) => {
            (ErrorKind::Unavailable, format!("{} is in use by another process", folder.display()))
        }
        TantivyError::LockFailure(LockError::IoError(_), _) | TantivyError::OpenDirectoryError(_) => {
            (ErrorKind::Unavailable, format!("{} cannot be opened", folder.display()))
        }
        TantivyError::IoError(io) | TantivyError::OpenReadError(OpenReadError::IoError { io_error: io, .. })
            if out_of_reach(io) =>
        {
            (ErrorKind::Unavailable, format!("{} cannot be opened", folder.display()))
        }
        _ => (ErrorKind::Corrupt, damaged(folder)),
    };
    StoreError::with_source(Store::Search, kind, message, error)
}
