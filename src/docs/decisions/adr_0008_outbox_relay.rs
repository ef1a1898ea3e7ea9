//! 0008: An outbox and a relay. Accepted, 2026-11.
//!
//! # Context
//!
//! A mutation changes rows, and with them what the memory and search stores hold. Writing to both sides in the
//! resolver loses changes whenever the process stops in between, and no transaction spans them.
//!
//! # Decision
//!
//! A mutation commits rows, audit entries and outbox entries in one relational transaction. [`crate::relay`] reads
//! the entries that are due, up to 500 at a time and oldest first, applies them to their store as one batch of
//! versioned changes, and settles them.
//!
//! - *At least once.* A crash between applying and settling repeats the batch; the stores absorb it by version.
//! - *In order for each entity.* An entity with an older entry that waits hands out no newer one. An entry that fails
//!   waits 200 ms, doubled with each try up to a minute, and holds up its entity alone.
//! - *Superseded is done.*
//! - *Read your own write.* The mutation waits up to `outbox.wait` for its entries and names the stores that are still
//!   behind in `pendingStores`. It never fails because a derived store is down.
//!
//! # Consequences
//!
//! - A store that was down for an hour catches up by itself.
//! - Everything that is written to the memory store is audited, as it passes through the same transaction.
//! - The bodies of changes stay in the relational store until they are carried. A long outage makes it grow; `/ready`
//!   says which store is not well.
//! - An entry that can never be applied is tried every minute for ever, and logged each time. Nothing is thrown away
//!   without a person.
//!
//! # Deviations
//!
//! - The design lets the relay carry changes to Redis as well, and run as a process of its own that shares the work by
//!   locks in PostgreSQL. With embedded stores it is a task of the one process, and its targets are memory and search.
//! - Finding and mending drift between owner and derived stores is not there yet, nor is filling an empty search index.
