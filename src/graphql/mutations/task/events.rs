//! What subscribers hear of tasks: that they changed, and to what. Best effort: an event that cannot be published is
//! logged, and the mutation still succeeds.

use crate::graphql::context::RequestContext;
use chimera_stores::episodic::{Episodic, Task, TaskState};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The topic of all tasks of an organisation. Its events are JSON lists of [`TaskEvent`], one for each mutation.
pub const TASKS_TOPIC: &str = "tasks";

/// That a task changed. It carries what a subscription filters by; the task itself is read when it is delivered, so that
/// no event shows a lease's token or grows with a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskEvent {
    /// The task.
    pub task_id: Uuid,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Where it stands now.
    pub state: TaskState,
    /// For whom.
    pub persona_id: Option<Uuid>,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
}

impl From<&Task> for TaskEvent {
    fn from(task: &Task) -> Self {
        Self {
            task_id: task.id,
            queue: task.queue.clone(),
            kind: task.kind.clone(),
            state: task.state,
            persona_id: task.persona_id,
            campaign_id: task.campaign_id,
        }
    }
}

/// Tells subscribers that these tasks changed, in one event.
pub async fn announce<'a>(request: &RequestContext, episodic: &Episodic, tasks: impl Iterator<Item = &'a Task>) {
    let events: Vec<TaskEvent> = tasks.map(TaskEvent::from).collect();
    if events.is_empty() {
        return;
    }
    // Plain data; it always has a JSON form.
    let payload = serde_json::to_value(&events).unwrap_or_default();
    if let Err(error) = episodic.publish(request.scope(), TASKS_TOPIC, &payload).await {
        tracing::warn!(request_id = request.request_id(), error = %error.chain(), "task events were not published");
    }
}
