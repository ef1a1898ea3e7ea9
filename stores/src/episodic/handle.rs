//! The episodic handle: bounds are checked here once, then every call goes through the guard.
//!
//! No adapter sees more than [`Capabilities::max_batch`] items in a call: a larger write is refused, because its parts
//! would not stand or fall together, and a larger read goes out in parts.

use super::{
    bounds::{
        check_change, check_counter, check_json, check_lease, check_length, check_outcome, check_queue, check_reserve,
        check_task, check_ttl, check_turn,
    },
    *,
};
use crate::{
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
};
use std::sync::Arc;

const STORE: Store = Store::Episodic;

/// The episodic handle.
#[derive(Clone)]
pub struct Episodic {
    guard: Guard,
    adapter: Arc<dyn EpisodicAdapter>,
}

impl Episodic {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn EpisodicAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`EpisodicAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`EpisodicAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`EpisodicAdapter::findings`].
    pub async fn findings(&self, scope: &Scope) -> Result<Vec<Finding>> {
        self.guard.call(scope, "findings", Idempotence::Read, || self.adapter.findings()).await
    }

    /// See [`QueueAdapter::enqueue`]. A task out of bounds fails alone. Idempotent by id, hence repeatable.
    pub async fn enqueue(&self, scope: &Scope, tasks: &[NewTask]) -> Result<Vec<Result<Enqueued>>> {
        self.check_batch(tasks.len())?;
        let checks: Vec<Result<()>> = tasks.iter().map(check_task).collect();
        let good: Vec<NewTask> =
            tasks.iter().zip(&checks).filter(|(_, check)| check.is_ok()).map(|(task, _)| task.clone()).collect();
        let mut results = Vec::new();
        if !good.is_empty() {
            let call = || self.adapter.enqueue(scope, &good);
            let enqueued = self.guard.call(scope, "enqueue", Idempotence::Read, call).await?;
            results = one_per_key(STORE, good.len(), enqueued)?;
        }
        let mut results = results.into_iter();
        let missing = || Err(StoreError::invalid(STORE, "the task was not answered"));
        Ok(checks.into_iter().map(|check| check.and_then(|()| results.next().unwrap_or_else(missing))).collect())
    }

    /// See [`QueueAdapter::reserve`].
    pub async fn reserve(
        &self,
        scope: &Scope,
        queue: &str,
        worker: &str,
        count: u32,
        lease: Duration,
    ) -> Result<Vec<Task>> {
        check_reserve(queue, worker, count, lease)?;
        self.check_batch(count as usize)?;
        let call = || self.adapter.reserve(scope, queue, worker, count, lease);
        self.guard.call(scope, "reserve", Idempotence::Once, call).await
    }

    /// See [`QueueAdapter::heartbeat`].
    pub async fn heartbeat(
        &self,
        scope: &Scope,
        held: &[(Held, Option<f32>)],
        lease: Duration,
    ) -> Result<Vec<Result<Task>>> {
        self.check_batch(held.len())?;
        check_lease(lease)?;
        if held.iter().any(|(_, progress)| progress.is_some_and(|progress| !(0.0..=1.0).contains(&progress))) {
            return Err(StoreError::invalid(STORE, "progress is not between 0 and 1"));
        }
        let call = || self.adapter.heartbeat(scope, held, lease);
        one_per_key(STORE, held.len(), self.guard.call(scope, "heartbeat", Idempotence::Read, call).await?)
    }

    /// See [`QueueAdapter::settle`].
    pub async fn settle(&self, scope: &Scope, outcomes: &[(Held, Outcome)]) -> Result<Vec<Result<Task>>> {
        self.check_outcomes(outcomes)?;
        let call = || self.adapter.settle(scope, outcomes);
        one_per_key(STORE, outcomes.len(), self.guard.call(scope, "settle", Idempotence::Once, call).await?)
    }

    /// See [`QueueAdapter::settle_and_reserve`].
    pub async fn settle_and_reserve(
        &self,
        scope: &Scope,
        outcomes: &[(Held, Outcome)],
        next: &ReserveRequest,
    ) -> Result<(Vec<Result<Task>>, Vec<Task>)> {
        self.check_outcomes(outcomes)?;
        check_reserve(&next.queue, &next.worker, next.count, next.lease)?;
        self.check_batch(next.count as usize)?;
        let call = || self.adapter.settle_and_reserve(scope, outcomes, next);
        let (settled, reserved) = self.guard.call(scope, "settle_and_reserve", Idempotence::Once, call).await?;
        Ok((one_per_key(STORE, outcomes.len(), settled)?, reserved))
    }

    /// See [`QueueAdapter::replay`].
    pub async fn replay(&self, scope: &Scope, task_ids: &[Uuid]) -> Result<Vec<Result<Task>>> {
        self.check_batch(task_ids.len())?;
        let call = || self.adapter.replay(scope, task_ids);
        one_per_key(STORE, task_ids.len(), self.guard.call(scope, "replay", Idempotence::Once, call).await?)
    }

    /// See [`QueueAdapter::tasks`].
    pub async fn tasks(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Task>>> {
        let mut tasks = Vec::with_capacity(ids.len());
        for ids in self.parts(ids) {
            let call = || self.adapter.tasks(scope, ids);
            let part = self.guard.call(scope, "tasks", Idempotence::Read, call).await?;
            tasks.extend(one_per_key(STORE, ids.len(), part)?);
        }
        Ok(tasks)
    }

    /// See [`QueueAdapter::task_pages`].
    pub async fn task_pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>> {
        for query in queries {
            query.slice.check(STORE)?;
        }
        let mut pages = Vec::with_capacity(queries.len());
        for queries in self.parts(queries) {
            let call = || self.adapter.task_pages(scope, queries);
            let part = self.guard.call(scope, "task_pages", Idempotence::Read, call).await?;
            pages.extend(one_per_key(STORE, queries.len(), part)?);
        }
        Ok(pages)
    }

    /// See [`QueueAdapter::queues`].
    pub async fn queues(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>> {
        if names.is_empty() {
            return self.guard.call(scope, "queues", Idempotence::Read, || self.adapter.queues(scope, names)).await;
        }
        let mut stats = Vec::with_capacity(names.len());
        for names in self.parts(names) {
            let call = || self.adapter.queues(scope, names);
            let part = self.guard.call(scope, "queues", Idempotence::Read, call).await?;
            stats.extend(one_per_key(STORE, names.len(), part)?);
        }
        Ok(stats)
    }

    /// See [`QueueAdapter::configure_queue`]. A change says what becomes of a setting, hence repeatable.
    pub async fn configure_queue(&self, scope: &Scope, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        check_queue(queue)?;
        check_change(change)?;
        let call = || self.adapter.configure_queue(scope, queue, change);
        self.guard.call(scope, "configure_queue", Idempotence::Read, call).await
    }

    /// See [`CounterAdapter::counts`].
    pub async fn counts(&self, scope: &Scope, requests: &[CounterRequest]) -> Result<Vec<Counted>> {
        self.check_batch(requests.len())?;
        requests.iter().try_for_each(check_counter)?;
        let call = || self.adapter.counts(scope, requests);
        one_per_key(STORE, requests.len(), self.guard.call(scope, "counts", Idempotence::Once, call).await?)
    }

    /// [`Self::counts`] of one request.
    pub async fn count(&self, scope: &Scope, key: &str, window: Duration, cost: u32, limit: u32) -> Result<Counted> {
        let request = CounterRequest { key: key.to_owned(), window, cost, limit };
        let counted = self.counts(scope, &[request]).await?;
        counted.into_iter().next().ok_or_else(|| StoreError::invalid(STORE, "the counter was not answered"))
    }

    /// See [`ConversationAdapter::append_turns`]. Idempotent by id, hence repeatable.
    pub async fn append_turns(&self, scope: &Scope, turns: &[Turn]) -> Result<()> {
        self.check_batch(turns.len())?;
        let now = self.adapter.now();
        turns.iter().try_for_each(|turn| check_turn(turn, now))?;
        self.guard.call(scope, "append_turns", Idempotence::Read, || self.adapter.append_turns(scope, turns)).await
    }

    /// See [`ConversationAdapter::windows`].
    pub async fn windows(&self, scope: &Scope, queries: &[WindowQuery]) -> Result<Vec<Vec<Turn>>> {
        let mut windows = Vec::with_capacity(queries.len());
        for queries in self.parts(queries) {
            let call = || self.adapter.windows(scope, queries);
            let part = self.guard.call(scope, "windows", Idempotence::Read, call).await?;
            windows.extend(one_per_key(STORE, queries.len(), part)?);
        }
        Ok(windows)
    }

    /// See [`ConversationAdapter::put_session`].
    pub async fn put_session(
        &self,
        scope: &Scope,
        id: &str,
        data: &serde_json::Value,
        ttl: Duration,
    ) -> Result<Session> {
        check_length("the session's id", id, 128)?;
        check_json("the session", data)?;
        check_ttl(ttl)?;
        let call = || self.adapter.put_session(scope, id, data, ttl);
        self.guard.call(scope, "put_session", Idempotence::Read, call).await
    }

    /// See [`ConversationAdapter::session`].
    pub async fn session(&self, scope: &Scope, id: &str, touch: Option<Duration>) -> Result<Option<Session>> {
        touch.map_or(Ok(()), check_ttl)?;
        self.guard.call(scope, "session", Idempotence::Read, || self.adapter.session(scope, id, touch)).await
    }

    /// See [`ConversationAdapter::end_session`].
    pub async fn end_session(&self, scope: &Scope, id: &str) -> Result<()> {
        self.guard.call(scope, "end_session", Idempotence::Read, || self.adapter.end_session(scope, id)).await
    }

    /// See [`ConversationAdapter::publish`].
    pub async fn publish(&self, scope: &Scope, topic: &str, payload: &serde_json::Value) -> Result<()> {
        check_length("the topic", topic, 128)?;
        check_json("the event", payload)?;
        self.guard.call(scope, "publish", Idempotence::Once, || self.adapter.publish(scope, topic, payload)).await
    }

    /// See [`ConversationAdapter::subscribe`].
    pub async fn subscribe(&self, scope: &Scope, topic: &str) -> Result<BoxStream<'static, LiveEvent>> {
        check_length("the topic", topic, 128)?;
        self.guard.call(scope, "subscribe", Idempotence::Read, || self.adapter.subscribe(scope, topic)).await
    }

    fn check_outcomes(&self, outcomes: &[(Held, Outcome)]) -> Result<()> {
        self.check_batch(outcomes.len())?;
        outcomes.iter().try_for_each(|(_, outcome)| check_outcome(outcome))
    }

    /// A read's keys in parts that the adapter takes; none when there are no keys.
    fn parts<'a, T>(&self, keys: &'a [T]) -> std::slice::Chunks<'a, T> {
        keys.chunks(self.adapter.capabilities().max_batch.max(1))
    }

    fn check_batch(&self, size: usize) -> Result<()> {
        let max = self.adapter.capabilities().max_batch;
        if size > max {
            return Err(StoreError::invalid(STORE, format!("a batch has at most {max} items")));
        }
        Ok(())
    }
}
