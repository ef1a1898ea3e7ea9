//! What workers do with tasks: reserve, hold on, finish, give up, and the last two with the next reserve; and replaying
//! what died.

use super::{MAX_BATCH, MAX_JSON, events::announce};
use crate::graphql::{
    context::RequestContext,
    mutations::{Outcome, UserError, batch::Batch, input},
    scalars::Duration,
    types::task::Task,
};
use async_graphql::{ID, InputObject};
use chimera_stores::episodic::{self, Held, ReserveRequest};
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

/// What a worker is through with, and what it asks for next.
#[derive(Clone, Debug, InputObject)]
pub struct WorkTasksInput {
    /// Tasks that are done; with those that failed at most 100.
    #[graphql(default)]
    pub completed: Vec<CompletedTaskInput>,
    /// Tasks that failed.
    #[graphql(default)]
    pub failed: Vec<FailedTaskInput>,
    /// What it asks for.
    pub reserve: ReserveTasksInput,
}

/// Dead tasks to be tried again.
#[derive(Clone, Debug, InputObject)]
pub struct ReplayTasksInput {
    /// The tasks: 1 to 100.
    pub ids: Vec<ID>,
}

/// What a batch answers: tasks in the order of the argument, and why some are missing.
type Tasks = (Vec<Option<Task>>, Vec<UserError>);

/// What a worker settles and gets: tasks done, tasks failed, tasks reserved, and why some are missing.
type Work = (Vec<Option<Task>>, Vec<Option<Task>>, Vec<Task>, Vec<UserError>);

/// Hands ready tasks to a worker.
pub async fn reserve(request: &RequestContext, input: ReserveTasksInput) -> Outcome<(Vec<Task>, Vec<UserError>)> {
    let ReserveRequest { queue, worker, count, lease } = read_reserve(&["input"], input)?;
    let episodic = request.stores().episodic()?;
    let tasks = episodic.reserve(request.scope(), &queue, &worker, count, lease).await?;
    announce(request, episodic, tasks.iter()).await;
    Ok((tasks.into_iter().map(Task::from).collect(), Vec::new()))
}

/// Settles what a worker is through with, and hands it the next tasks.
pub async fn work(request: &RequestContext, input: WorkTasksInput) -> Outcome<Work> {
    if input.completed.len() + input.failed.len() > MAX_BATCH {
        let message = format!("`completed` and `failed` have at most {MAX_BATCH} items together");
        return Err(UserError::invalid(&["input"], message).into());
    }
    let next = read_reserve(&["input", "reserve"], input.reserve)?;
    let completed = input.completed.into_iter().enumerate();
    let completed = Batch::read(completed.map(|(index, hold)| read_completed("completed", index, hold)))?;
    let failed = input.failed.into_iter().enumerate();
    let failed = Batch::read(failed.map(|(index, hold)| read_failed("failed", index, hold)))?;
    let outcomes: Vec<_> = completed.good.iter().chain(&failed.good).cloned().collect();
    let episodic = request.stores().episodic()?;
    let (mut settled, reserved) = episodic.settle_and_reserve(request.scope(), &outcomes, &next).await?;
    announce(request, episodic, settled.iter().flatten().chain(&reserved)).await;
    let rest = settled.split_off(completed.good.len().min(settled.len()));
    let (completed, mut errors) = answer(completed, &["input", "completed"], settled)?;
    let (failed, more) = answer(failed, &["input", "failed"], rest)?;
    errors.extend(more);
    Ok((completed, failed, reserved.into_iter().map(Task::from).collect(), errors))
}

fn read_reserve(field: &[&str], input: ReserveTasksInput) -> Outcome<ReserveRequest> {
    let at = |name| [field, &[name]].concat();
    let count = usize::try_from(input.count).unwrap_or(usize::MAX);
    if !(1..=MAX_BATCH).contains(&count) {
        return Err(UserError::invalid(&at("count"), format!("this is not between 1 and {MAX_BATCH}")).into());
    }
    check_lease(&at("lease"), input.lease)?;
    Ok(ReserveRequest {
        queue: input::text(&at("queue"), input.queue, 64)?,
        worker: input::text(&at("worker"), input.worker, 128)?,
        count: input.count,
        lease: input.lease.0,
    })
}

/// Prolongs holds. Nothing is announced: a heartbeat changes no state, and there are many.
pub async fn heartbeat(request: &RequestContext, input: HeartbeatTasksInput) -> Outcome<Tasks> {
    input::check_count(&["input", "holds"], input.holds.len(), MAX_BATCH)?;
    check_lease(&["input", "lease"], input.lease)?;
    let read = |(index, hold): (usize, HeldTaskInput)| {
        let index = index.to_string();
        if hold.progress.is_some_and(|progress| !(0.0..=1.0).contains(&progress)) {
            let field = ["input", "holds", &index, "progress"];
            return Err(UserError::invalid(&field, "this is not between 0 and 1").into());
        }
        Ok((held("holds", &index, &hold.task_id, &hold.token)?, hold.progress))
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
    settle(request, input.holds.into_iter().enumerate().map(|(index, hold)| read_completed("holds", index, hold))).await
}

/// Reports tasks as failed.
pub async fn fail(request: &RequestContext, input: FailTasksInput) -> Outcome<Tasks> {
    input::check_count(&["input", "holds"], input.holds.len(), MAX_BATCH)?;
    settle(request, input.holds.into_iter().enumerate().map(|(index, hold)| read_failed("holds", index, hold))).await
}

fn read_completed(list: &str, index: usize, hold: CompletedTaskInput) -> Outcome<(Held, episodic::Outcome)> {
    let index = index.to_string();
    if let Some(result) = &hold.result {
        input::check_json(&["input", list, &index, "result"], result, MAX_JSON)?;
    }
    let held = held(list, &index, &hold.task_id, &hold.token)?;
    Ok((held, episodic::Outcome::Complete { result: hold.result }))
}

fn read_failed(list: &str, index: usize, hold: FailedTaskInput) -> Outcome<(Held, episodic::Outcome)> {
    let index = index.to_string();
    let error = input::text(&["input", list, &index, "error"], hold.error, 16_384)?;
    let held = held(list, &index, &hold.task_id, &hold.token)?;
    Ok((held, episodic::Outcome::Fail { error, retryable: hold.retryable }))
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

fn held(list: &str, index: &str, task_id: &ID, token: &str) -> Outcome<Held> {
    let at = |name| ["input", list, index, name];
    let task_id = input::task_id(task_id, &at("taskId"))?;
    let token = Uuid::try_parse(token).map_err(|_| UserError::invalid(&at("token"), "this is not a lease's token"))?;
    Ok(Held { task_id, token })
}

fn check_lease(field: &[&str], lease: Duration) -> Outcome<()> {
    let seconds = std::time::Duration::from_secs;
    if (seconds(1)..=seconds(24 * 3600)).contains(&lease.0) {
        return Ok(());
    }
    Err(UserError::invalid(field, "a lease lasts from a second to a day").into())
}
