//! The episodic store that lives in this process: everything in memory, every change on disk before it is
//! acknowledged.
//!
//! One lock guards all organisations. Under it a call decides what happens and queues the records to be written, which
//! takes microseconds; it waits for the disk after it has let go. So decisions and the disk have the same order, and the
//! waiting calls share one write.
//!
//! What a caller may see:
//! - an answer that tells of a task, a turn or a session comes only when what it tells is on disk, whoever changed it;
//! - counts of a queue, and the absence of something, may run ahead of the disk by the length of one write;
//! - a call that is given up half-way (a deadline passed) may have happened all the same. A lease that was handed to
//!   nobody this way ends like any other.
//!
//! When the disk fails, memory is ahead of it and nothing can be trusted: from the first failed write on, every call answers
//! `Unavailable` until the store is opened anew.
//!
//! Changes of an organisation nobody asks for are caught up with once a minute, by whoever comes.

mod control;
mod counter;
mod journal;
mod keys;
mod pages;
mod queue;
mod session;
mod task;
#[cfg(test)]
mod tests;
mod topics;
mod window;

use super::*;
use crate::{
    Clock,
    durable::{Durable, Record, Write},
    error::{ErrorKind, Store, StoreError},
};
use chrono::TimeDelta;
use journal::Batch;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use task::{Body, Entry, Progress};

const MAX_BATCH: usize = 1000;
/// How long turns are remembered.
const WINDOW_SECONDS: u64 = 3600;
/// How long completed tasks are remembered.
const COMPLETED_SECONDS: u64 = 3600;
/// What the file says it is; the number rises when its records change their meaning.
const FORMAT: &[u8] = b"chimera episodic 1";
const SWEEP: TimeDelta = TimeDelta::minutes(1);

#[derive(Default)]
struct Organization {
    queues: queue::Queues,
    windows: window::Windows,
    sessions: session::Sessions,
    counters: counter::Counters,
}

impl Organization {
    fn tick(&mut self, batch: &mut Batch) -> Result<()> {
        self.windows.tick(batch);
        self.sessions.tick(batch);
        self.counters.tick(batch);
        self.queues.tick(batch)
    }

    fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.windows.is_empty() && self.sessions.is_empty() && self.counters.is_empty()
    }
}

struct State {
    organizations: HashMap<Uuid, Organization>,
    /// The last decision that wrote something.
    number: u64,
    swept_at: DateTime<Utc>,
}

/// The episodic store in this process, persisted in one file.
pub struct EmbeddedEpisodic {
    durable: Durable,
    /// The last decision known to be on disk.
    written: AtomicU64,
    state: Mutex<State>,
    topics: topics::Topics,
    clock: Arc<dyn Clock>,
    place: String,
}

