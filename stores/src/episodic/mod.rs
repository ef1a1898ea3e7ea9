//! The episodic port: task queues, conversation windows, sessions and live events: what matters for the next hour.
//!
//! Queues deliver at least once. A reserved task belongs to its worker until the lease ends; every later call about it
//! must show the lease's token, so that a worker whose lease has passed cannot acknowledge what another one now holds.

mod bounds;
mod counter;
mod embedded;
mod handle;
mod meter;
mod redis;
mod settings;

pub use bounds::{MAX_AHEAD, MAX_JSON_BYTES, is_queue_name};
pub use counter::{Counted, CounterAdapter, CounterRequest, MAX_COUNT};
pub use embedded::EmbeddedEpisodic;
pub use handle::Episodic;
pub use meter::{KEPT_MINUTES, Throughput, minute_of};
pub use redis::RedisEpisodic;
pub use settings::{MAX_RATE_COUNT, QueueChange, QueueSettings, RateLimit};

use crate::{
    Finding, Result, Scope,
    page::{Page, Slice},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Waits for its time.
    Scheduled,
    /// Can be reserved.
    Ready,
    /// Held by a worker.
    Leased,
    /// Done.
    Completed,
    /// Failed too often; waits for a replay.
    Dead,
}

/// A worker's hold on a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Proof of the hold.
    pub token: Uuid,
    /// Who holds it.
    pub worker: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// A unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: Uuid,
    /// The queue.
    pub queue: String,
    /// What kind of work, such as `render_video`.
    pub kind: String,
    /// Higher goes first; -100 to 100.
    pub priority: i32,
    /// What the worker needs: JSON up to 64 KiB.
    pub payload: serde_json::Value,
    /// For whom.
    pub persona_id: Option<Uuid>,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// Where it stands.
    pub state: TaskState,
    /// Times it was reserved.
    pub attempts: u32,
    /// Failures that make it dead.
    pub max_attempts: u32,
    /// Not before this time.
    pub run_at: DateTime<Utc>,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// While a task of the same queue with this key is not completed nor dead, enqueueing another one gives this one.
    pub dedupe_key: Option<String>,
    /// The key stays taken until then, whatever becomes of the task; a completed task is remembered at least as long.
    #[serde(default)]
    pub dedupe_until: Option<DateTime<Utc>>,
    /// From 0 to 1, as the worker reports.
    pub progress: f32,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// What the worker gave back.
    pub result: Option<serde_json::Value>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A task to be enqueued.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// The id it will have.
    pub id: Uuid,
    /// The queue: 1 to 64 of `[a-z0-9_.-]`.
    pub queue: String,
    /// What kind of work: 1 to 64 bytes.
    pub kind: String,
    /// Higher goes first; -100 to 100.
    pub priority: i32,
    /// What the worker needs: JSON up to 64 KiB.
    pub payload: serde_json::Value,
    /// For whom.
    pub persona_id: Option<Uuid>,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// Wait this long first.
    pub delay: Duration,
    /// 1 to 100.
    pub max_attempts: u32,
    /// See [`Task::dedupe_key`]; up to 128 bytes.
    pub dedupe_key: Option<String>,
    /// Keeps the key taken for so long from now on, even when the task is done or dead: from a second to a week, and
    /// only with a key. `None` gives it back when the task is completed or dead.
    pub dedupe_for: Option<Duration>,
}

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReserveRequest {
    /// From which queue.
    pub queue: String,
    /// Who asks: 1 to 128 bytes.
    pub worker: String,
    /// At most so many: 1 to [`Capabilities::max_batch`].
    pub count: u32,
    /// For how long: a second to a day.
    pub lease: Duration,
}

/// What became of a [`NewTask`].
#[derive(Clone, Debug, PartialEq)]
pub struct Enqueued {
    /// The task now in the queue.
    pub task: Task,
    /// Whether it was there before, by its dedupe key or id.
    pub deduplicated: bool,
}

/// A task and the proof of holding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// The task.
    pub task_id: Uuid,
    /// The lease's token.
    pub token: Uuid,
}

