//! Queues: enqueueing, what workers do with tasks, and what administrators set. Only the last is audited: see the
//! module above.
//!
//! Every item of a batch succeeds or fails on its own, as the store's do; answers stand in the order of the argument.

mod events;
mod settings;
mod work;

pub use events::{TASKS_TOPIC, TaskEvent};
pub use settings::{ConfigureQueueInput, RateLimitInput};
pub use work::{
    CompleteTasksInput, CompletedTaskInput, FailTasksInput, FailedTaskInput, HeartbeatTasksInput, HeldTaskInput,
    ReplayTasksInput, ReserveTasksInput, WorkTasksInput,
};

use super::{Outcome, UserError, admin, batch::Batch, editor, input, payload};
use crate::graphql::{
    context::RequestContext,
    scalars::Duration,
    types::task::{Queue, Task},
};
use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use chimera_stores::episodic::{Enqueued, NewTask};
use uuid::Uuid;

/// The most items of one mutation.
const MAX_BATCH: usize = 100;
/// The most bytes of a payload or a result, as the store has it.
const MAX_JSON: usize = 64 * 1024;

/// Tasks to be enqueued.
#[derive(Clone, Debug, InputObject)]
pub struct EnqueueTasksInput {
    /// The tasks: 1 to 100.
    pub tasks: Vec<NewTaskInput>,
}

/// A task to be enqueued.
#[derive(Clone, Debug, InputObject)]
pub struct NewTaskInput {
    /// The queue: 1 to 64 of `a-z`, `0-9`, `_`, `.` and `-`.
    pub queue: String,
    /// What kind of work, such as `render_video`: 1 to 64 bytes.
    pub kind: String,
    /// Higher goes first; from -100 to 100.
    #[graphql(default = 0)]
    pub priority: i32,
    /// What the worker needs: at most 65,536 bytes of JSON.
    #[graphql(default_with = "serde_json::Value::Object(serde_json::Map::new())")]
    pub payload: serde_json::Value,
    /// For whom.
    pub persona_id: Option<ID>,
    /// For which campaign.
    pub campaign_id: Option<ID>,
    /// Wait this long first: at most 366 days.
    #[graphql(default_with = "Duration::from_secs(0)")]
    pub delay: Duration,
    /// Attempts after which it is dead: 1 to 100.
    #[graphql(default = 5)]
    pub max_attempts: u32,
    /// While a task of the same queue with this key is neither completed nor dead, enqueueing another one gives this one:
    /// 1 to 128 bytes.
    pub dedupe_key: Option<String>,
    /// Keeps the key taken for so long from now on, even when the task is done or dead: from a second to a week, and
    /// only with a key. Until then the completed task is remembered.
    pub dedupe_for: Option<Duration>,
}

/// A task in its queue.
#[derive(Clone, Debug, SimpleObject)]
pub struct EnqueuedTask {
    /// The task.
    pub task: Task,
    /// Whether it was there before, by its dedupe key.
    pub deduplicated: bool,
}

payload! {
    /// What became of `enqueueTasks`.
    direct EnqueueTasksPayload {
        /// The tasks in the order of the argument; null where one was refused.
        tasks: Vec<Option<EnqueuedTask>>
    }
}

payload! {
    /// What became of `reserveTasks`.
    direct ReserveTasksPayload {
        /// The tasks now held by the worker, each with its lease; none when the queue has none ready.
        tasks: Vec<Task>
    }
}

payload! {
    /// What became of `heartbeatTasks`.
    direct HeartbeatTasksPayload {
        /// The tasks in the order of the argument; null where the hold is lost.
        tasks: Vec<Option<Task>>
    }
}

payload! {
    /// What became of `completeTasks`.
    direct CompleteTasksPayload {
        /// The tasks in the order of the argument; null where the hold is lost.
        tasks: Vec<Option<Task>>
    }
}

payload! {
    /// What became of `failTasks`.
    direct FailTasksPayload {
        /// The tasks in the order of the argument; null where the hold is lost.
        tasks: Vec<Option<Task>>
    }
}

