//! The API without a transport: the schema behind the document engine.

use crate::{
    config::Settings,
    document::{Engine, Refusal},
    graphql::context::Shared,
    graphql::{RequestContext, mutations::Mutation, query::Query, schema},
};
use async_graphql::{Data, EmptySubscription, ValidationMode};
use chimera_stores::Scope;
use std::sync::Arc;

/// The engine of this schema.
pub type Api = Engine<Query, Mutation, EmptySubscription>;

/// Builds the engine.
///
/// # Errors
/// When the schema is broken, which only a defect can cause.
pub fn engine(settings: &Settings) -> Result<Api, Refusal> {
    Engine::new(|| schema::builder(ValidationMode::Strict), settings.limits.clone(), settings.introspection)
}

/// What the resolvers of one request find in their context.
pub fn request_data(shared: &Arc<Shared>, scope: Scope, request_id: String) -> Data {
    let mut data = Data::default();
    data.insert(RequestContext::new(shared.clone(), scope, request_id));
    data
}
