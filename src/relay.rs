//! The outbox relay: carries committed changes to the memory and search stores.
//!
//! One loop for each target reads the entries that are due, oldest first, applies them in one batch, and settles them.
//! At least once: a crash between applying and settling repeats the batch, which the stores absorb by version. In order
//! for each entity: a batch keeps the order of the commits, and no entry goes out while an older one of its entity waits
//! for its next try. An entry that fails for a
//! reason of its own (or its store's) waits with a growing back-off and holds up its entity alone. A change older than
//! what the store holds is superseded, which counts as applied.
//!
//! A mutation wakes the relay and waits for its own entries for a small budget ([`Relay::wait`]). A store that several
//! processes share also tells of the commits of the others ([`Relational::outbox_changes`]), which wakes the relay as
//! well; polling remains, for news can get lost. Of several relays on one store only one carries at a time, so an entry
//! that a mutation waits for may be carried by another process: what is awaited and was not carried here is looked for
//! after every step.
//!
//! [`Relational::outbox_changes`]: chimera_stores::relational::Relational::outbox_changes

use crate::stores::Stores;
use chimera_stores::{Clock, ErrorKind, Result, Scope, Store, StoreError, memory, relational::Settlement, search};
use chrono::Duration as TimeDelta;
use entity::outbox_entry::{Model as OutboxEntry, Target};
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

/// Entries of one batch at the most: large enough that a bulk import is not a round trip a row.
const BATCH: u32 = 500;
/// Entries of the first batch, before it is known how fast a store takes them.
const FIRST_BATCH: u32 = 32;
/// How long a batch is to take. Well below a store's deadline: a batch that never ends in time would be repeated for
/// ever, and a memory store that makes vectors takes milliseconds an entry.
const AIM: Duration = Duration::from_millis(250);
/// How long a loop sleeps when nothing wakes it: bounds the delay of a retry, and of another process's commits when the
/// store does not tell of them.
const POLL: Duration = Duration::from_millis(500);
/// How many settled entries are remembered for callers that come to wait after the relay was done.
const REMEMBERED: usize = 65_536;

/// All targets.
pub const TARGETS: [Target; 2] = [Target::Memory, Target::Search];

/// The store behind a target.
pub const fn store_of(target: Target) -> Store {
    match target {
        Target::Memory => Store::Memory,
        Target::Search => Store::Search,
    }
}

struct Waiter {
    left: BTreeSet<i64>,
    done: oneshot::Sender<()>,
}

#[derive(Default)]
struct Progress {
    settled: HashSet<i64>,
    order: VecDeque<i64>,
    waiters: Vec<Waiter>,
}

impl Progress {
    fn settle(&mut self, sequence: i64) {
        if self.settled.insert(sequence) {
            self.order.push_back(sequence);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.settled.remove(&oldest);
        }
        for waiter in &mut self.waiters {
            waiter.left.remove(&sequence);
        }
        for waiter in self.waiters.extract_if(.., |waiter| waiter.left.is_empty()) {
            // A mutation whose budget has run out no longer listens.
            let _ = waiter.done.send(());
        }
    }
}

struct Inner {
    stores: Stores,
    clock: Arc<dyn Clock>,
    poll: Duration,
    wake: [Notify; 2],
    sizes: [AtomicU32; 2],
    progress: Mutex<Progress>,
}

/// The relay of this process. Cheap to clone.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

impl Relay {
    /// A relay over these stores; it does nothing until [`Relay::run`] or [`Relay::drain`].
    pub fn new(stores: Stores, clock: Arc<dyn Clock>) -> Self {
        Self::polling_every(POLL, stores, clock)
    }

    /// The same with another time between two looks that nothing asked for.
    pub fn polling_every(poll: Duration, stores: Stores, clock: Arc<dyn Clock>) -> Self {
        let (wake, sizes) = ([Notify::new(), Notify::new()], [FIRST_BATCH, FIRST_BATCH].map(AtomicU32::new));
        Self(Arc::new(Inner { stores, clock, poll, wake, sizes, progress: Mutex::default() }))
    }

    /// Starts both loops, and a third one that listens when the store can tell of other processes; they end when the
    /// returned handles are aborted.
    pub fn run(&self) -> Vec<tokio::task::JoinHandle<()>> {
        let carry = TARGETS.into_iter().zip(0..).map(|(target, index)| {
            let relay = self.clone();
            tokio::spawn(async move { relay.follow(target, index).await })
        });
        let listen = self.0.stores.relational.outbox_changes().map(|mut changes| {
            let relay = self.clone();
            tokio::spawn(async move {
                while changes.next().await.is_some() {
                    relay.wake();
                }
            })
        });
        carry.chain(listen).collect()
    }