/// How a worker's try ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done.
    Complete {
        /// What came out: JSON up to 64 KiB.
        result: Option<serde_json::Value>,
    },
    /// Not done: tried again after a back-off (1 s doubled per attempt, at most an hour, ±25 %), or dead.
    Fail {
        /// Why: cut at 1,024 bytes.
        error: String,
        /// `false` makes it dead at once.
        retryable: bool,
    },
}

/// A page of tasks, newest first by id (UUIDv7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskPageQuery {
    /// Only of this persona.
    pub persona_id: Option<Uuid>,
    /// Only for this campaign.
    pub campaign_id: Option<Uuid>,
    /// Only in this queue.
    pub queue: Option<String>,
    /// Only in these states; empty means any.
    pub states: Vec<TaskState>,
    /// Which part; positions are `Int` microseconds of `created_at`, descending.
    pub slice: Slice,
}

/// The state of a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueStats {
    /// Its name.
    pub queue: String,
    /// Tasks waiting for their time.
    pub scheduled: u64,
    /// Tasks that can be reserved.
    pub ready: u64,
    /// Tasks held.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Completed tasks still remembered.
    pub completed: u64,
    /// When the oldest ready task became ready.
    pub oldest_ready_at: Option<DateTime<Utc>>,
    /// Whether and how fast it hands out tasks.
    pub settings: QueueSettings,
    /// How tries ended in the last minute; see [`Throughput::within`].
    pub last_minute: Throughput,
    /// How tries ended in the last hour.
    pub last_hour: Throughput,
}

/// One utterance of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Its id (UUIDv7); appending the same id again changes nothing.
    pub id: Uuid,
    /// The persona.
    pub persona_id: Uuid,
    /// Which conversation of the persona: 1 to 128 bytes.
    pub conversation: String,
    /// Who speaks: `persona`, `user` or `system`.
    pub role: TurnRole,
    /// What was said: 1 to 16,384 bytes.
    pub text: String,
    /// Its size in tokens, as the caller's model counts them.
    pub tokens: u32,
    /// When; at most [`MAX_AHEAD`] of the store's clock.
    pub at: DateTime<Utc>,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TurnRole {
    /// The persona.
    Persona,
    /// The other side.
    User,
    /// An instruction.
    System,
}

/// The newest turns of a persona that fit all three bounds, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowQuery {
    /// The persona.
    pub persona_id: Uuid,
    /// Only this conversation; `None` is all of the persona's.
    pub conversation: Option<String>,
    /// Not older than this; turns are forgotten after [`Capabilities::window_seconds`] in any case.
    pub max_age: Duration,
    /// At most this many turns.
    pub max_turns: u32,
    /// At most this many tokens together; the newest turns win, and the cut is at the first that does not fit.
    pub max_tokens: Option<u32>,
}

/// A session: a small JSON object that expires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id: 1 to 128 bytes.
    pub id: String,
    /// What it holds: JSON up to 64 KiB.
    pub data: serde_json::Value,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// Something that happened just now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveEvent {
    /// The topic, such as `tasks`.
    pub topic: String,
    /// What happened.
    pub payload: serde_json::Value,
    /// When it was published.
    pub at: DateTime<Utc>,
}

/// What an episodic adapter can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `embedded`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// Items of one call at the most. The handle refuses larger writes and cuts larger reads into several calls.
    pub max_batch: usize,
    /// How long turns are remembered, in seconds.
    pub window_seconds: u64,
    /// How long completed tasks are remembered, in seconds.
    pub completed_seconds: u64,
    /// Whether an acknowledged write survives `kill -9`.
    pub durable: bool,
    /// Whether events reach other processes.
    pub shared: bool,
}

