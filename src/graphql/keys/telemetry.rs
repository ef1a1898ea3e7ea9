//! Look-ups of the telemetry store.

use crate::graphql::{
    context::RequestContext,
    loader::{LoadKey, spread},
};
use chimera_stores::{
    Page, Result, Store,
    telemetry::{EventPageQuery, Ranking, RankingQuery, RenderEvent, Stats, StatsQuery},
};
use uuid::Uuid;

/// A render event by its id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RenderEventById(pub Uuid);

impl LoadKey for RenderEventById {
    type Value = Option<RenderEvent>;
    const STORE: Store = Store::Telemetry;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().telemetry()?.events(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A page of render events.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RenderEventsOf(pub EventPageQuery);

impl LoadKey for RenderEventsOf {
    type Value = Page<RenderEvent>;
    const STORE: Store = Store::Telemetry;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().telemetry()?.event_pages(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// Aggregates of render events.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RenderStatsOf(pub StatsQuery);

impl LoadKey for RenderStatsOf {
    type Value = Stats;
    const STORE: Store = Store::Telemetry;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().telemetry()?.stats(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A ranking by render events.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RenderRankingOf(pub RankingQuery);

impl LoadKey for RenderRankingOf {
    type Value = Ranking;
    const STORE: Store = Store::Telemetry;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().telemetry()?.rankings(context.scope(), &keys).await };
        spread(count, call.await)
    }
}
