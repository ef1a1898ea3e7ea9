//! The way of a change: decided under one lock, queued for the disk under the same lock, shown to readers when it is on
//! disk, in the order of the queue.
//!
//! - The versions are checked and the write is queued under one lock, so the order on disk is the order of the decisions.
//! - Each batch has a number. Commits may be acknowledged to their tasks in any order; batches are shown by number.
//! - A caller waits until everything it was told about is shown, also for a repeat of a change that is still on its way.
//! - The rest runs in a task of its own: a caller that gives up (its deadline passed) changes nothing.
//! - After a failed commit, nothing more is accepted: what is on disk is then unknown until the file is opened again.
//!   Readers keep what was shown before.

use super::{
    format::{self, Stored, Tenancy},
    keywords::Terms,
    tenant::Tenant,
    versions::{Head, Heads, Verdict, superseded},
};
use crate::{
    durable::{Durable, Record, Write},
    error::{ErrorKind, Result, Store, StoreError},
    memory::{Change, Definition, Interaction, MemoryRecord, embedder::Model},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::watch;
use uuid::Uuid;

const STORE: Store = Store::Memory;

/// A change with all it needs: a put of a memory has its vector, unless the versions already showed it to be stale.
#[derive(Debug)]
pub struct Prepared {
    /// What is to be changed.
    pub change: Change,
    /// The vector of a memory.
    pub vector: Option<Vec<f32>>,
}

/// What readers will see of a change.
#[derive(Debug)]
enum Shown {
    Definition(Tenancy, Definition),
    Memory(Tenancy, MemoryRecord, Vec<f32>),
    Forgotten(Tenancy, Uuid),
    Interaction(Tenancy, Interaction),
    Dropped(Tenancy),
}

/// How far readers can see.
#[derive(Clone, Debug, Default)]
struct Progress {
    shown: u64,
    failure: Option<StoreError>,
}

/// The writers' side.
#[derive(Debug, Default)]
struct Decided {
    heads: HashMap<Tenancy, Heads>,
    /// The number of the newest batch.
    batch: u64,
    /// Whether the file says which model it is of.
    has_meta: bool,
}

/// All personas of the store, and the way in.
#[derive(Debug)]
pub struct Contents {
    model: Model,
    durable: Durable,
    decided: Mutex<Decided>,
    /// Batches whose commit has ended, and that wait for an earlier one.
    landed: Mutex<BTreeMap<u64, Result<Vec<Shown>>>>,
    progress: watch::Sender<Progress>,
    tenants: RwLock<HashMap<Tenancy, Arc<RwLock<Tenant>>>>,
}

impl Contents {
    /// What a file holds.
    ///
    /// # Errors
    /// `Corrupt` for records that make no sense, `Conflict` for vectors of another model.
    pub fn load(model: &Model, durable: Durable, records: Vec<Record>, place: &str) -> Result<Self> {
        let mut decided = Decided::default();
        let mut tenants: HashMap<Tenancy, Tenant> = HashMap::new();
        let corrupt = |message: &str| Err(StoreError::new(STORE, ErrorKind::Corrupt, format!("{place} {message}")));
        for record in records {
            let (tenancy, stored) = format::read(&record)?;
            if let Stored::Meta(meta) = stored {
                check_model(&meta.model, model, place)?;
                decided.has_meta = true;
                continue;
            }
            if !decided.has_meta {
                return corrupt(
                    "does not say which model its vectors are of; restore it from a backup or move it away",
                );
            }
            let heads = decided.heads.entry(tenancy).or_default();
            let tenant = tenants.entry(tenancy).or_default();
            match stored {
                Stored::Meta(_) => {}
                Stored::Dropped(version) => heads.persona = Some(Head::removed(version)),
                Stored::Definition(definition) => {
                    heads.persona = Some(Head::put(definition.version));
                    tenant.definition = Some(definition);
                }
                Stored::Forgotten(id, version) => _ = heads.memories.insert(id, Head::removed(version)),
                Stored::Memory(_, vector) if vector.len() != model.dimensions => {
                    return corrupt("has a vector of a wrong length; restore it from a backup or move it away");
                }
                Stored::Memory(memory, vector) => {
                    heads.memories.insert(memory.id, Head::put(memory.version));
                    let terms = Terms::of(&memory.text);
                    tenant.memories.put(memory, &vector, terms);
                }
                Stored::Gone(id, version) => _ = heads.interactions.insert(id, Head::removed(version)),
                Stored::Interaction(interaction) => {
                    heads.interactions.insert(interaction.id, Head::put(interaction.version));
                    tenant.put_interaction(interaction);
                }
            }
        }
        let tenants = tenants.into_iter().map(|(tenancy, tenant)| (tenancy, Arc::new(RwLock::new(tenant)))).collect();
        Ok(Self {
            model: model.clone(),
            durable,
            decided: Mutex::new(decided),
            landed: Mutex::default(),
            progress: watch::Sender::default(),
            tenants: RwLock::new(tenants),
        })
    }

    /// A persona, if it has anything to read.
    pub fn tenant(&self, tenancy: Tenancy) -> Option<Arc<RwLock<Tenant>>> {
        self.tenants.read().get(&tenancy).cloned()
    }

    /// Whether a put of this version of a memory is stale whatever happens: versions never go back.
    pub fn is_stale(&self, tenancy: Tenancy, memory: Uuid, version: i64) -> bool {
        let decided = self.decided.lock();
        let head = decided.heads.get(&tenancy).and_then(|heads| heads.memories.get(&memory));
        head.is_some_and(|head| version <= head.version)
    }

    /// Answers when the file can be written.
    pub async fn health(&self) -> Result<()> {
        self.check()?;
        self.durable.commit(Vec::new()).await
    }

    fn check(&self) -> Result<()> {
        self.progress.borrow().failure.clone().map_or(Ok(()), Err)
    }

    /// Decides on a batch, in order, and queues it for the disk. Answers one result per change and the number of the
    /// batch that must be shown before any of them may be told.
    ///
    /// Must be called inside the runtime. Blocking: encoding a batch or dropping a large persona takes milliseconds.
    pub fn queue(
        self: Arc<Self>,
        organization: Uuid,
        changes: Vec<Result<Prepared>>,
    ) -> Result<(Vec<Result<()>>, u64)> {
        self.check()?;
        let mut decided = self.decided.lock();
        let mut writes = Vec::new();
        if !decided.has_meta {
            writes.push(format::write_meta(&self.model)?);
        }
        let about_the_file = writes.len();
        let mut shown = Vec::new();
        let results: Vec<Result<()>> = changes
            .into_iter()
            .map(|prepared| {
                let Prepared { change, vector } = prepared?;
                let tenancy = (organization, change.persona_id());
                let heads = decided.heads.entry(tenancy).or_default();
                shown.extend(decide(heads, tenancy, change, vector, &mut writes)?);
                Ok(())
            })
            .collect();
        if writes.len() > about_the_file {
            decided.has_meta = true;
            decided.batch += 1;
            let (batch, commit) = (decided.batch, self.durable.commit(writes));
            let contents = self.clone();
            tokio::spawn(async move {
                let landed = commit.await.map(|()| shown);
                // Waits for locks that a long recall may hold.
                tokio::task::spawn_blocking(move || contents.land(batch, landed)).await
            });
        }
        Ok((results, decided.batch))
    }

    /// Waits until a batch and all before it can be read.
    pub async fn shown(&self, batch: u64) -> Result<()> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.shown >= batch || progress.failure.is_some()).await;
        match reached.map(|progress| progress.clone()) {
            Ok(progress) if progress.shown >= batch => Ok(()),
            Ok(Progress { failure: Some(failure), .. }) => Err(failure),
            _ => Err(StoreError::new(STORE, ErrorKind::Internal, "the store has stopped")),
        }
    }

    fn land(&self, batch: u64, result: Result<Vec<Shown>>) {
        // Held while showing: the next batch must not overtake this one.
        let mut landed = self.landed.lock();
        landed.insert(batch, result);
        let Progress { mut shown, mut failure } = self.progress.borrow().clone();
        while let (None, Some(result)) = (&failure, landed.remove(&(shown + 1))) {
            match result {
                Ok(changes) => {
                    changes.into_iter().for_each(|change| self.show(change));
                    shown += 1;
                }
                Err(error) => failure = Some(error),
            }
        }
        self.progress.send_replace(Progress { shown, failure });
    }

    fn show(&self, change: Shown) {
        match change {
            Shown::Definition(tenancy, definition) => self.made(tenancy).write().definition = Some(definition),
            Shown::Memory(tenancy, memory, vector) => {
                let terms = Terms::of(&memory.text);
                self.made(tenancy).write().memories.put(memory, &vector, terms);
            }
            Shown::Forgotten(tenancy, id) => self.made(tenancy).write().memories.remove(id),
            Shown::Interaction(tenancy, interaction) => self.made(tenancy).write().put_interaction(interaction),
            Shown::Dropped(tenancy) => drop(self.tenants.write().remove(&tenancy)),
        }
    }

    fn made(&self, tenancy: Tenancy) -> Arc<RwLock<Tenant>> {
        self.tenants.write().entry(tenancy).or_default().clone()
    }
}

