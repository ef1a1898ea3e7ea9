//! How Chimera works, how it is operated, and why it is the way it is. Documentation only: nothing here is code.
//!
//! - [`architecture`]: the way of a request, the seam between the API and the stores, writes, failure.
//! - [`operations`]: starting, stopping, backup, what a crash leaves, damaged files, metrics, the log.
//! - [`errors`]: every code a client can meet.
//! - [`decisions`]: one record for each decision that would be dear to change.

pub mod architecture;
pub mod decisions;
pub mod errors;
pub mod operations;