payload! {
    /// What became of `workTasks`.
    direct WorkTasksPayload {
        /// The tasks that were reported as done, in the order of the argument; null where the hold is lost.
        completed: Vec<Option<Task>>,
        /// The tasks that were reported as failed, in the order of the argument; null where the hold is lost.
        failed: Vec<Option<Task>>,
        /// The tasks now held by the worker, each with its lease; none when the queue has none to hand out.
        reserved: Vec<Task>
    }
}

payload! {
    /// What became of `replayTasks`.
    direct ReplayTasksPayload {
        /// The tasks in the order of the argument; null where one is not dead.
        tasks: Vec<Option<Task>>
    }
}

payload! {
    /// What became of `configureQueue`.
    direct ConfigureQueuePayload {
        /// The queue with its new settings.
        queue: Queue
    }
}

/// Mutations of queues and tasks.
#[derive(Default)]
pub struct TaskMutation;

#[Object]
impl TaskMutation {
    /// Adds tasks to queues, each on its own. Does not appear in the audit log.
    async fn enqueue_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The tasks.")] input: EnqueueTasksInput,
    ) -> Result<Option<EnqueueTasksPayload>> {
        EnqueueTasksPayload::of(enqueue(editor(context)?, input).await)
    }

    /// Hands ready tasks to a worker: highest priority first, then the longest waiting. A task whose lease has ended is
    /// handed out again, so work must be repeatable. None while the queue is paused, and no more than its rate limit has
    /// room for. Does not appear in the audit log.
    async fn reserve_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What the worker asks for.")] input: ReserveTasksInput,
    ) -> Result<Option<ReserveTasksPayload>> {
        ReserveTasksPayload::of(work::reserve(editor(context)?, input).await)
    }

    /// Prolongs a worker's holds on tasks and notes their progress, each on its own. Does not appear in the audit log.
    async fn heartbeat_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The holds.")] input: HeartbeatTasksInput,
    ) -> Result<Option<HeartbeatTasksPayload>> {
        HeartbeatTasksPayload::of(work::heartbeat(editor(context)?, input).await)
    }

    /// Reports tasks as done, each on its own. Does not appear in the audit log.
    async fn complete_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The holds and results.")] input: CompleteTasksInput,
    ) -> Result<Option<CompleteTasksPayload>> {
        CompleteTasksPayload::of(work::complete(editor(context)?, input).await)
    }

    /// Reports tasks as failed, each on its own: they are tried again later, or dead. Does not appear in the audit log.
    async fn fail_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The holds and reasons.")] input: FailTasksInput,
    ) -> Result<Option<FailTasksPayload>> {
        FailTasksPayload::of(work::fail(editor(context)?, input).await)
    }

    /// Reports tasks as done or failed, each on its own, and then hands the worker its next ones: what `completeTasks`,
    /// `failTasks` and `reserveTasks` do, in one step and one round trip. All tasks are of one queue: a hold on a task
    /// of another queue counts as lost. A lost hold does not keep the next tasks back. Does not appear in the audit log.
    async fn work_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is done, what failed, and what the worker asks for.")] input: WorkTasksInput,
    ) -> Result<Option<WorkTasksPayload>> {
        WorkTasksPayload::of(work::work(editor(context)?, input).await)
    }

    /// Pauses or resumes a queue, or changes how fast it hands out tasks. Needs the role ADMIN. The queue need not have
    /// tasks yet. Every request is in the audit log before the queue is changed.
    async fn configure_queue(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The queue, and what is to be changed.")] input: ConfigureQueueInput,
    ) -> Result<Option<ConfigureQueuePayload>> {
        ConfigureQueuePayload::of(settings::configure(admin(context)?, input).await)
    }

    /// Makes dead tasks ready again with their attempts forgotten, each on its own. Does not appear in the audit log.
    async fn replay_tasks(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The tasks.")] input: ReplayTasksInput,
    ) -> Result<Option<ReplayTasksPayload>> {
        ReplayTasksPayload::of(work::replay(editor(context)?, input).await)
    }
}

