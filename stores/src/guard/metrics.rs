//! What the guard counts, in Prometheus' terms.

use crate::error::Store;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Labels of a finished call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CallLabels {
    store: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

/// Labels of a store.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StoreLabels {
    store: &'static str,
}

/// The metrics of all stores; one instance a process, shared by the seven guards.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<StoreLabels, Histogram>,
    in_flight: Family<StoreLabels, Gauge>,
    retries: Family<StoreLabels, Counter>,
    breaker: Family<StoreLabels, Gauge>,
}

/// From an in-process answer to the longest deadline a setting allows by default.
const BOUNDS: [f64; 14] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

impl StoreMetrics {
    /// Registers the metrics of the stores.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            in_flight: Family::default(),
            retries: Family::default(),
            breaker: Family::default(),
        };
        registry.register("chimera_store_calls", "Calls of a store by operation and outcome", metrics.calls.clone());
        registry.register_with_unit(
            "chimera_store_call",
            "Time of a store call, retries included",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("chimera_store_in_flight", "Calls of a store under way", metrics.in_flight.clone());
        registry.register("chimera_store_retries", "Repeated calls of a store", metrics.retries.clone());
        registry.register(
            "chimera_store_breaker",
            "State of a store's breaker: 0 closed, 1 half-open, 2 open",
            metrics.breaker.clone(),
        );
        metrics
    }

    pub(super) fn finished(&self, store: Store, operation: &'static str, outcome: &'static str, seconds: f64) {
        self.calls.get_or_create(&CallLabels { store: store.name(), operation, outcome }).inc();
        self.seconds.get_or_create(&StoreLabels { store: store.name() }).observe(seconds);
    }

    pub(super) fn in_flight(&self, store: Store, by: i64) {
        self.in_flight.get_or_create(&StoreLabels { store: store.name() }).inc_by(by);
    }

    pub(super) fn retried(&self, store: Store) {
        self.retries.get_or_create(&StoreLabels { store: store.name() }).inc();
    }

    pub(super) fn breaker(&self, store: Store, state: i64) {
        self.breaker.get_or_create(&StoreLabels { store: store.name() }).set(state);
    }
}