impl EmbeddedEpisodic {
    /// Opens or makes the file. Blocks: it reads the file whole.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Unavailable` when it cannot be opened or is held by another process.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let (durable, records) = Durable::open(Store::Episodic, path)?;
        Self::start(durable, records, clock, path)
    }

    fn start(durable: Durable, records: Vec<Record>, clock: Arc<dyn Clock>, path: &Path) -> Result<Self> {
        let fresh = records.is_empty();
        let organizations = load(records).map_err(|error| {
            let message = format!("{} is not a file of this store's, or of a newer version", path.display());
            StoreError::with_source(Store::Episodic, ErrorKind::Corrupt, message, error)
        })?;
        if fresh {
            // Not waited for: it is on disk before anything that is queued after it.
            let value = Some(FORMAT.to_vec());
            drop(durable.commit(vec![Write { table: journal::FORMAT, key: Vec::new(), value }]));
        }
        let store = Self {
            durable,
            written: AtomicU64::new(0),
            state: Mutex::new(State { organizations, number: 0, swept_at: DateTime::<Utc>::MIN_UTC }),
            topics: topics::Topics::default(),
            clock,
            place: path.display().to_string(),
        };
        store.sweep(&mut store.state.lock())?;
        Ok(store)
    }

    /// Takes one decision under the lock and waits until what it tells of is on disk.
    async fn decide<T>(
        &self,
        scope: &Scope,
        act: impl FnOnce(&mut Organization, &mut Batch) -> Result<T> + Send,
    ) -> Result<T> {
        self.durable.check()?;
        let (answer, wait) = {
            let mut state = self.state.lock();
            self.sweep(&mut state)?;
            let State { organizations, number, .. } = &mut *state;
            let organization = organizations.entry(scope.organization_id()).or_default();
            let mut batch = Batch::new(scope.organization_id(), self.clock.now(), *number + 1);
            let answer = organization.tick(&mut batch).and_then(|()| act(organization, &mut batch));
            if organization.is_empty() {
                organizations.remove(&scope.organization_id());
            }
            (answer, self.queue(number, batch))
        };
        if let Some((number, written)) = wait {
            written.await?;
            self.written.fetch_max(number, Ordering::Relaxed);
        }
        answer
    }

    /// Queues what was decided, even when the answer is an error: a part of it may stand. Gives what to wait for.
    fn queue(&self, number: &mut u64, batch: Batch) -> Option<(u64, impl Future<Output = Result<()>> + Send + use<>)> {
        let (needed, writes) = batch.finish();
        let waits = needed > self.written.load(Ordering::Relaxed);
        if writes.is_empty() && !waits {
            return None;
        }
        if !writes.is_empty() {
            *number += 1;
        }
        let written = self.durable.commit(writes);
        waits.then_some((needed, written))
    }

    /// Once a minute: does for every organisation what the clock has brought about, so that what nobody asks for is
    /// forgotten as well.
    fn sweep(&self, state: &mut State) -> Result<()> {
        let now = self.clock.now();
        if (now - state.swept_at).abs() < SWEEP {
            return Ok(());
        }
        state.swept_at = now;
        let State { organizations, number, .. } = state;
        for (id, organization) in organizations.iter_mut() {
            let mut batch = Batch::new(*id, now, *number + 1);
            let ticked = organization.tick(&mut batch);
            // Nothing is waited for: nothing is told to anybody.
            drop(self.queue(number, batch));
            ticked?;
        }
        organizations.retain(|_, organization| !organization.is_empty());
        Ok(())
    }
}

fn load(records: Vec<Record>) -> Result<HashMap<Uuid, Organization>> {
    let mut organizations: HashMap<Uuid, Organization> = HashMap::new();
    let mut bodies: HashMap<(Uuid, Uuid), Body> = HashMap::new();
    let mut records = records.into_iter();
    match records.next() {
        None => return Ok(organizations),
        Some(first) if first.table == journal::FORMAT && first.value == FORMAT => {}
        Some(_) => return Err(journal::senseless()),
    }
    for Record { table, key, value } in records {
        let (organization_id, rest) = journal::split_key(&key)?;
        let organization = organizations.entry(organization_id).or_default();
        match table {
            journal::TASK => {
                bodies.insert((organization_id, journal::id_of(rest)?), journal::decode(&value)?);
            }
            journal::PROGRESS => {
                let id = journal::id_of(rest)?;
                let body = bodies.remove(&(organization_id, id)).ok_or_else(journal::senseless)?;
                organization.queues.load(id, body, journal::decode::<Progress>(&value)?)?;
            }
            journal::TURN => organization.windows.load(journal::decode(&value)?),
            journal::SESSION => organization.sessions.load(journal::decode(&value)?),
            journal::SETTINGS => {
                organization.queues.control(control::queue_of(rest)?).load(journal::decode(&value)?);
            }
            journal::HANDED => {
                let (queue, micros) = control::split_numbered(rest)?;
                organization.queues.control(queue).load_handed(micros, journal::decode(&value)?)?;
            }
            journal::MINUTE => {
                let (queue, minute) = control::split_numbered(rest)?;
                organization.queues.load_minute(queue, minute, journal::decode(&value)?);
            }
            _ => return Err(journal::senseless()),
        }
    }
    if bodies.is_empty() { Ok(organizations) } else { Err(journal::senseless()) }
}

