//! Look-ups of the media store.

use crate::graphql::{
    context::RequestContext,
    loader::{LoadKey, spread},
};
use chimera_stores::{Result, Store, media::ObjectVersion};
use uuid::Uuid;

/// The stored versions of an asset.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VersionsOf(pub Uuid);

impl LoadKey for VersionsOf {
    type Value = Vec<ObjectVersion>;
    const STORE: Store = Store::Media;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().media()?.versions(context.scope(), &keys).await };
        spread(count, call.await)
    }
}
