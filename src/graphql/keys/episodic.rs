//! Look-ups of the episodic store.

use crate::graphql::{
    context::RequestContext,
    loader::{LoadKey, spread},
};
use chimera_stores::{
    Page, Result, Store,
    episodic::{QueueStats, Task, TaskPageQuery, Turn, WindowQuery},
};
use uuid::Uuid;

/// A task by its id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TaskById(pub Uuid);

impl LoadKey for TaskById {
    type Value = Option<Task>;
    const STORE: Store = Store::Episodic;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().episodic()?.tasks(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A page of tasks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TasksOf(pub TaskPageQuery);

impl LoadKey for TasksOf {
    type Value = Page<Task>;
    const STORE: Store = Store::Episodic;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().episodic()?.task_pages(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// The newest turns of a persona.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WindowOf(pub WindowQuery);

impl LoadKey for WindowOf {
    type Value = Vec<Turn>;
    const STORE: Store = Store::Episodic;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().episodic()?.windows(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// The state of a queue.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct QueueByName(pub String);

impl LoadKey for QueueByName {
    type Value = QueueStats;
    const STORE: Store = Store::Episodic;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().episodic()?.queues(context.scope(), &keys).await };
        spread(count, call.await)
    }
}
