//! What workers do with tasks: reserve, hold on, finish, give up; and replaying what died.

use super::{MAX_BATCH, MAX_JSON, events::announce};
use crate::graphql::{
    context::RequestContext,
    mutations::{Outcome, UserError, batch::Batch, input},
    scalars::Duration,
    types::task::Task,
};
use async_graphql::{ID, InputObject};
use chimera_stores::episodic::{self, Held};
use uuid::Uuid;

/// What a worker asks for.
#[derive(Clone, Debug, InputObject)]
pub struct ReserveTasksInput {
    /// From which queue: 1 to 64 of `a-z`, `0-9`, `_`, `.` and `-`.
    pub queue: String,
    /// Who asks: 1 to 128 bytes, for people to read.
    pub worker: String,
    /// At most so many: 1 to 100.
    #[graphql(default = 1)]
    pub count: u32,
    /// How long the worker holds them: a second to a day; `heartbeatTasks` prolongs it.
    #[graphql(default_with = "Duration::from_secs(60)")]
    pub lease: Duration,
}

/// Holds to be prolonged.
#[derive(Clone, Debug, InputObject)]
pub struct HeartbeatTasksInput {
    /// The holds: 1 to 100.
    pub holds: Vec<HeldTaskInput>,
    /// How long from now: a second to a day.
    #[graphql(default_with = "Duration::from_secs(60)")]
    pub lease: Duration,
}

/// A hold on a task, and how far the work is.
#[derive(Clone, Debug, InputObject)]
pub struct HeldTaskInput {
    /// The task.
    pub task_id: ID,
    /// The token of its lease.
    pub token: String,
    /// How far the work is, from 0 to 1; stays as it is when absent.
    pub progress: Option<f32>,
}

/// Tasks that are done.
#[derive(Clone, Debug, InputObject)]
pub struct CompleteTasksInput {
    /// The holds: 1 to 100.
    pub holds: Vec<CompletedTaskInput>,
}

/// A task that is done.
#[derive(Clone, Debug, InputObject)]
pub struct CompletedTaskInput {
    /// The task.
    pub task_id: ID,
    /// The token of its lease.
    pub token: String,
    /// What came out: at most 65,536 bytes of JSON.
    pub result: Option<serde_json::Value>,
}

/// Tasks that failed.
#[derive(Clone, Debug, InputObject)]
pub struct FailTasksInput {
    /// The holds: 1 to 100.
    pub holds: Vec<FailedTaskInput>,
}

/// A task that failed.
#[derive(Clone, Debug, InputObject)]
pub struct FailedTaskInput {
    /// The task.
    pub task_id: ID,
    /// The token of its lease.
    pub token: String,
    /// Why: at most 16,384 bytes, of which the first 1,024 are kept.
    pub error: String,
    /// Whether another try can help; without, the task is dead at once.
    #[graphql(default = true)]
    pub retryable: bool,
}

/// Dead tasks to be tried again.
#[derive(Clone, Debug, InputObject)]
pub struct ReplayTasksInput {
    /// The tasks: 1 to 100.
    pub ids: Vec<ID>,
}

/// What a batch answers: tasks in the order of the argument, and why some are missing.
type Tasks = (Vec<Option<Task>>, Vec<UserError>);

/// Hands ready tasks to a worker.
pub async fn reserve(request: &RequestContext, input: ReserveTasksInput) -> Outcome<(Vec<Task>, Vec<UserError>)> {
    let count = usize::try_from(input.count).unwrap_or(usize::MAX);
    if !(1..=MAX_BATCH).contains(&count) {
        return Err(UserError::invalid(&["input", "count"], format!("this is not between 1 and {MAX_BATCH}")).into());
    }
    let queue = input::text(&["input", "queue"], input.queue, 64)?;
    let worker = input::text(&["input", "worker"], input.worker, 128)?;
    check_lease(input.lease)?;
    let episodic = request.stores().episodic()?;
    let tasks = episodic.reserve(request.scope(), &queue, &worker, input.count, input.lease.0).await?;
    announce(request, episodic, tasks.iter()).await;
    Ok((tasks.into_iter().map(Task::from).collect(), Vec::new()))
}

