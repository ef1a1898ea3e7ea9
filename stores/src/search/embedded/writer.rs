//! The one thread that writes the index.
//!
//! Changes of many callers are grouped: everything that has queued up goes into one commit, and all of it is
//! acknowledged when the commit is on disk and visible to searches. The thread alone holds the versions of all
//! documents, so a stale change is refused without a lock.
//!
//! What the engine's commit syncs: every file of a segment when it is closed, then the folder, then the list of
//! segments before it is renamed into place. It does not sync the folder after the rename, so that a crash of the
//! machine could bring back the list before; [`Writer::commit`] does.

use super::schema::{Fields, Key};
use crate::{
    ErrorKind, Result, Store, StoreError,
    search::{Change, Document},
};
use std::{collections::HashMap, fs::File, path::PathBuf};
use tantivy::{
    Index, IndexReader, IndexWriter, TantivyError,
    indexer::{IndexWriterOptions, LogMergePolicy},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Memory for documents that are not on disk yet; the engine's least is 15 MB.
const HEAP_BYTES: usize = 24_000_000;

/// Changes of one commit at the most, so that the first caller does not wait for all that come after.
const GROUP: usize = 4_096;

/// A tag, status, category or platform at the most. Elasticsearch refuses values above 32,766 bytes and Meilisearch
/// cuts facets at 468 characters; a value of this size was never meant as one.
const LONGEST_VALUE_BYTES: usize = 1_024;

/// One result for each change.
pub type Applied = Result<Vec<Result<()>>>;

/// Changes of one organisation, and who waits for them. Without changes it asks whether writing works.
pub struct Job {
    /// Whose.
    pub organization: Uuid,
    /// In order.
    pub changes: Vec<Change>,
    /// Told when all of it is durable and visible.
    pub done: oneshot::Sender<Applied>,
}

/// The writing end of an index.
pub struct Writer {
    folder: PathBuf,
    fields: Fields,
    index: Index,
    reader: IndexReader,
    /// Made anew after a failed commit, as the engine's writer is of no use after an error.
    engine: Option<IndexWriter>,
    versions: HashMap<Key, i64>,
}

/// Opens the engine's writer, which holds the lock of the folder.
pub fn engine(index: &Index) -> tantivy::Result<IndexWriter> {
    let options = IndexWriterOptions::builder()
        .memory_budget_per_thread(HEAP_BYTES)
        .num_worker_threads(1)
        .num_merge_threads(1)
        .build();
    let writer = index.writer_with_options(options)?;
    let mut policy = LogMergePolicy::default();
    // Every new version leaves a deleted document behind; without this, a large segment keeps them for ever.
    policy.set_del_docs_ratio_before_merge(0.3);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}

impl Writer {
    /// Takes over an open index. `versions` holds every document and tombstone in it.
    pub fn new(
        folder: PathBuf,
        fields: Fields,
        index: Index,
        reader: IndexReader,
        engine: IndexWriter,
        versions: HashMap<Key, i64>,
    ) -> Self {
        Self { folder, fields, index, reader, engine: Some(engine), versions }
    }

    /// Works until every sender is gone, then waits for merges under way and lets go of the folder.
    pub fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Job>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut waiting = first.changes.len();
            let mut jobs = vec![first];
            while waiting < GROUP
                && let Ok(next) = inbox.try_recv()
            {
                waiting += next.changes.len();
                jobs.push(next);
            }
            self.work(jobs);
        }
        if let Some(engine) = self.engine
            && let Err(error) = engine.wait_merging_threads()
        {
            tracing::warn!(%error, "a merge of the search index failed; it will be tried again");
        }
    }

    fn work(&mut self, jobs: Vec<Job>) {
        // What the versions were, to be put back when the commit fails.
        let mut undo = Vec::new();
        let mut outcome = self.revive();
        let mut answers = Vec::with_capacity(jobs.len());
        for Job { organization, changes, done } in jobs {
            let mut results = Vec::with_capacity(changes.len());
            for change in &changes {
                match &outcome {
                    Ok(()) => {
                        let staged = self.stage(organization, change, &mut undo);
                        let (staged, failed) =
                            staged.map_or_else(|error| (Ok(()), Err(error)), |staged| (staged, Ok(())));
                        outcome = failed;
                        results.push(staged);
                    }
                    Err(_) => break,
                }
            }
            answers.push((done, results));
        }
        if outcome.is_ok() && !undo.is_empty() {
            outcome = self.commit();
        }
        let outcome = outcome.map_err(|error| {
            self.engine = None;
            self.restore(undo);
            let busy = matches!(error, TantivyError::LockFailure(..));
            let message = if busy {
                "the search index is in use by another process"
            } else {
                "the change could not be written to the search index"
            };
            StoreError::with_source(Store::Search, ErrorKind::Unavailable, message, error)
        });
        for (done, results) in answers {
            // A caller that has gone away does not change what is stored.
            let _ = done.send(outcome.clone().map(|()| results));
        }
    }

    fn revive(&mut self) -> tantivy::Result<()> {
        if self.engine.is_none() {
            self.engine = Some(engine(&self.index)?);
        }
        Ok(())
    }

    /// Hands a change to the engine. The outer error is the engine's and fails the whole group.
    fn stage(
        &mut self,
        organization: Uuid,
        change: &Change,
        undo: &mut Vec<(Key, Option<i64>)>,
    ) -> tantivy::Result<Result<()>> {
        if let Err(error) = check(change) {
            return Ok(Err(error));
        }
        let key = Key { organization, document_type: change.document_type, id: change.id };
        let stored = self.versions.get(&key).copied();
        if let Some(stored) = stored {
            match change.version.cmp(&stored) {
                std::cmp::Ordering::Less => {
                    let message = "the search index holds a later version";
                    return Ok(Err(StoreError::new(Store::Search, ErrorKind::Superseded, message)));
                }
                std::cmp::Ordering::Equal => return Ok(Ok(())),
                std::cmp::Ordering::Greater => {}
            }
        }
        let stopped = || TantivyError::SystemError("the writer is closed".to_owned());
        let engine = self.engine.as_ref().ok_or_else(stopped)?;
        if stored.is_some() {
            engine.delete_term(self.fields.key_term(key));
        }
        engine.add_document(self.fields.entry(key, change.version, change.document.as_ref()))?;
        undo.push((key, stored));
        self.versions.insert(key, change.version);
        Ok(Ok(()))
    }

    fn commit(&mut self) -> tantivy::Result<()> {
        let stopped = || TantivyError::SystemError("the writer is closed".to_owned());
        let mut commit = self.engine.as_mut().ok_or_else(stopped)?.prepare_commit()?;
        // Compared when the index is opened: a list of segments that lost some of them shows.
        commit.set_payload(&self.versions.len().to_string());
        commit.commit()?;
        File::open(&self.folder)?.sync_all()?;
        self.reader.reload()
    }

    fn restore(&mut self, undo: Vec<(Key, Option<i64>)>) {
        for (key, version) in undo.into_iter().rev() {
            match version {
                Some(version) => self.versions.insert(key, version),
                None => self.versions.remove(&key),
            };
        }
    }
}

/// Refuses a change that could not be stored as it is.
fn check(change: &Change) -> Result<()> {
    let Some(document) = &change.document else { return Ok(()) };
    if (document.document_type, document.id) != (change.document_type, change.id) {
        return Err(StoreError::invalid(Store::Search, "the document is of another type or id than its change"));
    }
    let Document { tags, status, category, platform, .. } = document;
    let long = |value: &&String| value.len() > LONGEST_VALUE_BYTES;
    if tags.iter().chain(status).chain(category).chain(platform).any(|value| long(&value)) {
        let message = "a tag, status, category or platform is longer than 1,024 bytes";
        return Err(StoreError::invalid(Store::Search, message));
    }
    Ok(())
}
