//! Look-ups of the memory store.

use crate::graphql::{
    context::RequestContext,
    loader::{ByText, LoadKey, flatten, spread},
};
use chimera_stores::{
    Page, Result, Store,
    memory::{
        Definition, Interaction, InteractionPageQuery, MemoryPageQuery, MemoryRecord, RecallQuery, Recalled,
        context::{Context, ContextQuery},
    },
};
use uuid::Uuid;

/// A persona's definition.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DefinitionOf(pub Uuid);

impl LoadKey for DefinitionOf {
    type Value = Option<Definition>;
    const STORE: Store = Store::Memory;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().memory()?.definitions(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A memory by persona and id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MemoryById(pub (Uuid, Uuid));

impl LoadKey for MemoryById {
    type Value = Option<MemoryRecord>;
    const STORE: Store = Store::Memory;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().memory()?.memories(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A page of a persona's memories.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MemoriesOf(pub ByText<MemoryPageQuery>);

impl LoadKey for MemoriesOf {
    type Value = Page<MemoryRecord>;
    const STORE: Store = Store::Memory;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0.query).collect::<Vec<_>>());
        let call = async { context.stores().memory()?.memory_pages(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A page of a persona's interactions.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InteractionsOf(pub ByText<InteractionPageQuery>);

impl LoadKey for InteractionsOf {
    type Value = Page<Interaction>;
    const STORE: Store = Store::Memory;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0.query).collect::<Vec<_>>());
        let call = async { context.stores().memory()?.interaction_pages(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A recall of a persona.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecallOf(pub ByText<RecallQuery>);

impl LoadKey for RecallOf {
    type Value = Vec<Recalled>;
    const STORE: Store = Store::Memory;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0.query).collect::<Vec<_>>());
        let call = async { context.stores().memory()?.recall(context.scope(), &keys).await };
        flatten(count, call.await)
    }
}

/// A context for a prompt.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContextOf(pub ByText<ContextQuery>);

impl LoadKey for ContextOf {
    type Value = Context;
    const STORE: Store = Store::Memory;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0.query).collect::<Vec<_>>());
        let call = async { context.stores().memory()?.contexts(context.scope(), &keys).await };
        flatten(count, call.await)
    }
}