fn check_model(stored: &Model, given: &Model, place: &str) -> Result<()> {
    if stored == given {
        return Ok(());
    }
    Err(StoreError::conflict(
        STORE,
        format!(
            "{place} holds vectors of the model {stored}, but the embedder's model is {given}; configure the first \
             model again, or move the file away and have the memories written anew"
        ),
    ))
}

/// Decides on one change; adds its writes and answers what readers will see, `None` for a repeat.
fn decide(
    heads: &mut Heads,
    tenancy: Tenancy,
    change: Change,
    vector: Option<Vec<f32>>,
    writes: &mut Vec<Write>,
) -> Result<Option<Shown>> {
    match change {
        Change::PutDefinition(definition) => {
            let head = Head::put(definition.version);
            if head.over(heads.persona.as_ref())? == Verdict::Repeat {
                return Ok(None);
            }
            writes.push(format::write_definition(tenancy, &definition)?);
            heads.persona = Some(head);
            Ok(Some(Shown::Definition(tenancy, definition)))
        }
        Change::PutMemory(memory) => {
            let head = Head::put(memory.version);
            if heads.is_dropped() {
                return Err(superseded());
            }
            if head.over(heads.memories.get(&memory.id))? == Verdict::Repeat {
                return Ok(None);
            }
            let vector = vector.ok_or_else(superseded)?;
            writes.push(format::write_memory(tenancy, &memory, &vector)?);
            heads.memories.insert(memory.id, head);
            Ok(Some(Shown::Memory(tenancy, memory, vector)))
        }
        Change::ForgetMemory { id, version, .. } => {
            // Also in a dropped persona: its version must outlive the drop.
            let head = Head::removed(version);
            if head.over(heads.memories.get(&id))? == Verdict::Repeat {
                return Ok(None);
            }
            writes.push(format::write_forgotten(tenancy, id, version));
            heads.memories.insert(id, head);
            Ok(Some(Shown::Forgotten(tenancy, id)))
        }
        Change::PutInteraction(interaction) => {
            let head = Head::put(interaction.version);
            if heads.is_dropped() {
                return Err(superseded());
            }
            if head.over(heads.interactions.get(&interaction.id))? == Verdict::Repeat {
                return Ok(None);
            }
            writes.push(format::write_interaction(tenancy, &interaction)?);
            heads.interactions.insert(interaction.id, head);
            Ok(Some(Shown::Interaction(tenancy, interaction)))
        }
        Change::DropPersona { version, .. } => {
            let head = Head::removed(version);
            if head.over(heads.persona.as_ref())? == Verdict::Repeat {
                return Ok(None);
            }
            writes.push(format::write_dropped(tenancy, version));
            heads.persona = Some(head);
            for (&id, head) in heads.memories.iter_mut().filter(|(_, head)| head.live) {
                head.live = false;
                writes.push(format::write_forgotten(tenancy, id, head.version));
            }
            for (&id, head) in heads.interactions.iter_mut().filter(|(_, head)| head.live) {
                head.live = false;
                writes.push(format::write_gone(tenancy, id, head.version));
            }
            Ok(Some(Shown::Dropped(tenancy)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    const TENANCY: Tenancy = (Uuid::from_u128(1), Uuid::from_u128(2));

    fn contents(folder: &tempfile::TempDir) -> Arc<Contents> {
        let (durable, records) = Durable::open(STORE, &folder.path().join("memory.redb")).unwrap();
        let model = Model { name: "m".to_owned(), dimensions: 2 };
        Arc::new(Contents::load(&model, durable, records, "the file").unwrap())
    }

    fn definition(version: i64) -> Definition {
        Definition {
            persona_id: TENANCY.1,
            version,
            bio: String::new(),
            voice: String::new(),
            traits: Vec::new(),
            directives: Vec::new(),
            updated_at: DateTime::UNIX_EPOCH,
        }
    }

    fn version(contents: &Contents) -> Option<i64> {
        let tenant = contents.tenant(TENANCY)?;
        let tenant = tenant.read();
        tenant.definition.as_ref().map(|definition| definition.version)
    }

    #[tokio::test]
    async fn batches_are_shown_in_the_order_of_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        let contents = contents(&folder);
        let put = |version| Ok(vec![Shown::Definition(TENANCY, definition(version))]);
        contents.land(3, put(3));
        contents.land(2, Ok(vec![Shown::Dropped(TENANCY)]));
        assert_eq!(version(&contents), None);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), contents.shown(2)).await.is_err());
        contents.land(1, put(1));
        contents.shown(3).await.unwrap();
        assert_eq!(version(&contents), Some(3));
    }

    #[tokio::test]
    async fn after_a_failed_commit_nothing_is_accepted_and_readers_keep_what_they_had() {
        let folder = tempfile::tempdir().unwrap();
        let contents = contents(&folder);
        let put = |version| Ok(vec![Shown::Definition(TENANCY, definition(version))]);
        contents.land(1, put(1));
        contents.land(3, put(3));
        contents.land(2, Err(StoreError::new(STORE, ErrorKind::Unavailable, "the disk is full")));
        contents.shown(1).await.unwrap();
        for batch in [2, 3] {
            assert_eq!(contents.shown(batch).await.unwrap_err().message(), "the disk is full");
        }
        assert_eq!(version(&contents), Some(1));
        assert_eq!(contents.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
        let change = Ok(Prepared { change: Change::PutDefinition(definition(4)), vector: None });
        assert_eq!(contents.queue(TENANCY.0, vec![change]).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