/// Queues. Another organisation's queues and tasks behave as absent.
#[async_trait]
pub trait QueueAdapter: Send + Sync + 'static {
    /// Adds tasks, one result per task.
    async fn enqueue(&self, scope: &Scope, tasks: &[NewTask]) -> Result<Vec<Result<Enqueued>>>;

    /// Hands up to `count` ready tasks to `worker`: highest priority first, then the longest waiting. A task whose lease
    /// has ended counts as ready again (or dead, when its attempts are used up). Atomic: no task goes to two workers.
    /// None while the queue is paused; no more than its [`RateLimit`] has room for.
    async fn reserve(&self, scope: &Scope, queue: &str, worker: &str, count: u32, lease: Duration)
    -> Result<Vec<Task>>;

    /// Prolongs leases to `lease` from now, and notes progress; one result per hold, `Conflict` when it is lost.
    async fn heartbeat(
        &self,
        scope: &Scope,
        held: &[(Held, Option<f32>)],
        lease: Duration,
    ) -> Result<Vec<Result<Task>>>;

    /// Ends tries; one result per hold, `Conflict` when it is lost.
    async fn settle(&self, scope: &Scope, outcomes: &[(Held, Outcome)]) -> Result<Vec<Result<Task>>>;

    /// Settles as [`Self::settle`] does and then reserves as [`Self::reserve`] does, in one round trip: nothing comes in
    /// between, and a lost hold does not keep the next tasks back. Of one queue: a hold on a task of another queue than
    /// `next`'s is `Conflict`, as one that is lost.
    async fn settle_and_reserve(
        &self,
        scope: &Scope,
        outcomes: &[(Held, Outcome)],
        next: &ReserveRequest,
    ) -> Result<(Vec<Result<Task>>, Vec<Task>)>;

    /// Makes dead tasks ready again with their attempts forgotten; one result per id, `NotFound` when there is none
    /// such, `Conflict` when it is not dead or another task has its dedupe key.
    async fn replay(&self, scope: &Scope, task_ids: &[Uuid]) -> Result<Vec<Result<Task>>>;

    /// Tasks by id, one result per id; absent is `None`.
    async fn tasks(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Task>>>;

    /// One page per query.
    async fn task_pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>>;

    /// The state of the named queues (an unknown one is all zero), or when none is named of all, by name, that have
    /// tasks or settings other than the default ones.
    async fn queues(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>>;

    /// Changes a queue's settings and gives the new ones. The queue need not exist; its settings stay when its last
    /// task is gone. Atomic: two changes of different settings both count.
    async fn configure_queue(&self, scope: &Scope, queue: &str, change: &QueueChange) -> Result<QueueSettings>;
}

/// Windows, sessions and live events. Another organisation's behave as absent.
#[async_trait]
pub trait ConversationAdapter: Send + Sync + 'static {
    /// Adds turns.
    async fn append_turns(&self, scope: &Scope, turns: &[Turn]) -> Result<()>;

    /// One window per query.
    async fn windows(&self, scope: &Scope, queries: &[WindowQuery]) -> Result<Vec<Vec<Turn>>>;

    /// Makes or replaces a session that lasts for `ttl`.
    async fn put_session(&self, scope: &Scope, id: &str, data: &serde_json::Value, ttl: Duration) -> Result<Session>;

    /// A session that has not expired; `touch` prolongs it to that long from now.
    async fn session(&self, scope: &Scope, id: &str, touch: Option<Duration>) -> Result<Option<Session>>;

    /// Ends a session; absent is fine.
    async fn end_session(&self, scope: &Scope, id: &str) -> Result<()>;

    /// Tells every present subscriber; nobody listening is fine.
    async fn publish(&self, scope: &Scope, topic: &str, payload: &serde_json::Value) -> Result<()>;

    /// Events of a topic from now on. A subscriber that falls behind loses the oldest events, never memory.
    async fn subscribe(&self, scope: &Scope, topic: &str) -> Result<BoxStream<'static, LiveEvent>>;
}

/// What an episodic store implements.
#[async_trait]
pub trait EpisodicAdapter: QueueAdapter + ConversationAdapter + CounterAdapter {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// The time by the clock that every decision of the store is taken by.
    fn now(&self) -> DateTime<Utc>;

    /// Answers when the store can be read and written.
    async fn health(&self) -> Result<()>;

    /// What its operator should know about the store's own state; nothing when all is well.
    async fn findings(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }
}

/// How long a task waits after its `attempt`th failure, before jitter: 1 s doubled per attempt, at most an hour.
pub fn retry_delay(attempt: u32) -> Duration {
    Duration::from_secs(1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX).min(3600))
}
