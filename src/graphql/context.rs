//! What every resolver of one request shares: who asks, the stores, the loaders, and the process's own parts.

use super::{
    cursor::CursorKey,
    error::field_error,
    loader::{LoadKey, Loaders},
};
use crate::{relay::Relay, stores::Stores};
use async_graphql::Context;
use chimera_stores::{Clock, Scope};
use futures_util::{FutureExt, future::BoxFuture};
use std::sync::Arc;
use url::Url;

/// What outlives requests.
pub struct Shared {
    /// The seven handles.
    pub stores: Stores,
    /// Applies what mutations leave to be done.
    pub relay: Relay,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Signs cursors.
    pub cursor_key: CursorKey,
    /// Where clients reach this server.
    pub public_url: Url,
    /// How long a mutation waits for the derived stores.
    pub outbox_wait: std::time::Duration,
    /// The limits in force, for `service { limits }`.
    pub limits: super::types::service::Limits,
}

struct Inner {
    shared: Arc<Shared>,
    scope: Scope,
    request_id: String,
    loaders: Loaders,
}

/// One request. Cheap to clone.
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

impl RequestContext {
    /// The context of a new request.
    pub fn new(shared: Arc<Shared>, scope: Scope, request_id: String) -> Self {
        Self(Arc::new(Inner { shared, scope, request_id, loaders: Loaders::default() }))
    }

    /// The context of the request being executed.
    ///
    /// # Errors
    /// When the schema is executed without one, which only a defect can do.
    pub fn of<'a>(context: &Context<'a>) -> async_graphql::Result<&'a Self> {
        context.data::<Self>()
    }

    /// What outlives this request.
    pub fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// The seven handles.
    pub fn stores(&self) -> &Stores {
        &self.0.shared.stores
    }

    /// Who asks.
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// The id in the logs and the response header.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Loads one key with the level's batch. What the request keeps is shared with it.
    ///
    /// Boxed, because the executor moves a future for every field, as large as that of the type's largest field: what
    /// one field waits in here would be paid for by each title and status of a list.
    ///
    /// # Errors
    /// The store's error with its code, ready for the client.
    pub fn load_shared<K: LoadKey>(&self, key: K) -> BoxFuture<'_, async_graphql::Result<Arc<K::Value>>> {
        async move { self.0.loaders.load(self, key).await.map_err(|error| field_error(&error)) }.boxed()
    }

    /// The same, as a copy of the caller's own.
    ///
    /// # Errors
    /// As [`RequestContext::load_shared`].
    pub async fn load<K: LoadKey>(&self, key: K) -> async_graphql::Result<K::Value> {
        self.load_shared(key).await.map(Arc::unwrap_or_clone)
    }
}
