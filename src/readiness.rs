//! What `/ready` says: every store is asked, all at the same time.

use crate::{
    http::{Readiness, StoreStatus},
    stores::{Description, Stores},
};
use async_trait::async_trait;
use chimera_stores::{Scope, guard::BreakerState};
use uuid::Uuid;

/// Asks the stores.
pub struct StoreHealth(Stores);

impl StoreHealth {
    /// Over these stores.
    pub fn new(stores: Stores) -> Self {
        Self(stores)
    }

    async fn status(&self, description: Description) -> StoreStatus {
        let Description { store, adapter, place } = description;
        let guard = self.0.guard(store);
        let breaker = match guard.map(chimera_stores::Guard::breaker_state) {
            None | Some(BreakerState::Closed) => "closed",
            Some(BreakerState::HalfOpen) => "half_open",
            Some(BreakerState::Open) => "open",
        };
        let health = self.0.health(store, &Scope::system(Uuid::nil())).await;
        StoreStatus {
            store,
            adapter: adapter.to_owned(),
            place,
            ready: health.is_ok(),
            breaker: breaker.to_owned(),
            message: health.err().map(|error| error.message().to_owned()),
        }
    }
}

#[async_trait]
impl Readiness for StoreHealth {
    async fn check(&self) -> Vec<StoreStatus> {
        futures_util::future::join_all(self.0.describe().into_iter().map(|description| self.status(description))).await
    }
}
