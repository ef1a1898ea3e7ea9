//! Look-ups of the search store.

use crate::graphql::{
    context::RequestContext,
    loader::{ByText, LoadKey, flatten, spread},
};
use chimera_stores::{
    Result, Store,
    search::{SearchQuery, SearchResult, Trend, TrendingQuery},
};

/// A search.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SearchOf(pub ByText<SearchQuery>);

impl LoadKey for SearchOf {
    type Value = SearchResult;
    const STORE: Store = Store::Search;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0.query).collect::<Vec<_>>());
        let call = async { context.stores().search()?.search(context.scope(), &keys).await };
        flatten(count, call.await)
    }
}

/// What is on the rise.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TrendingOf(pub TrendingQuery);

impl LoadKey for TrendingOf {
    type Value = Vec<Trend>;
    const STORE: Store = Store::Search;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().search()?.trending(context.scope(), &keys).await };
        spread(count, call.await)
    }
}