fn tasks_of(entries: Vec<Result<Entry>>) -> Vec<Result<Task>> {
    entries.into_iter().map(|entry| entry.map(|entry| entry.task())).collect()
}

#[async_trait]
impl QueueAdapter for EmbeddedEpisodic {
    async fn enqueue(&self, scope: &Scope, tasks: &[NewTask]) -> Result<Vec<Result<Enqueued>>> {
        let encoded = |task: &NewTask| {
            let body = Body::new(task);
            journal::encode(&body).map(|bytes| (body, bytes))
        };
        let bodies: Vec<Result<(Body, Vec<u8>)>> = tasks.iter().map(encoded).collect();
        let enqueued = self
            .decide(scope, |organization, batch| {
                let each = tasks.iter().zip(bodies);
                let enqueue = |(task, body): (&NewTask, Result<(Body, Vec<u8>)>)| {
                    let (body, bytes) = body?;
                    organization.queues.enqueue(batch, task, body, bytes)
                };
                Ok(each.map(enqueue).collect::<Vec<_>>())
            })
            .await?;
        let answer = |(entry, deduplicated): (Entry, bool)| Enqueued { task: entry.task(), deduplicated };
        Ok(enqueued.into_iter().map(|result| result.map(answer)).collect())
    }

    async fn reserve(
        &self,
        scope: &Scope,
        queue: &str,
        worker: &str,
        count: u32,
        lease: Duration,
    ) -> Result<Vec<Task>> {
        let reserve = |organization: &mut Organization, batch: &mut Batch| {
            organization.queues.reserve(batch, queue, worker, count, lease)
        };
        Ok(self.decide(scope, reserve).await?.iter().map(Entry::task).collect())
    }

    async fn heartbeat(
        &self,
        scope: &Scope,
        held: &[(Held, Option<f32>)],
        lease: Duration,
    ) -> Result<Vec<Result<Task>>> {
        self.decide(scope, |organization, batch| {
            let beat =
                |(held, progress): &(Held, Option<f32>)| organization.queues.heartbeat(batch, *held, *progress, lease);
            Ok(held.iter().map(beat).collect())
        })
        .await
        .map(tasks_of)
    }

    async fn settle(&self, scope: &Scope, outcomes: &[(Held, Outcome)]) -> Result<Vec<Result<Task>>> {
        self.decide(scope, |organization, batch| organization.queues.settle(batch, outcomes, None)).await.map(tasks_of)
    }

    async fn settle_and_reserve(
        &self,
        scope: &Scope,
        outcomes: &[(Held, Outcome)],
        next: &ReserveRequest,
    ) -> Result<(Vec<Result<Task>>, Vec<Task>)> {
        let work = |organization: &mut Organization, batch: &mut Batch| {
            let settled = organization.queues.settle(batch, outcomes, Some(&next.queue))?;
            let ReserveRequest { queue, worker, count, lease } = next;
            Ok((settled, organization.queues.reserve(batch, queue, worker, *count, *lease)?))
        };
        let (settled, reserved) = self.decide(scope, work).await?;
        Ok((tasks_of(settled), reserved.iter().map(Entry::task).collect()))
    }

    async fn replay(&self, scope: &Scope, task_ids: &[Uuid]) -> Result<Vec<Result<Task>>> {
        self.decide(scope, |organization, batch| {
            Ok(task_ids.iter().map(|id| organization.queues.replay(batch, *id)).collect())
        })
        .await
        .map(tasks_of)
    }

