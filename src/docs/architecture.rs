//! The way of a request, the seam, writes, failure.
//!
//! # The parts
//!
//! ```text
//! HTTP        src/http          bytes to requests, answers to bytes; knows no schema and no store
//! document    src/document      what is decided once for a text: limits, validation, complexity, cache
//! schema      src/graphql       types, edges, mutations; loaders, cursors, ids
//! handles     stores            one for each port: checks arguments, sends every call through the guard
//! guard       stores/src/guard  deadline, bulkhead, breaker, retry, metrics, counting; once, for all ports
//! adapters    stores/src/*/…    talk to one kind of store
//! ```
//!
//! Each part knows those below it and none above. [`crate::app`] alone names adapters and puts the parts together; a
//! test builds the same application with other parts.
//!
//! # The way of a request
//!
//! 1. *HTTP.* The envelope gives the request its id (the caller's `X-Request-Id` when it is sane), counts it as open,
//!    and settles CORS. `/graphql` negotiates the answer's media type, refuses what a page of a foreign origin sent,
//!    and reads the body up to `limits.max_body_bytes`.
//! 2. *Principal.* The bearer token becomes a [`Scope`](chimera_stores::Scope): organisation, identity, role. Every
//!    call of a port takes one; a call without one does not compile.
//! 3. *Document.* [`crate::document::Api::prepare`] looks the text up in the cache. A new text is scanned for tokens
//!    and nesting before it is parsed, then held against the limits, validated in full, and cut into its operations.
//!    Variables are checked against their declared types in every request, and the complexity they lead to is
//!    computed. Nothing is executed until all of that has passed. A mutation by GET ends here.
//! 4. *Execution.* The scope gets the request's deadline and a counter of store calls. async-graphql resolves; columns
//!    are plain fields of a struct, an edge names one loader and its key.
//! 5. *Loaders.* The first key of a family starts its batch; the batch goes out when yielding brings no further key,
//!    so it holds the whole level. One result for each key; a key is loaded once a request. Page arguments are part of
//!    the key: parents that ask the same go out in one call.
//! 6. *Handle and guard.* The handle cuts batches to the adapter's limit and refuses what its capabilities exclude.
//!    The guard admits the call (breaker), gives it a place (bulkhead), and bounds it by the smaller of
//!    `guard.deadline` and what is left of the request.
//! 7. *Answer.* Errors get their codes, defects lose their text, nulls move to the nearest nullable parent, and the
//!    answer is written.
//!
//! Stores get `limits.request_timeout` less a tenth (250 ms at most), so that a store that hangs still leaves time to
//! answer with what the others gave.
//!
//! # The seam
//!
//! A port is a concrete handle (`Memory`) and an adapter trait (`MemoryAdapter`).
//!
//! - Reads are batches: keys in, one result for each key out, in order. Absent is `None`; a bad key fails alone; a
//!   failed call fails all keys alike.
//! - Writes to a derived store are versioned changes. A lower version than the stored one is refused as superseded,
//!   which a relay counts as done. So a change may be delivered twice, and late.
//! - Capabilities are data: limits, modes, durability. Handles refuse by them, and the contract suite reads them.
//! - The contract suite under `tests/contract` is the definition of a port and knows only the handle.
//!
//! # Who owns what
//!
//! Relational, memory, episodic, telemetry, ledger and media each own their facts. Search owns nothing: its documents
//! are made from relational rows. Definitions, memories and interactions live in the memory store alone, but get there
//! through the relational store's outbox, so that they are audited and ordered like everything else.
//!
//! # Writes
//!
//! A mutation builds one [`UnitOfWork`](crate::write::UnitOfWork): rows, an audit entry for each change, and outbox
//! entries. They are committed in one transaction. The [`relay`](crate::relay) then carries the entries to the memory
//! and search stores: at least once, in order for each entity, with a back-off for an entry that fails. The mutation
//! waits for its own entries for `outbox.wait` and names the stores that are still behind in `pendingStores`.
//!
//! Three stores take part in no such transaction. Tasks, conversation turns and render events are written straight to
//! their store. A ledger transaction is audited first and submitted after, so that nothing reaches the ledger
//! unlogged. An upload is completed in the media store first and its row follows; repeating `completeUpload` mends a
//! row that is behind.
//!
//! What a caller did wrong is a `userErrors` entry of the payload; what only the operator can mend is an error.
//!
//! # Failure
//!
//! A store may refuse, hang, answer slowly, fail, or answer nonsense. Each becomes a
//! [`StoreError`](chimera_stores::StoreError) of one kind, with a message that never holds a driver's words. Fields
//! that cross into another store are nullable, so a store that is down costs its own fields: each lost path is null
//! with one coded error (see [`super::errors`]), and every other field is what it would have been.
//!
//! - Only reads, and writes that may be repeated, are retried, at most `guard.max_retries` times, after errors that
//!   say a repeat is safe, and only while the retry budget lasts (a tenth of the recent successes).
//! - After `guard.breaker_failures` faults in a row a store rests for `guard.breaker_open`; then one call probes it.
//! - At most `guard.max_in_flight` calls of a store are under way and `guard.max_waiting` wait.
//!
//! # Tenancy
//!
//! Adapters filter by the scope's organisation; what another organisation owns behaves exactly as absent. In the
//! relational schema every foreign key to a row of an organisation carries the organisation, so that no row can refer
//! across. In the memory store every persona is a tenant of its own, in the ledger every organisation has a chain of
//! its own.
