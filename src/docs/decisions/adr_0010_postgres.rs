//! 0010: PostgreSQL as the relational store. Accepted, 2026-11.
//!
//! # Context
//!
//! More than one replica needs a relational store that is a server. The code that asks is the one SQLite runs on; what
//! is decided here is what PostgreSQL guards by itself, and what that costs.
//!
//! # Decision
//!
//! *Row-level security is a second wall.* Every table has a policy, also against its owner. Each transaction sets
//! `chimera.organization`; the relay, authentication and start-up set `chimera.system`. The settings travel in one
//! message with `BEGIN`, and the rollback of a read is queued and not waited for, so a read is two round trips where
//! it was one. Measured on one machine of two cores, busy, an unoptimised build, loopback, 600 calls each in three
//! rounds, medians: rows by one id 0.91 ms without a transaction, 1.11 ms in one, 1.32 ms in one with the policies at
//! work; by 20 ids 1.23, 1.47 and 1.50 ms; by 100 ids 2.62, 2.48 and 2.63 ms. Against a server at a distance it is one
//! more round trip. Rejected: a setting for the connection, which the next caller inherits; policies for writes alone,
//! which leave the more likely mistake open.
//!
//! The wall stands against a forgotten filter. It is no wall against SQL of an attacker's choice, who can set the same
//! settings.
//!
//! *Budgets.* A charge is written and then summed, in one transaction, against the budget of its campaign and that of
//! the period it falls into; both databases run the same statement. On PostgreSQL the transaction is serialisable, and
//! scans of whole tables are discouraged in it, for they would make any two writers collide. One that collides begins
//! again, at most twelve times, and those of one process that have collided take turns: 32 writers of one budget made
//! 256 charges in 0.9 s with 1.5 tries each and five at the most; without the turns it was 1.1 to 1.4 s, up to three
//! tries each, and one or two in a hundred gave up. Rejected: a lock on the campaign's row alone, which guards nothing
//! that a later rule may add; a running total, which can be wrong.
//!
//! *Periods* of one campaign and currency do not overlap: an exclusion constraint with `btree_gist`, and triggers on
//! SQLite.
//!
//! *Text* is compared by its bytes in every column, whatever collation the database was made with, so that pages have
//! the same order on both databases and survive an upgrade of the system's locales.
//!
//! *Connections are not tested before use.* One that is found lost condemns all that were opened before that moment,
//! and the transaction that was about to begin does so on a new one.
//!
//! *Migrations* run in one transaction behind an advisory lock. A role that may not change the schema runs on one that
//! another role keeps up to date.
//!
//! # Consequences
//!
//! - The role in `relational.url` must not be a superuser nor have `BYPASSRLS`; `chimera doctor` says when it is.
//! - Whoever looks into the database by hand as the program's role sets `chimera.system` first, or sees nothing.
//! - A new table needs its policy; a test finds one without.
//! - Historic charges above a budget cannot be imported before the budget is raised.
//! - Foreign keys lock rows of the audit log with the rights of its owner, who therefore keeps `UPDATE` of its id; the
//!   trigger refuses that too.
//!
//! # Deviations
//!
//! - On SQLite sequence numbers of the outbox and ids of the audit log are in the order of commits. On PostgreSQL they
//!   are so for each entity, whose row the writers lock in turn, and not across entities.
//! - Budgets of periods can be written through the port; the API shows and sets the budget of a whole campaign.
