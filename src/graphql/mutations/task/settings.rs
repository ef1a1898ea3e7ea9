//! What administrators set of a queue: whether it hands out tasks, and how fast.

use crate::graphql::{
    context::RequestContext,
    mutations::{Outcome, UserError, commit, unit},
    scalars::Duration,
    types::task::Queue,
};
use async_graphql::{InputObject, MaybeUndefined};
use chimera_stores::episodic::{MAX_RATE_COUNT, QueueChange, RateLimit, is_queue_name};
use uuid::Uuid;

/// A change of a queue's settings; what is absent stays as it is.
#[derive(Clone, Debug, InputObject)]
pub struct ConfigureQueueInput {
    /// The queue: 1 to 64 of `a-z`, `0-9`, `_`, `.` and `-`.
    pub queue: String,
    /// Whether it hands out nothing. Workers keep the tasks they hold, and tasks can still be enqueued.
    pub paused: Option<bool>,
    /// How fast it hands out tasks; null removes the limit.
    pub rate_limit: MaybeUndefined<RateLimitInput>,
}

/// At most so many tasks handed out in any span of this length.
#[derive(Clone, Debug, InputObject)]
pub struct RateLimitInput {
    /// Tasks: 1 to 10,000. Every try of a task counts.
    pub count: u32,
    /// The span: a second to a day.
    pub per: Duration,
}

/// Changes a queue. Like other changes outside the relational store it is in the audit log first, so that no change
/// can be missing there.
pub async fn configure(request: &RequestContext, input: ConfigureQueueInput) -> Outcome<(Queue, Vec<UserError>)> {
    let queue = input.queue;
    if !is_queue_name(&queue) {
        let message = "a queue's name has 1 to 64 of a-z, 0-9, `_`, `.` and `-`";
        return Err(UserError::invalid(&["input", "queue"], message).into());
    }
    let rate_limit = match input.rate_limit {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(limit) => Some(Some(read_limit(&limit)?)),
    };
    let change = QueueChange { paused: input.paused, rate_limit };
    if change == QueueChange::default() {
        return Err(UserError::invalid(&["input"], "this changes nothing: give `paused` or `rateLimit`").into());
    }
    let episodic = request.stores().episodic()?;
    let mut work = unit(request, "configureQueue");
    let id = Uuid::new_v5(&request.scope().organization_id(), format!("queue {queue}").as_bytes());
    work.note("Queue", id, &(&queue, change));
    commit(request, work).await?;
    episodic.configure_queue(request.scope(), &queue, &change).await?;
    let mut stats = episodic.queues(request.scope(), std::slice::from_ref(&queue)).await?;
    Ok((stats.pop().unwrap_or_default().into(), Vec::new()))
}

fn read_limit(limit: &RateLimitInput) -> Outcome<RateLimit> {
    if !(1..=MAX_RATE_COUNT).contains(&limit.count) {
        let message = format!("this is not between 1 and {MAX_RATE_COUNT}");
        return Err(UserError::invalid(&["input", "rateLimit", "count"], message).into());
    }
    if !(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&limit.per) {
        return Err(UserError::invalid(&["input", "rateLimit", "per"], "this is not from a second to a day").into());
    }
    Ok(RateLimit { count: limit.count, per: limit.per.0 })
}
