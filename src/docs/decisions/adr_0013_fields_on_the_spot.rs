//! 0013: Lists and children resolve their fields on the spot. Accepted, 2026-11.
//!
//! # Context
//!
//! async-graphql 7.2 boxes a future for each field of each object, as large as that of the type's largest field, and
//! puts it into a set that has a task and a waker for each. Measured against a stock stack of the same library, which
//! pays the same but whose types are small, lists took 1.2 to 1.5 times the processor time, because a field of `Video` moved
//! 2 KiB about to copy a title.
//!
//! # Decision
//!
//! *Fields are asked once where they stand* (`graphql::resolve`): `Many` for the rows of connections, `One` for what a
//! loader brings. Only a field that waits becomes a task. The selection is walked once for a list; directives, two fields
//! under one name and fragments on other types go to the library's own executor, and a test holds both to the same
//! answers and errors. It uses functions of the library that are public but not documented (`with_field`, `with_index`).
//!
//! *What waits in a loader is boxed* (`RequestContext::load`), so that fields that do not wait have no room for it.
//!
//! *A loader shares its answers* behind an `Arc`; a resolver clones what it takes away once, not twice.
//!
//! Counted under callgrind, all three against none: 1,000 rows of 3 fields -30 % instructions and -31 % allocations, 100
//! rows with a child each -29 % and -23 %, nested pages -26 % and -27 %.
//!
//! Rejected: the library's `boxed-trait` feature, which boxes every field once more; a fork of the library, which somebody
//! would have to keep; types over `Arc`s of rows, which would spare the one clone left, and can still come.
