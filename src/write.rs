//! One mutation's writes: rows, audit entries and outbox entries, committed together.
//!
//! Resolvers, the seed and the import all write through a [`UnitOfWork`], so that nothing changes without its audit
//! entry and its derived documents.

use crate::stores::Stores;
use chimera_stores::{
    Result, Scope, memory,
    relational::{Audit, Change, Committed, Outgoing, Record, Transaction},
    search,
};
use chrono::{DateTime, Utc};
use entity::outbox_entry::Target;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What a mutation is about to commit.
pub struct UnitOfWork {
    action: &'static str,
    request_id: Option<String>,
    transaction: Transaction,
}

impl UnitOfWork {
    /// The writes of one mutation; `action` is its name in the API.
    pub fn new(action: &'static str, request_id: Option<String>) -> Self {
        Self { action, request_id, transaction: Transaction::default() }
    }

    /// Makes a row, and its search document when it has one.
    pub fn insert<R: Record + serde::Serialize + Searchable>(&mut self, row: &R) -> &mut Self {
        self.audit(R::KIND.name(), row.id(), None, Some(hash(row)));
        self.transaction.changes.push(Change::Insert(row.clone().into_row()));
        self.index(row)
    }

    /// Replaces a row by one whose version is one higher, and its search document when it has one.
    pub fn update<R: Record + serde::Serialize + Searchable>(&mut self, before: &R, after: &R) -> &mut Self {
        self.audit(R::KIND.name(), after.id(), Some(hash(before)), Some(hash(after)));
        self.transaction.changes.push(Change::Update(after.clone().into_row()));
        self.index(after)
    }

    /// Removes a row that has no search document.
    pub fn delete<R: Record + serde::Serialize>(&mut self, before: &R) -> &mut Self {
        self.audit(R::KIND.name(), before.id(), Some(hash(before)), None);
        self.transaction.changes.push(Change::Delete(R::KIND, before.id()));
        self
    }

    /// Sends a change to the memory store; `entity_id` is what it is about (the persona for definitions, else the item).
    pub fn remember(
        &mut self,
        entity_type: &'static str,
        entity_id: Uuid,
        version: i64,
        change: &memory::Change,
    ) -> &mut Self {
        self.audit(entity_type, entity_id, None, Some(hash(change)));
        self.outgoing(Target::Memory, entity_id, version, change);
        self
    }

    /// Notes a change that lives outside the relational store (a ledger transaction, a task), for the audit log alone.
    pub fn note(&mut self, entity_type: &'static str, entity_id: Uuid, detail: &impl serde::Serialize) -> &mut Self {
        self.audit(entity_type, entity_id, None, Some(hash(detail)));
        self
    }

    /// Commits everything. Answers the outbox entries that the relay has to carry.
    ///
    /// # Errors
    /// `Conflict` or `Invalid` about the rows, or what the relational store says.
    pub async fn commit(self, stores: &Stores, scope: &Scope) -> Result<Committed> {
        stores.relational.commit(scope, &self.transaction).await
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.transaction.changes.is_empty() && self.transaction.audit.is_empty()
    }

    fn audit(
        &mut self,
        entity_type: &'static str,
        entity_id: Uuid,
        before_hash: Option<String>,
        after_hash: Option<String>,
    ) {
        self.transaction.audit.push(Audit {
            action: self.action,
            entity_type,
            entity_id,
            request_id: self.request_id.clone(),
            before_hash,
            after_hash,
        });
    }

    fn index<R: Searchable>(&mut self, row: &R) -> &mut Self {
        for change in row.search_changes() {
            self.outgoing(Target::Search, change.id, change.version, &change);
        }
        self
    }

    fn outgoing(&mut self, target: Target, entity_id: Uuid, entity_version: i64, change: &impl serde::Serialize) {
        // Changes are plain data; they always have a JSON form.
        let body = serde_json::to_value(change).unwrap_or_default();
        self.transaction.outbox.push(Outgoing { target, entity_id, entity_version, body });
    }
}

/// SHA-256 (hex) of a value's JSON, for the audit log.
fn hash(value: &impl serde::Serialize) -> String {
    hex::encode(Sha256::digest(serde_json::to_vec(value).unwrap_or_default()))
}