/// Prolongs holds. Nothing is announced: a heartbeat changes no state, and there are many.
pub async fn heartbeat(request: &RequestContext, input: HeartbeatTasksInput) -> Outcome<Tasks> {
    input::check_count(&["input", "holds"], input.holds.len(), MAX_BATCH)?;
    check_lease(input.lease)?;
    let read = |(index, hold): (usize, HeldTaskInput)| {
        let index = index.to_string();
        if hold.progress.is_some_and(|progress| !(0.0..=1.0).contains(&progress)) {
            let field = ["input", "holds", &index, "progress"];
            return Err(UserError::invalid(&field, "this is not between 0 and 1").into());
        }
        Ok((held(&index, &hold.task_id, &hold.token)?, hold.progress))
    };
    let batch = Batch::read(input.holds.into_iter().enumerate().map(read))?;
    let episodic = request.stores().episodic()?;
    let answers = match batch.good.len() {
        0 => Vec::new(),
        _ => episodic.heartbeat(request.scope(), &batch.good, input.lease.0).await?,
    };
    answer(batch, &["input", "holds"], answers)
}

/// Reports tasks as done.
pub async fn complete(request: &RequestContext, input: CompleteTasksInput) -> Outcome<Tasks> {
    input::check_count(&["input", "holds"], input.holds.len(), MAX_BATCH)?;
    let read = |(index, hold): (usize, CompletedTaskInput)| {
        let index = index.to_string();
        if let Some(result) = &hold.result {
            input::check_json(&["input", "holds", &index, "result"], result, MAX_JSON)?;
        }
        let held = held(&index, &hold.task_id, &hold.token)?;
        Ok((held, episodic::Outcome::Complete { result: hold.result }))
    };
    settle(request, input.holds.into_iter().enumerate().map(read)).await
}

/// Reports tasks as failed.
pub async fn fail(request: &RequestContext, input: FailTasksInput) -> Outcome<Tasks> {
    input::check_count(&["input", "holds"], input.holds.len(), MAX_BATCH)?;
    let read = |(index, hold): (usize, FailedTaskInput)| {
        let index = index.to_string();
        let error = input::text(&["input", "holds", &index, "error"], hold.error, 16_384)?;
        let held = held(&index, &hold.task_id, &hold.token)?;
        Ok((held, episodic::Outcome::Fail { error, retryable: hold.retryable }))
    };
    settle(request, input.holds.into_iter().enumerate().map(read)).await
}

async fn settle(
    request: &RequestContext,
    outcomes: impl Iterator<Item = Outcome<(Held, episodic::Outcome)>>,
) -> Outcome<Tasks> {
    let batch = Batch::read(outcomes)?;
    let episodic = request.stores().episodic()?;
    let answers = match batch.good.len() {
        0 => Vec::new(),
        _ => episodic.settle(request.scope(), &batch.good).await?,
    };
    announce(request, episodic, answers.iter().flatten()).await;
    answer(batch, &["input", "holds"], answers)
}

/// Makes dead tasks ready again.
pub async fn replay(request: &RequestContext, input: ReplayTasksInput) -> Outcome<Tasks> {
    input::check_count(&["input", "ids"], input.ids.len(), MAX_BATCH)?;
    let read = |(index, id): (usize, ID)| input::task_id(&id, &["input", "ids", &index.to_string()]);
    let batch = Batch::read(input.ids.into_iter().enumerate().map(read))?;
    let episodic = request.stores().episodic()?;
    let answers = match batch.good.len() {
        0 => Vec::new(),
        _ => episodic.replay(request.scope(), &batch.good).await?,
    };
    announce(request, episodic, answers.iter().flatten()).await;
    answer(batch, &["input", "ids"], answers)
}

fn answer<T>(
    batch: Batch<T>,
    field: &[&str],
    answers: Vec<Result<episodic::Task, chimera_stores::StoreError>>,
) -> Outcome<Tasks> {
    let (tasks, errors) = batch.answer(field, answers)?;
    Ok((tasks.into_iter().map(|task| task.map(Task::from)).collect(), errors))
}

fn held(index: &str, task_id: &ID, token: &str) -> Outcome<Held> {
    let at = |name| ["input", "holds", index, name];
    let task_id = input::task_id(task_id, &at("taskId"))?;
    let token = Uuid::try_parse(token).map_err(|_| UserError::invalid(&at("token"), "this is not a lease's token"))?;
    Ok(Held { task_id, token })
}

fn check_lease(lease: Duration) -> Outcome<()> {
    let seconds = std::time::Duration::from_secs;
    if (seconds(1)..=seconds(24 * 3600)).contains(&lease.0) {
        return Ok(());
    }
    Err(UserError::invalid(&["input", "lease"], "a lease lasts from a second to a day").into())
}
