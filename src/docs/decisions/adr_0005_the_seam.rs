//! 0005: The seam between the API and the stores. Accepted, 2026-11.
//!
//! # Context
//!
//! Seven ports, and in time two or three adapters for each. Deadlines, retries, breakers, metrics and argument checks
//! belong to every call of every adapter. Wrapper types that forward each method of each trait would repeat that
//! seven times, and drift.
//!
//! # Decision
//!
//! - A port is a concrete handle and an adapter trait. Resolvers, loaders and jobs know the handle; a store
//!   implements the trait.
//! - The handle checks arguments once and sends every call through [`chimera_stores::guard`]: deadline, bulkhead,
//!   breaker, retry within a budget, metrics, counting, and faults that tests inject. Adapters only talk to their
//!   store.
//! - Every method takes a [`Scope`](chimera_stores::Scope). Reads are batches with one result for each key; writes to
//!   derived stores are versioned changes; capabilities are data.
//! - The ports live in a crate of their own, `stores/`, beside `src/`. A change of the schema does not compile
//!   tantivy, candle and SeaORM's callers again, and the author of a store needs no GraphQL. The contract suite is a
//!   test of that crate.
//! - The rows of the relational port are the models of the `entity` crate.
//! - [`crate::app`] alone turns settings into adapters.
//!
//! # Consequences
//!
//! - A new store is one type, one branch in the composition root, one place in the settings, one line in the contract
//!   suite's table.
//! - Faults can be rehearsed on any store without touching it.
//! - A column added to an entity reaches the API's types by the compiler's errors, not by a mapping that may be
//!   forgotten.
//! - A relational store that is not SQL would have to produce these models. None is planned.
//!
//! # Deviations
//!
//! - House style has `src/stores/`, and `src/domain/` with plain types by entity. Here the stores are a crate, and
//!   rows are the entity models: another set of the same structs would only be copied to and from. Types that are not
//!   rows (`Definition`, `Task`, `RenderEvent`, …) are plain and live with their port.
//! - House style has an `open(&cfg)` in each port. Here the composition root opens adapters, so that the crate of the
//!   stores knows no settings.
//! - House style names ports by role (`SearchStore`). Here the handle is `Search` and the trait `SearchAdapter`, as
//!   in the design.
