//! The integration tests: the whole API over embedded stores.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod access;
mod compatibility;
mod examples;
mod faults;
mod import;
mod mutations;
mod paging;
mod processes;
mod rebuild;
mod relay;
mod schema;
mod serve;
mod spend;
mod start;
mod support;
