//! What is decided once per document: parsed, held against the limits, validated, cut into operations, priced.
//!
//! A transport calls [`Api::prepare`] and then [`Api::execute`]; between the two it knows what the operation does (a
//! mutation by GET must not run) and what it would cost. Nothing here knows HTTP, the stores, or which schema it serves.

mod absent;
pub mod cost;
mod engine;
pub mod limits;
mod measure;
mod merge;
mod order;
mod outcome;
pub mod refusal;
mod stats;
mod tokens;
mod values;

#[cfg(test)]
mod tests;

pub use engine::{Api, Engine, OperationKind, Prepared};
pub use limits::{Exceeded, Limits};
pub use refusal::{Refusal, Stage};
pub use stats::CacheStats;
