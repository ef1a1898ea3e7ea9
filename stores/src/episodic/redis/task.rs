//! A task as it is stored: what never changes as JSON in a key of its own, so that a step of a task with a large payload
//! moves some fields only; and the fields that scripts read and change.

use super::{
    super::{Lease, NewTask, Task, TaskState},
    fault,
    moment::Moment,
    reply::{Reader, parse, time},
};
use crate::Result;
use ::redis::Value;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Serialize)]
struct Written<'a> {
    kind: &'a str,
    priority: i32,
    payload: &'a serde_json::Value,
    persona_id: Option<Uuid>,
    campaign_id: Option<Uuid>,
    max_attempts: u32,
    dedupe_key: Option<&'a str>,
}

#[derive(Deserialize)]
struct Read {
    kind: String,
    priority: i32,
    payload: serde_json::Value,
    persona_id: Option<Uuid>,
    campaign_id: Option<Uuid>,
    max_attempts: u32,
    dedupe_key: Option<String>,
}

/// The part of a task that never changes.
pub(super) fn body(task: &NewTask) -> Result<Vec<u8>> {
    let written = Written {
        kind: &task.kind,
        priority: task.priority,
        payload: &task.payload,
        persona_id: task.persona_id,
        campaign_id: task.campaign_id,
        max_attempts: task.max_attempts,
        dedupe_key: task.dedupe_key.as_deref(),
    };
    serde_json::to_vec(&written).map_err(fault::unencodable)
}

/// The task that was made at this moment from what was asked for.
pub(super) fn made(task: &NewTask, at: Moment) -> Task {
    Task {
        id: task.id,
        queue: task.queue.clone(),
        kind: task.kind.clone(),
        priority: task.priority,
        payload: task.payload.clone(),
        persona_id: task.persona_id,
        campaign_id: task.campaign_id,
        state: first_state(task),
        attempts: 0,
        max_attempts: task.max_attempts,
        run_at: at.later(task.delay),
        lease: None,
        dedupe_key: task.dedupe_key.clone(),
        dedupe_until: task.dedupe_for.map(|window| at.later(window)),
        progress: 0.0,
        last_error: None,
        result: None,
        created_at: at.0,
        updated_at: at.0,
    }
}

/// The state in which a task begins.
pub(super) fn first_state(task: &NewTask) -> TaskState {
    if task.delay.is_zero() { TaskState::Ready } else { TaskState::Scheduled }
}

/// The number under which scripts know a state.
pub(super) const fn code(state: TaskState) -> u8 {
    match state {
        TaskState::Scheduled => 0,
        TaskState::Ready => 1,
        TaskState::Leased => 2,
        TaskState::Completed => 3,
        TaskState::Dead => 4,
    }
}

fn state(code: u8) -> Result<TaskState> {
    [TaskState::Scheduled, TaskState::Ready, TaskState::Leased, TaskState::Completed, TaskState::Dead]
        .get(usize::from(code))
        .copied()
        .ok_or_else(|| fault::corrupt("a task is in no state"))
}

/// The task that a script answered, of the queue that it was asked for.
pub(super) fn read(answer: Value, queue: &str) -> Result<Task> {
    let mut fields = Reader::new(answer)?;
    let id = fields.parse()?;
    let (state, attempts) = (state(fields.parse()?)?, fields.parse()?);
    let (run_at, created_at, updated_at) = (fields.time()?, fields.time()?, fields.time()?);
    let (token, worker, ends) = (fields.text()?, fields.text()?, fields.text()?);
    let (progress, last_error, result) = (fields.parse()?, fields.text()?, fields.text()?);
    let dedupe_until = fields.text()?.map(|until| time(parse(Some(until))?)).transpose()?;
    let body: Read = json(&fields.text()?.unwrap_or_default())?;
    let lease = match (token, worker) {
        (Some(token), Some(worker)) if state == TaskState::Leased => {
            Some(Lease { token: parse(Some(token))?, worker, expires_at: time(parse(ends)?)? })
        }
        _ => None,
    };
    Ok(Task {
        id,
        queue: queue.to_owned(),
        kind: body.kind,
        priority: body.priority,
        payload: body.payload,
        persona_id: body.persona_id,
        campaign_id: body.campaign_id,
        state,
        attempts,
        max_attempts: body.max_attempts,
        run_at,
        lease,
        dedupe_key: body.dedupe_key,
        dedupe_until,
        progress,
        last_error,
        result: result.map(|result| json(&result)).transpose()?,
        created_at,
        updated_at,
    })
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(fault::corrupt)
}