    /// Tells the loops that something was committed.
    pub fn wake(&self) {
        for wake in &self.0.wake {
            wake.notify_one();
        }
    }

    /// Waits until these entries are settled, at most for `budget`; answers the stores that are still pending.
    pub async fn wait(&self, entries: &[(i64, Target)], budget: Duration) -> Vec<Store> {
        let wait = {
            let mut progress = self.0.progress.lock();
            let left: BTreeSet<i64> = entries
                .iter()
                .map(|(sequence, _)| *sequence)
                .filter(|sequence| !progress.settled.contains(sequence))
                .collect();
            if left.is_empty() {
                return Vec::new();
            }
            let (done, wait) = oneshot::channel();
            progress.waiters.retain(|waiter| !waiter.done.is_closed());
            progress.waiters.push(Waiter { left, done });
            wait
        };
        self.wake();
        if tokio::time::timeout(budget, wait).await.is_ok() {
            return Vec::new();
        }
        let progress = self.0.progress.lock();
        let pending: BTreeSet<Store> = entries
            .iter()
            .filter(|(sequence, _)| !progress.settled.contains(sequence))
            .map(|(_, target)| store_of(*target))
            .collect();
        pending.into_iter().collect()
    }

    /// Applies everything that is due now and returns; for the seed, the import and tests. Answers how many entries were
    /// settled.
    ///
    /// # Errors
    /// What the relational store says.
    pub async fn drain(&self) -> Result<u64> {
        let mut settled = 0;
        for target in TARGETS {
            loop {
                let step = self.step(target).await?;
                settled += step.done;
                if step.done == 0 {
                    break;
                }
            }
        }
        Ok(settled)
    }

    async fn follow(&self, target: Target, index: usize) {
        loop {
            match self.step(target).await {
                Ok(step) if step.done > 0 && step.full => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(?target, error = %error.chain(), "the outbox could not be read"),
            }
            match self.0.wake.get(index) {
                // Waking and polling are the same: there may be something to do.
                Some(wake) => drop(tokio::time::timeout(self.0.poll, wake.notified()).await),
                None => tokio::time::sleep(self.0.poll).await,
            }
        }
    }

    async fn step(&self, target: Target) -> Result<Step> {
        let step = self.carry(target).await?;
        self.look_for_awaited().await?;
        Ok(step)
    }

    /// Settles for the mutations that wait what the relay of another process has carried.
    async fn look_for_awaited(&self) -> Result<()> {
        let awaited: Vec<i64> = {
            let mut progress = self.0.progress.lock();
            progress.waiters.retain(|waiter| !waiter.done.is_closed());
            let awaited: BTreeSet<i64> =
                progress.waiters.iter().flat_map(|waiter| waiter.left.iter().copied()).collect();
            awaited.into_iter().collect()
        };
        if awaited.is_empty() {
            return Ok(());
        }
        let left = self.0.stores.relational.outbox_left(&Scope::system(Uuid::nil()), &awaited).await?;
        let mut progress = self.0.progress.lock();
        for sequence in awaited {
            if left.binary_search(&sequence).is_err() {
                progress.settle(sequence);
            }
        }
        Ok(())
    }

    async fn carry(&self, target: Target) -> Result<Step> {
        let relay = Scope::system(Uuid::nil());
        let relational = &self.0.stores.relational;
        let size = self.size(target);
        let limit = size.load(Ordering::Relaxed);
        let entries = relational.outbox_due(&relay, target, limit).await?;
        let full = entries.len() == limit as usize;
        let started = Instant::now();
        let mut settlements = Vec::with_capacity(entries.len());
        for entries in entries.chunk_by(|a, b| a.organization_id == b.organization_id) {
            let results = self.apply(target, entries).await;
            settlements.extend(
                entries.iter().zip(results).map(|(entry, result)| (entry.sequence, self.settlement(entry, result))),
            );
        }
        if settlements.is_empty() {
            return Ok(Step { done: 0, full: false });
        }
        size.store(next_size(limit, settlements.len(), started.elapsed()), Ordering::Relaxed);
        relational.outbox_settle(&relay, &settlements).await?;
        let mut progress = self.0.progress.lock();
        let mut done = 0;
        for (sequence, settlement) in settlements {
            if settlement == Settlement::Done {
                progress.settle(sequence);
                done += 1;
            }
        }
        Ok(Step { done, full })
    }

