//! What can be measured, by name.

mod fan_out;
mod growth;
mod ingest;
mod latency;
mod loader;
mod memory;
mod nested;
mod peers;
mod requests;
mod split;
mod tasks;

use crate::figure::Figure;

/// One metric.
pub struct Metric {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// All of them, in the order of a full run.
pub const ALL: &[Metric] = &[
    Metric { name: "M1", about: "hello: `{ __typename }`" },
    Metric { name: "M2", about: "lists: 100 parents with a child, and 10,000 rows, data in memory" },
    Metric { name: "M4", about: "nested pages of 20 × 10 × 5 from PostgreSQL" },
    Metric { name: "M5", about: "fan-out: one request through all seven stores, stubs of fixed service time" },
    Metric { name: "M6", about: "loader: 100 keys through a loader on an instant store" },
    Metric { name: "M7", about: "tail: open loop at 65 % of own saturation" },
    Metric { name: "M8", about: "memory: idle, at the peak of 50 connections, and under a steady load" },
    Metric { name: "M9", about: "a big answer of 8 MiB" },
    Metric { name: "M11", about: "ingest of render events through the mutation, against COPY" },
    Metric { name: "M12", about: "tasks in and out of a queue, against BullMQ" },
    Metric { name: "split", about: "where the time of a list goes, by its steps" },
    Metric { name: "growth", about: "list, nested pages, search and queue at 1×, 10× and 100× of rows" },
];

/// Runs one.
///
/// # Errors
/// What kept it from a figure.
pub async fn run(name: &str) -> Result<Vec<Figure>, String> {
    match name {
        "M1" => requests::hello().await,
        "M2" => requests::lists().await,
        "M4" => nested::pages().await,
        "M5" => fan_out::seven().await,
        "M6" => loader::hundred_keys().await,
        "M7" => latency::tail().await,
        "M8" => memory::rss().await,
        "M9" => requests::big().await,
        "M11" => ingest::against_copy().await,
        "M12" => tasks::against_bullmq().await,
        "split" => split::steps().await,
        "growth" => growth::slopes().await,
        other => Err(format!("there is no metric {other}")),
    }
}
