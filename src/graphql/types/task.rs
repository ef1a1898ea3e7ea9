//! `Task`, `Queue`, and the turns of a conversation.

use super::{campaign::Campaign, persona::Persona};
use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    ids::NodeId,
    keys::episodic::{TaskById, TasksOf},
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::{DateTime, Duration},
};
use async_graphql::{ComplexObject, Context, Enum, Result, SimpleObject};
use chimera_stores::{
    Position, SortValue,
    episodic::{self, TaskPageQuery},
};
use uuid::Uuid;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "episodic::TaskState")]
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
#[derive(Clone, Debug, SimpleObject)]
pub struct TaskLease {
    /// Proof of the hold; every call about the task shows it.
    pub token: String,
    /// Who holds it.
    pub worker: String,
    /// Until when; `heartbeatTasks` prolongs it.
    pub expires_at: DateTime,
}

/// A unit of work. Delivered at least once.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Task {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    persona_id: Option<Uuid>,
    #[graphql(skip)]
    campaign_id: Option<Uuid>,
    /// The queue.
    pub queue: String,
    /// What kind of work, such as `render_video`.
    pub kind: String,
    /// Higher goes first; from -100 to 100.
    pub priority: i32,
    /// What the worker needs.
    pub payload: serde_json::Value,
    /// Where it stands.
    pub state: TaskState,
    /// Times it was reserved.
    pub attempts: u32,
    /// Attempts after which it is dead.
    pub max_attempts: u32,
    /// Not before this time.
    pub run_at: DateTime,
    /// Who holds it.
    pub lease: Option<TaskLease>,
    /// While a task of the same queue with this key is neither completed nor dead, enqueueing another one gives this one.
    pub dedupe_key: Option<String>,
    /// The key stays taken until then, whatever becomes of the task.
    pub dedupe_until: Option<DateTime>,
    /// From 0 to 1, as the worker reports.
    pub progress: f32,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// What the worker gave back.
    pub result: Option<serde_json::Value>,
    /// When it was enqueued.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
}

impl Listed for Task {
    const NAME: &'static str = "Task";
}

impl From<episodic::Task> for Task {
    fn from(task: episodic::Task) -> Self {
        let lease = |lease: episodic::Lease| TaskLease {
            token: lease.token.to_string(),
            worker: lease.worker,
            expires_at: lease.expires_at.into(),
        };
        Self {
            key: task.id,
            persona_id: task.persona_id,
            campaign_id: task.campaign_id,
            queue: task.queue,
            kind: task.kind,
            priority: task.priority,
            payload: task.payload,
            state: task.state.into(),
            attempts: task.attempts,
            max_attempts: task.max_attempts,
            run_at: task.run_at.into(),
            lease: task.lease.map(lease),
            dedupe_key: task.dedupe_key,
            dedupe_until: task.dedupe_until.map(DateTime::from),
            progress: task.progress,
            last_error: task.last_error,
            result: task.result,
            created_at: task.created_at.into(),
            updated_at: task.updated_at.into(),
        }
    }
}

#[ComplexObject]
impl Task {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Task(self.key)
    }

    /// For whom.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, self.persona_id).await
    }

    /// For which campaign.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
        Campaign::load(context, self.campaign_id).await
    }
}

impl Task {
    /// The task with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Uuid) -> Result<Option<Self>> {
        Ok(RequestContext::of(context)?.load(TaskById(id)).await?.map(Self::from))
    }
}

/// At most so many tasks handed out in any span of this length.
#[derive(Clone, Debug, SimpleObject)]
pub struct RateLimit {
    /// Tasks; every try of a task counts.
    pub count: u32,
    /// The span.
    pub per: Duration,
}

/// How tries of tasks ended within a span of time. Counted by minute of the clock: what ended in the minute in which the
/// span begins counts in proportion to the part of it that lies in the span.
#[derive(Clone, Debug, SimpleObject)]
pub struct QueueThroughput {
    /// Tasks that were completed.
    pub completed: u64,
    /// Tries that a worker reported as failed; leases that merely ended are not among them.
    pub failed: u64,
}

