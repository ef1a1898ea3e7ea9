//! What only a real server can show: faults, plans, races, processes. Each test has servers of its own, and is left out
//! where they are not installed, unless `CONTRACT_REQUIRE` names them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod others;
mod postgres_audit;
mod postgres_billing;
mod postgres_faults;
mod postgres_migrations;
mod postgres_opening;
mod postgres_outbox;
mod postgres_plans;
mod postgres_recovery;
mod postgres_replica;
mod postgres_rls;
mod redis;
mod redis_access;
mod redis_cluster;
mod redis_faults;
mod redis_pubsub;
mod redis_store;
mod redis_tls;
mod redis_workers;
mod servers;
mod support;
mod timescale;
