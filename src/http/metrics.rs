//! What the HTTP layer counts. No label is ever a client's word: names of operations and paths are theirs to choose.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::time::Duration;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation_type: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    operation_type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    route: &'static str,
    status: u16,
}

/// The metrics of one server.
#[derive(Clone, Debug)]
pub(super) struct HttpMetrics {
    operations: Family<Operation, Counter>,
    seconds: Family<Kind, Histogram>,
    complexity: Histogram,
    answers: Family<Answer, Counter>,
    in_flight: Gauge,
}

const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const POINTS: [f64; 10] = [1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 25_000.0, 50_000.0];

impl HttpMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            operations: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            complexity: Histogram::new(POINTS),
            answers: Family::default(),
            in_flight: Gauge::default(),
        };
        registry.register("chimera_operations", "GraphQL operations by type and outcome", metrics.operations.clone());
        registry.register_with_unit(
            "chimera_operation",
            "Time of a GraphQL operation",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register(
            "chimera_operation_complexity",
            "Estimated complexity of accepted operations",
            metrics.complexity.clone(),
        );
        registry.register("chimera_http_answers", "HTTP answers by route and status", metrics.answers.clone());
        registry.register("chimera_http_in_flight", "HTTP requests under way", metrics.in_flight.clone());
        metrics
    }

    pub fn operation(
        &self,
        operation_type: &'static str,
        outcome: &'static str,
        complexity: Option<u64>,
        took: Duration,
    ) {
        self.operations.get_or_create(&Operation { operation_type, outcome }).inc();
        self.seconds.get_or_create(&Kind { operation_type }).observe(took.as_secs_f64());
        if let Some(complexity) = complexity {
            self.complexity.observe(complexity as f64);
        }
    }

    pub fn answer(&self, route: &'static str, status: u16) {
        self.answers.get_or_create(&Answer { route, status }).inc();
    }

    pub fn in_flight(&self, by: i64) {
        self.in_flight.inc_by(by);
    }
}
