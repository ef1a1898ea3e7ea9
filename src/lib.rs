//! Chimera: one GraphQL door to the seven stores of a network of autonomous personas.
//!
//! The way of a request: [`http`] takes it, [`document`] decides what can be decided once for its text, [`graphql`]
//! resolves it through the loaders of its [`graphql::context::RequestContext`], and every store call goes through a
//! handle of the crate `chimera_stores`. [`app`] is the only file that puts the parts together.
//!
//! # How to add a type
//!
//! 1. `src/graphql/types/<type>.rs`: a struct of plain columns with a doc comment on each (it is the API's
//!    documentation), and a `#[ComplexObject]` whose methods name one loader key each. No rule, no store call, no
//!    authorisation in a resolver.
//! 2. A variant in [`graphql::ids::NodeId`] when it can be fetched by `node(id)`.
//! 3. `chimera schema > schema.graphql`, and an example document that uses it.
//!
//! # How to add a mutation
//!
//! 1. `src/graphql/mutations/<entity>.rs`: an input object, a payload, and a method that builds one
//!    [`write::UnitOfWork`] and commits it.
//! 2. What the caller can get wrong is a `userErrors` entry; what only the operator can mend is an error.
//! 3. `chimera schema > schema.graphql`, and a test in `tests/it`.
//!
//! How to add a store stands in the documentation of `chimera_stores`.

pub mod access;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod docs;
pub mod document;
pub mod graphql;
pub mod http;
pub mod import;
pub mod logging;
pub mod readiness;
pub mod rebuild;
pub mod relay;
pub mod seed;
pub mod stores;
pub mod token;
pub mod write;
