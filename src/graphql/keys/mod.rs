//! The keys of all look-ups, one file a store: what resolvers name, and how a level's keys become one call.

pub mod episodic;
pub mod ledger;
pub mod media;
pub mod memory;
pub mod relational;
pub mod search;
pub mod telemetry;