async fn enqueue(
    request: &RequestContext,
    input: EnqueueTasksInput,
) -> Outcome<(Vec<Option<EnqueuedTask>>, Vec<UserError>)> {
    input::check_count(&["input", "tasks"], input.tasks.len(), MAX_BATCH)?;
    let episodic = request.stores().episodic()?;
    let tasks: Vec<Outcome<NewTask>> =
        input.tasks.into_iter().enumerate().map(|(index, task)| read(&index.to_string(), task)).collect();
    let batch = Batch::read(check_references(request, tasks).await?)?;
    let answers = match batch.good.len() {
        0 => Vec::new(),
        _ => episodic.enqueue(request.scope(), &batch.good).await?,
    };
    let fresh = answers.iter().flatten().filter(|enqueued| !enqueued.deduplicated).map(|enqueued| &enqueued.task);
    events::announce(request, episodic, fresh).await;
    let (tasks, errors) = batch.answer(&["input", "tasks"], answers)?;
    let enqueued = |Enqueued { task, deduplicated }| EnqueuedTask { task: task.into(), deduplicated };
    Ok((tasks.into_iter().map(|task| task.map(enqueued)).collect(), errors))
}

fn read(index: &str, task: NewTaskInput) -> Outcome<NewTask> {
    let at = |name| ["input", "tasks", index, name];
    input::check_json(&at("payload"), &task.payload, MAX_JSON)?;
    if !(-100..=100).contains(&task.priority) {
        return Err(UserError::invalid(&at("priority"), "this is not between -100 and 100").into());
    }
    if !(1..=100).contains(&task.max_attempts) {
        return Err(UserError::invalid(&at("maxAttempts"), "this is not between 1 and 100").into());
    }
    let dedupe_key = input::optional(&at("dedupeKey"), task.dedupe_key, 128)?;
    if let Some(window) = task.dedupe_for {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
        let refused = match dedupe_key {
            None => Some("a dedupe window needs a dedupe key"),
            Some(_) if !bounds.contains(&window) => Some("a dedupe window lasts from a second to a week"),
            Some(_) => None,
        };
        if let Some(message) = refused {
            return Err(UserError::invalid(&at("dedupeFor"), message).into());
        }
    }
    Ok(NewTask {
        id: Uuid::now_v7(),
        queue: input::text(&at("queue"), task.queue, 64)?,
        kind: input::text(&at("kind"), task.kind, 64)?,
        priority: task.priority,
        payload: task.payload,
        persona_id: task.persona_id.map(|id| input::persona_id(&id, &at("personaId"))).transpose()?,
        campaign_id: task.campaign_id.map(|id| input::campaign_id(&id, &at("campaignId"))).transpose()?,
        delay: task.delay.0,
        max_attempts: task.max_attempts,
        dedupe_key,
        dedupe_for: task.dedupe_for.map(|window| window.0),
    })
}

/// Refuses the tasks whose persona or campaign the caller has not got; one read for each of the two.
async fn check_references(request: &RequestContext, tasks: Vec<Outcome<NewTask>>) -> Outcome<Vec<Outcome<NewTask>>> {
    let ids = |column: fn(&NewTask) -> Option<Uuid>| tasks.iter().flatten().filter_map(column).collect();
    let (personas, campaigns) = tokio::try_join!(
        input::rows::<entity::persona::Model>(request, ids(|task| task.persona_id)),
        input::rows::<entity::campaign::Model>(request, ids(|task| task.campaign_id)),
    )?;
    let check = |(index, task): (usize, Outcome<NewTask>)| {
        let task = task?;
        let field = |name| input::path(&["input", "tasks", &index.to_string(), name]);
        if task.persona_id.is_some_and(|id| !personas.contains_key(&id)) {
            return Err(input::missing("persona", field("personaId")).into());
        }
        if task.campaign_id.is_some_and(|id| !campaigns.contains_key(&id)) {
            return Err(input::missing("campaign", field("campaignId")).into());
        }
        Ok(task)
    };
    Ok(tasks.into_iter().enumerate().map(check).collect())
}
