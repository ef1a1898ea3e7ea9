//! A task as it is held: the part that never changes, and the part that does.
//!
//! The two are separate records, so that a step of a task with a payload of 64 KiB writes some hundred bytes; and both
//! are shared, so that the store's lock is never held while a payload is copied.

use super::{
    super::{Lease, NewTask, Task, TaskState},
    journal::later,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// What a task was enqueued with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) queue: String,
    kind: String,
    pub(super) priority: i32,
    payload: serde_json::Value,
    pub(super) persona_id: Option<Uuid>,
    pub(super) campaign_id: Option<Uuid>,
    pub(super) max_attempts: u32,
    pub(super) dedupe_key: Option<String>,
    #[serde(default)]
    dedupe_for: Option<Duration>,
}

impl Body {
    pub(super) fn new(task: &NewTask) -> Self {
        Self {
            queue: task.queue.clone(),
            kind: task.kind.clone(),
            priority: task.priority,
            payload: task.payload.clone(),
            persona_id: task.persona_id,
            campaign_id: task.campaign_id,
            max_attempts: task.max_attempts,
            dedupe_key: task.dedupe_key.clone(),
            dedupe_for: task.dedupe_for,
        }
    }
}

/// Where a task stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) state: TaskState,
    pub(super) attempts: u32,
    /// Since when, or from when on, it can be reserved.
    pub(super) run_at: DateTime<Utc>,
    pub(super) lease: Option<Lease>,
    pub(super) progress: f32,
    pub(super) last_error: Option<String>,
    pub(super) result: Option<serde_json::Value>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl Progress {
    /// A task enqueued at `now`.
    pub(super) fn new(task: &NewTask, now: DateTime<Utc>) -> Self {
        Self {
            state: if task.delay.is_zero() { TaskState::Ready } else { TaskState::Scheduled },
            attempts: 0,
            run_at: later(now, task.delay),
            lease: None,
            progress: 0.0,
            last_error: None,
            result: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// A task and the number of the decision that wrote it last.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: Uuid,
    pub(super) body: Arc<Body>,
    pub(super) progress: Arc<Progress>,
    pub(super) number: u64,
}

impl Entry {
    /// The same task one step on.
    pub(super) fn step(&self, progress: Progress, number: u64) -> Self {
        Self { progress: Arc::new(progress), number, ..self.clone() }
    }

    /// Whether it is neither completed nor dead: its dedupe key is taken whatever the time is.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.progress.state, TaskState::Completed | TaskState::Dead)
    }

    /// Until when its dedupe key is taken whatever becomes of it.
    pub(super) fn dedupe_until(&self) -> Option<DateTime<Utc>> {
        self.body.dedupe_for.map(|window| later(self.progress.created_at, window))
    }

    /// Its place in a list of tasks.
    pub(super) fn place(&self) -> (i64, Uuid) {
        (self.progress.created_at.timestamp_micros(), self.id)
    }

    /// The task as the port knows it; copies the payload.
    pub(super) fn task(&self) -> Task {
        let (body, progress) = (&*self.body, &*self.progress);
        Task {
            id: self.id,
            queue: body.queue.clone(),
            kind: body.kind.clone(),
            priority: body.priority,
            payload: body.payload.clone(),
            persona_id: body.persona_id,
            campaign_id: body.campaign_id,
            state: progress.state,
            attempts: progress.attempts,
            max_attempts: body.max_attempts,
            run_at: progress.run_at,
            lease: progress.lease.clone(),
            dedupe_key: body.dedupe_key.clone(),
            dedupe_until: self.dedupe_until(),
            progress: progress.progress,
            last_error: progress.last_error.clone(),
            result: progress.result.clone(),
            created_at: progress.created_at,
            updated_at: progress.updated_at,
        }
    }
}
