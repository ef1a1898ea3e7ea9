//! 0007: Ids and cursors. Accepted, 2026-11.
//!
//! # Context
//!
//! Ids must be made without asking a database, sort well in an index, and say what they name. Cursors must be stable
//! while rows are added, cheap for the store, and impossible to bend into a query of another kind.
//!
//! # Decision
//!
//! *Rows* have UUIDv7 ids made by this program, so order by id is order of creation. What is derived has a UUIDv5:
//! topics from their name, imported memories and render events from their external id, the audit entries of a ledger
//! transaction from its idempotency key. A repeat then finds the first.
//!
//! *Global ids* are the type's name, an underscore and what finds the thing in its store: `persona_` and 32 hex
//! digits. A memory's also holds its persona, because memories are kept by persona; a ledger entry's holds chain,
//! transaction and index. Clients treat them as opaque; people can read them in a log. Not base64: it hides nothing
//! and reads badly.
//!
//! *Cursors* are base64url of a version, a fingerprint of the list's type and order, the position (sort value and id)
//! and the first eight bytes of an HMAC-SHA-256 under a key derived from `data.secret`. Pages are keyset pages with
//! the id as the unique tie-break.
//!
//! # Consequences
//!
//! - An id of one type given for another is refused with a message, before a store is asked.
//! - A cursor of another list or order, or one that was made up, is `BAD_USER_INPUT`.
//! - Cursors end with the secret. Replicas must share it.
//! - The time of creation can be read from an id. That is no secret here.
//! - Eight bytes are enough: a forged cursor only names a position in a list the caller may read anyway.
//!
//! # Deviations
//!
//! The fingerprint covers type and order, not parent or filter: a cursor taken to another parent's list of the same
//! kind is accepted, and means the same position there.