    async fn tasks(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Task>>> {
        let find = |organization: &mut Organization, batch: &mut Batch| {
            Ok(ids.iter().map(|id| organization.queues.get(batch, *id)).collect::<Vec<_>>())
        };
        Ok(self.decide(scope, find).await?.into_iter().map(|entry| entry.map(|entry| entry.task())).collect())
    }

    async fn task_pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>> {
        let pages = |organization: &mut Organization, batch: &mut Batch| {
            queries.iter().map(|query| organization.queues.page(batch, query)).collect::<Result<Vec<_>>>()
        };
        Ok(self.decide(scope, pages).await?.into_iter().map(|page| page.map(|entry| entry.task())).collect())
    }

    async fn queues(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>> {
        self.decide(scope, |organization, batch| Ok(organization.queues.stats(batch, names))).await
    }

    async fn configure_queue(&self, scope: &Scope, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        self.decide(scope, |organization, batch| organization.queues.configure(batch, queue, change)).await
    }
}

#[async_trait]
impl CounterAdapter for EmbeddedEpisodic {
    async fn counts(&self, scope: &Scope, requests: &[CounterRequest]) -> Result<Vec<Counted>> {
        self.decide(scope, |organization, batch| {
            Ok(requests.iter().map(|request| organization.counters.count(batch, request)).collect())
        })
        .await
    }
}

#[async_trait]
impl ConversationAdapter for EmbeddedEpisodic {
    async fn append_turns(&self, scope: &Scope, turns: &[Turn]) -> Result<()> {
        let encoded =
            turns.iter().map(|turn| Ok((turn.clone(), journal::encode(turn)?))).collect::<Result<Vec<_>>>()?;
        self.decide(scope, |organization, batch| {
            encoded.into_iter().for_each(|(turn, bytes)| organization.windows.append(batch, turn, bytes));
            Ok(())
        })
        .await
    }

    async fn windows(&self, scope: &Scope, queries: &[WindowQuery]) -> Result<Vec<Vec<Turn>>> {
        let windows = |organization: &mut Organization, batch: &mut Batch| {
            Ok(queries.iter().map(|query| organization.windows.window(batch, query)).collect::<Vec<_>>())
        };
        let copy = |window: Vec<Arc<Turn>>| window.iter().map(|turn| (**turn).clone()).collect();
        Ok(self.decide(scope, windows).await?.into_iter().map(copy).collect())
    }

    async fn put_session(&self, scope: &Scope, id: &str, data: &serde_json::Value, ttl: Duration) -> Result<Session> {
        let data = data.clone();
        let session = self.decide(scope, |organization, batch| organization.sessions.put(batch, id, data, ttl)).await?;
        Ok((*session).clone())
    }

    async fn session(&self, scope: &Scope, id: &str, touch: Option<Duration>) -> Result<Option<Session>> {
        let session = self.decide(scope, |organization, batch| organization.sessions.get(batch, id, touch)).await?;
        Ok(session.map(|session| (*session).clone()))
    }

    async fn end_session(&self, scope: &Scope, id: &str) -> Result<()> {
        self.decide(scope, |organization, batch| {
            organization.sessions.end(batch, id);
            Ok(())
        })
        .await
    }

    async fn publish(&self, scope: &Scope, topic: &str, payload: &serde_json::Value) -> Result<()> {
        let event = LiveEvent { topic: topic.to_owned(), payload: payload.clone(), at: self.clock.now() };
        self.topics.publish(scope.organization_id(), event);
        Ok(())
    }

    async fn subscribe(&self, scope: &Scope, topic: &str) -> Result<BoxStream<'static, LiveEvent>> {
        Ok(self.topics.subscribe(scope.organization_id(), topic))
    }
}

#[async_trait]
impl EpisodicAdapter for EmbeddedEpisodic {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: "embedded",
            place: self.place.clone(),
            max_batch: MAX_BATCH,
            window_seconds: WINDOW_SECONDS,
            completed_seconds: COMPLETED_SECONDS,
            durable: true,
            shared: false,
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn health(&self) -> Result<()> {
        // Through the writer's whole queue: also tells a disk that hangs from one that works.
        self.durable.commit(Vec::new()).await
    }
}
