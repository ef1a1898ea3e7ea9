//! The seven stores behind one shape.
//!
//! Each port is two things: a *handle* (`Relational`, `Memory`, `Episodic`, `Telemetry`, `Ledger`, `Media`, `Search`)
//! that resolvers, loaders and jobs call, and an *adapter trait* that a store implements. The handle checks the
//! arguments once and sends every call through the one [`guard::Guard`] (deadline, bulkhead, breaker, retry, metrics,
//! counting, fault injection); the adapter only talks to its store.
//!
//! # How to add a store
//!
//! 1. Write `stores/src/<port>/<store>.rs` with a type that implements the port's adapter trait. Return one result
//!    per key, in order; map every driver error to a [`error::StoreError`] kind; describe the store's limits in its
//!    `capabilities()`.
//! 2. Accept its URL scheme in `src/config/place.rs`, and open it in `Opener` of `src/app.rs`.
//! 3. Add one line to `ADAPTERS` in `tests/contract/<port>`. The adapter is done when every case passes.
//!
//! A new rule of a port is first a new case in `tests/contract/<port>.rs`.

pub mod address;
pub mod clock;
pub mod durable;
pub mod episodic;
pub mod error;
pub mod finding;
pub mod guard;
pub mod ledger;
pub mod media;
pub mod memory;
pub mod page;
pub mod relational;
pub mod scope;
pub mod search;
pub mod telemetry;

pub use address::Address;
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{ErrorKind, Result, Retry, Store, StoreError};
pub use finding::Finding;
pub use guard::Guard;
pub use page::{Page, Position, Slice, SortValue};
pub use scope::{Principal, Role, Scope};