impl From<episodic::Throughput> for QueueThroughput {
    fn from(ended: episodic::Throughput) -> Self {
        Self { completed: ended.completed, failed: ended.failed }
    }
}

/// The state of a queue.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Tasks waiting for their time.
    pub scheduled: u64,
    /// Tasks that can be reserved.
    pub ready: u64,
    /// Tasks held by workers.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Completed tasks still remembered.
    pub completed: u64,
    /// When the oldest ready task became ready.
    pub oldest_ready_at: Option<DateTime>,
    /// Whether it hands out nothing; see `configureQueue`.
    pub paused: bool,
    /// How fast it hands out tasks; null when as fast as they are asked for.
    pub rate_limit: Option<RateLimit>,
    /// How tries ended in the last minute.
    pub last_minute: QueueThroughput,
    /// How tries ended in the last hour.
    pub last_hour: QueueThroughput,
}

impl From<episodic::QueueStats> for Queue {
    fn from(stats: episodic::QueueStats) -> Self {
        Self {
            name: stats.queue,
            scheduled: stats.scheduled,
            ready: stats.ready,
            leased: stats.leased,
            dead: stats.dead,
            completed: stats.completed,
            oldest_ready_at: stats.oldest_ready_at.map(DateTime::from),
            paused: stats.settings.paused,
            rate_limit: stats
                .settings
                .rate_limit
                .map(|limit| RateLimit { count: limit.count, per: Duration(limit.per) }),
            last_minute: stats.last_minute.into(),
            last_hour: stats.last_hour.into(),
        }
    }
}

#[ComplexObject]
impl Queue {
    /// Its tasks, newest first.
    async fn tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only in one of these states.")] state: Option<Vec<TaskState>>,
    ) -> Result<Option<Connection<Task>>> {
        let scope = TaskScope { queue: Some(self.name.clone()), ..Default::default() };
        tasks(context, scope, state, PageArgs::new(first, after, last, before)).await
    }
}

/// Whose tasks are listed.
#[derive(Clone, Debug, Default)]
pub struct TaskScope {
    /// Only of this persona.
    pub persona_id: Option<Uuid>,
    /// Only for this campaign.
    pub campaign_id: Option<Uuid>,
    /// Only in this queue.
    pub queue: Option<String>,
}

/// A page of tasks.
///
/// # Errors
/// A bad page argument, or what the store says.
pub async fn tasks(
    context: &Context<'_>,
    scope: TaskScope,
    state: Option<Vec<TaskState>>,
    args: PageArgs,
) -> Result<Option<Connection<Task>>> {
    let request = RequestContext::of(context)?;
    let list = ListId::new(Task::NAME, "created_at");
    let query = TaskPageQuery {
        persona_id: scope.persona_id,
        campaign_id: scope.campaign_id,
        queue: scope.queue,
        states: state.unwrap_or_default().into_iter().map(Into::into).collect(),
        slice: args.slice(request, list)?,
    };
    let page = request.load(TasksOf(query)).await?;
    Ok(Some(Connection::new(page, list, |task: &episodic::Task| Position {
        value: SortValue::Int(task.created_at.timestamp_micros()),
        id: task.id,
    })))
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "episodic::TurnRole")]
pub enum TurnRole {
    /// The persona.
    Persona,
    /// The other side.
    User,
    /// An instruction.
    System,
}

/// One utterance of a conversation.
#[derive(Clone, Debug, SimpleObject)]
pub struct Turn {
    /// Which conversation of the persona.
    pub conversation: String,
    /// Who speaks.
    pub role: TurnRole,
    /// What was said.
    pub text: String,
    /// Its size in tokens.
    pub tokens: u32,
    /// When.
    pub at: DateTime,
}

impl From<episodic::Turn> for Turn {
    fn from(turn: episodic::Turn) -> Self {
        Self {
            conversation: turn.conversation,
            role: turn.role.into(),
            text: turn.text,
            tokens: turn.tokens,
            at: turn.at.into(),
        }
    }
}
