//! The episodic handle: bounds are checked here once, then every call goes through the guard.

use super::*;
use crate::{
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
};
use std::sync::Arc;

const STORE: Store = Store::Episodic;
/// The largest payload, result or session, as JSON.
pub const MAX_JSON_BYTES: usize = 64 * 1024;
const MAX_LEASE: Duration = Duration::from_secs(24 * 3600);
const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

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
        check_queue(queue)?;
        check_lease(lease)?;
        check_length("the worker's name", worker, 128)?;
        self.check_batch(count as usize)?;
        if count == 0 {
            return Err(StoreError::invalid(STORE, "at least one task must be asked for"));
        }
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
        check_lease(lease)?;
        if held.iter().any(|(_, progress)| progress.is_some_and(|progress| !(0.0..=1.0).contains(&progress))) {
            return Err(StoreError::invalid(STORE, "progress is not between 0 and 1"));
        }
        let call = || self.adapter.heartbeat(scope, held, lease);
        one_per_key(STORE, held.len(), self.guard.call(scope, "heartbeat", Idempotence::Read, call).await?)
    }

    /// See [`QueueAdapter::settle`].
    pub async fn settle(&self, scope: &Scope, outcomes: &[(Held, Outcome)]) -> Result<Vec<Result<Task>>> {
        for (_, outcome) in outcomes {
            if let Outcome::Complete { result: Some(result) } = outcome {
                check_json("the result", result)?;
            }
        }
        let call = || self.adapter.settle(scope, outcomes);
        one_per_key(STORE, outcomes.len(), self.guard.call(scope, "settle", Idempotence::Once, call).await?)
    }

    /// See [`QueueAdapter::replay`].
    pub async fn replay(&self, scope: &Scope, task_ids: &[Uuid]) -> Result<Vec<Result<Task>>> {
        let call = || self.adapter.replay(scope, task_ids);
        one_per_key(STORE, task_ids.len(), self.guard.call(scope, "replay", Idempotence::Once, call).await?)
    }

    /// See [`QueueAdapter::tasks`].
    pub async fn tasks(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Task>>> {
        let call = || self.adapter.tasks(scope, ids);
        one_per_key(STORE, ids.len(), self.guard.call(scope, "tasks", Idempotence::Read, call).await?)
    }

    /// See [`QueueAdapter::task_pages`].
    pub async fn task_pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>> {
        for query in queries {
            query.slice.check(STORE)?;
        }
        let call = || self.adapter.task_pages(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "task_pages", Idempotence::Read, call).await?)
    }

    /// See [`QueueAdapter::queues`].
    pub async fn queues(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>> {
        self.guard.call(scope, "queues", Idempotence::Read, || self.adapter.queues(scope, names)).await
    }

    /// See [`ConversationAdapter::append_turns`]. Idempotent by id, hence repeatable.
    pub async fn append_turns(&self, scope: &Scope, turns: &[Turn]) -> Result<()> {
        self.check_batch(turns.len())?;
        for turn in turns {
            check_length("the conversation's name", &turn.conversation, 128)?;
            check_length("the text", &turn.text, 16_384)?;
        }
        self.guard.call(scope, "append_turns", Idempotence::Read, || self.adapter.append_turns(scope, turns)).await
    }

    /// See [`ConversationAdapter::windows`].
    pub async fn windows(&self, scope: &Scope, queries: &[WindowQuery]) -> Result<Vec<Vec<Turn>>> {
        let call = || self.adapter.windows(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "windows", Idempotence::Read, call).await?)
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

    fn check_batch(&self, size: usize) -> Result<()> {
        let max = self.adapter.capabilities().max_batch;
        if size > max {
            return Err(StoreError::invalid(STORE, format!("a batch has at most {max} items")));
        }
        Ok(())
    }
}

fn check_task(task: &NewTask) -> Result<()> {
    check_queue(&task.queue)?;
    check_length("the task's kind", &task.kind, 64)?;
    check_json("the payload", &task.payload)?;
    if let Some(key) = &task.dedupe_key {
        check_length("the dedupe key", key, 128)?;
    }
    if !(-100..=100).contains(&task.priority) {
        return Err(StoreError::invalid(STORE, "the priority is not between -100 and 100"));
    }
    if !(1..=100).contains(&task.max_attempts) {
        return Err(StoreError::invalid(STORE, "the attempts are not between 1 and 100"));
    }
    if task.delay > Duration::from_secs(366 * 24 * 3600) {
        return Err(StoreError::invalid(STORE, "the delay is longer than a year"));
    }
    Ok(())
}

fn check_queue(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(StoreError::invalid(STORE, "a queue's name has 1 to 64 of a-z, 0-9, `_`, `.` and `-`"));
    }
    Ok(())
}

fn check_lease(lease: Duration) -> Result<()> {
    if lease < Duration::from_secs(1) || lease > MAX_LEASE {
        return Err(StoreError::invalid(STORE, "a lease lasts from a second to a day"));
    }
    Ok(())
}

fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl.is_zero() || ttl > MAX_TTL {
        return Err(StoreError::invalid(STORE, "a session lasts for more than no time and at most a year"));
    }
    Ok(())
}

fn check_length(what: &str, text: &str, max: usize) -> Result<()> {
    if text.is_empty() || text.len() > max {
        return Err(StoreError::invalid(STORE, format!("{what} has 1 to {max} bytes")));
    }
    Ok(())
}

fn check_json(what: &str, value: &serde_json::Value) -> Result<()> {
    if value.to_string().len() > MAX_JSON_BYTES {
        return Err(StoreError::invalid(STORE, format!("{what} is larger than {MAX_JSON_BYTES} bytes of JSON")));
    }
    Ok(())
}