/// A row's documents in the search store.
pub trait Searchable {
    /// What the search store is to hold of this version of the row; none for rows that are not searched.
    fn search_changes(&self) -> Vec<search::Change> {
        Vec::new()
    }
}

macro_rules! not_searched {
    ($($module:ident),*) => { $(impl Searchable for entity::$module::Model {})* };
}

not_searched!(organization, user, membership, api_key, campaign_persona, asset, wallet, billing_record);

fn document(document_type: search::DocumentType, id: Uuid, created_at: DateTime<Utc>) -> search::Document {
    search::Document {
        document_type,
        id,
        title: String::new(),
        handle: None,
        text: String::new(),
        tags: Vec::new(),
        status: None,
        category: None,
        platform: None,
        persona_id: None,
        campaign_id: None,
        created_at,
        published_at: None,
    }
}

fn put(version: i64, document: search::Document) -> search::Change {
    search::Change { document_type: document.document_type, id: document.id, version, document: Some(document) }
}

/// The name an enum value is stored by, such as `ACTIVE`.
fn name(value: impl serde::Serialize) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Some(name),
        _ => None,
    }
}

impl Searchable for entity::persona::Model {
    fn search_changes(&self) -> Vec<search::Change> {
        let mut document = document(search::DocumentType::Persona, self.id, self.created_at);
        document.title.clone_from(&self.name);
        document.handle = Some(self.handle.clone());
        document.status = name(self.status);
        document.persona_id = Some(self.id);
        vec![put(self.version, document)]
    }
}

impl Searchable for entity::campaign::Model {
    fn search_changes(&self) -> Vec<search::Change> {
        let mut document = document(search::DocumentType::Campaign, self.id, self.created_at);
        document.title.clone_from(&self.name);
        document.text.clone_from(&self.objective);
        document.status = name(self.status);
        document.campaign_id = Some(self.id);
        vec![put(self.version, document)]
    }
}

impl Searchable for entity::post::Model {
    fn search_changes(&self) -> Vec<search::Change> {
        let mut document = document(search::DocumentType::Post, self.id, self.created_at);
        document.title = first_words(&self.text);
        document.text.clone_from(&self.text);
        document.tags.clone_from(&self.topics.0);
        document.status = name(self.status);
        document.platform = Some(self.platform.clone());
        document.persona_id = Some(self.persona_id);
        document.campaign_id = self.campaign_id;
        document.published_at = self.published_at;
        let mut changes = vec![put(self.version, document)];
        changes.extend(topics(self.organization_id, &self.topics.0, self.created_at));
        changes
    }
}

impl Searchable for entity::video::Model {
    fn search_changes(&self) -> Vec<search::Change> {
        let mut document = document(search::DocumentType::Video, self.id, self.created_at);
        document.title.clone_from(&self.title);
        document.text = self.description.clone().unwrap_or_default();
        document.tags.clone_from(&self.tags.0);
        document.status = name(self.status);
        document.category.clone_from(&self.category);
        document.persona_id = Some(self.persona_id);
        document.campaign_id = self.campaign_id;
        document.published_at = self.published_at;
        vec![put(self.version, document)]
    }
}

/// The topics of a post are documents of their own, made once: their version never grows, so a repeat is absorbed.
fn topics(organization_id: Uuid, topics: &[String], created_at: DateTime<Utc>) -> Vec<search::Change> {
    topics
        .iter()
        .map(|topic| {
            let id = Uuid::new_v5(&organization_id, topic.as_bytes());
            let mut document = document(search::DocumentType::Topic, id, created_at);
            document.title.clone_from(topic);
            put(1, document)
        })
        .collect()
}

/// The first words of a text, at most 80 characters, cut between words where possible.
fn first_words(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 80 {
        return line.to_owned();
    }
    let cut: String = line.chars().take(80).collect();
    let end = cut.rfind(' ').unwrap_or(cut.len());
    format!("{}…", cut.get(..end).unwrap_or(&cut).trim_end())
}

/// A version of a memory above `before` and above every other this process has given: the time in microseconds, or one
/// more than the last when the clock stands still or jumps back. For whatever writes memories under derived ids.
pub fn memory_version_after(before: i64, now: DateTime<Utc>) -> i64 {
    static LAST: Mutex<i64> = Mutex::new(0);
    let mut last = LAST.lock();
    *last = now.timestamp_micros().max(last.saturating_add(1)).max(before.saturating_add(1));
    *last
}