    fn size(&self, target: Target) -> &AtomicU32 {
        let [memory, search] = &self.0.sizes;
        match target {
            Target::Memory => memory,
            Target::Search => search,
        }
    }

    async fn apply(&self, target: Target, entries: &[OutboxEntry]) -> Vec<Result<()>> {
        let scope = Scope::system(entries.first().map_or_else(Uuid::nil, |entry| entry.organization_id));
        let stores = &self.0.stores;
        match target {
            Target::Memory => {
                apply(Store::Memory, entries, async |changes: &[memory::Change]| {
                    stores.memory()?.apply(&scope, changes).await
                })
                .await
            }
            Target::Search => {
                apply(Store::Search, entries, async |changes: &[search::Change]| {
                    stores.search()?.apply(&scope, changes).await
                })
                .await
            }
        }
    }

    fn settlement(&self, entry: &OutboxEntry, result: Result<()>) -> Settlement {
        let error = match result {
            Ok(()) => return Settlement::Done,
            Err(error) if error.kind() == ErrorKind::Superseded => return Settlement::Done,
            Err(error) => error,
        };
        // 200 ms doubled with every try, at most a minute: a store that is back is served soon.
        let wait = TimeDelta::milliseconds(
            200_i64.checked_shl(entry.attempts.clamp(0, 20).cast_unsigned()).unwrap_or(60_000).min(60_000),
        );
        tracing::warn!(sequence = entry.sequence, target = ?entry.target, attempts = entry.attempts, error = %error.chain(), "an outbox entry was not applied");
        Settlement::Retry { not_before: self.0.clock.now() + wait, error: error.to_string() }
    }
}

/// How many entries the next batch takes, after one of `taken` took `elapsed`: what fits [`AIM`], and at most twice as
/// many as before. A batch that was not full says nothing about larger ones.
fn next_size(limit: u32, taken: usize, elapsed: Duration) -> u32 {
    let taken = u32::try_from(taken).unwrap_or(limit);
    let micros = elapsed.as_micros().max(1);
    let fits = u32::try_from(u128::from(taken) * AIM.as_micros() / micros).unwrap_or(u32::MAX);
    match (elapsed > AIM, taken == limit) {
        (true, _) => fits.clamp(1, limit),
        (false, true) => fits.clamp(limit, limit.saturating_mul(2)).min(BATCH),
        (false, false) => limit,
    }
}

struct Step {
    done: u64,
    full: bool,
}

/// Applies the entries that can be read in one call; a body that cannot be read fails alone.
async fn apply<C: serde::de::DeserializeOwned>(
    store: Store,
    entries: &[OutboxEntry],
    call: impl AsyncFnOnce(&[C]) -> Result<Vec<Result<()>>>,
) -> Vec<Result<()>> {
    let unreadable = |error| {
        StoreError::with_source(store, ErrorKind::Corrupt, "the entry's body is not a change of this store", error)
    };
    let read: Vec<Result<C>> =
        entries.iter().map(|entry| serde_json::from_value(entry.body.clone()).map_err(unreadable)).collect();
    let (mut changes, mut bad) = (Vec::new(), Vec::new());
    for result in read {
        match result {
            Ok(change) => {
                changes.push(change);
                bad.push(None);
            }
            Err(error) => bad.push(Some(error)),
        }
    }
    let outcome = if changes.is_empty() { Ok(Vec::new()) } else { call(&changes).await };
    let mut results = super::graphql::loader::flatten(changes.len(), outcome).into_iter();
    let missing = || Err(StoreError::new(store, ErrorKind::BadResponse, "the change was not answered"));
    bad.into_iter()
        .map(|bad| match bad {
            Some(error) => Err(error),
            None => results.next().unwrap_or_else(missing),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_batch_follows_the_speed_of_the_store() {
        let (fast, slow, hung) = (Duration::from_millis(5), Duration::from_secs(1), Duration::from_secs(20));
        let mut size = FIRST_BATCH;
        for _ in 0..5 {
            size = next_size(size, size as usize, fast);
        }
        assert_eq!(size, BATCH);
        assert_eq!(next_size(BATCH, 500, slow), 125);
        assert_eq!(next_size(125, 125, Duration::from_millis(250)), 125);
        assert_eq!(next_size(125, 3, fast), 125, "a few entries say nothing about many");
        assert_eq!(next_size(32, 32, hung), 1, "no batch is empty");
        assert_eq!(next_size(1, 1, hung), 1);
        assert_eq!(next_size(1, 1, Duration::ZERO), 2, "and it recovers");
    }
}
