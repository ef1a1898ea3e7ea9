//! 0003: A transport and a document engine of our own. Accepted, 2026-11.
//!
//! # Context
//!
//! async-graphql's official actix integration answers 200 to everything, whatever went wrong, and lets a GET mutate. It
//! parses and validates each request anew. Limits can be set as extensions or visitors of the library, but any
//! extension moves execution to a slow path.
//!
//! Measured beforehand with async-graphql 7.2.1, 198 leaves, one core (requests a second; re-measure before quoting):
//!
//! | variant | req/s |
//! |---|---|
//! | stock actix integration | 4,912 |
//! | own handler | 5,179 |
//! | own handler, cache of parsed documents | 10,001 |
//! | the same, and a schema in fast validation mode for documents that passed the strict one | 11,884 |
//! | the same with the tracing extension | 6,450 |
//!
//! # Decision
//!
//! - `src/http`: a thin layer over actix-web after the GraphQL-over-HTTP specification. Media types are negotiated, the
//!   status says how far a request came, GET runs queries only, pages of foreign origins are refused.
//! - [`crate::document`]: strict once, fast after. A text is scanned, parsed, held against the limits and validated
//!   in full the first time; what passed is cached within `limits.document_cache_bytes`, what did not is remembered
//!   as refused. Two schemas come from one builder: the validator applies every rule and executes nothing; the runner
//!   is in `ValidationMode::Fast` and sees only operations that passed the validator.
//! - No extension on the hot path. One span for each operation; store calls are counted by the guard.
//!
//! # Consequences
//!
//! - An operation that was not validated must never reach the runner: an unknown field would silently be null. One
//!   type, `Prepared`, is the only way in.
//! - Fast mode checks no variables, so the engine checks each request's against their declared types, fills in
//!   defaults and takes out arguments whose variable is absent.
//! - The executor leaves a failed non-null field out of its object; the engine puts the null where the specification
//!   wants it.
//! - All limits, with their codes, are decided before anything runs, and are the same for every transport.
//! - The status codes are held to the audits of the npm package `graphql-http` (61 at this writing), warnings included.
//!
//! # Deviations
//!
//! The design's transport includes WebSocket and SSE. Neither is there yet: the schema has no subscriptions.
