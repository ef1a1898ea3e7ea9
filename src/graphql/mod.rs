//! The GraphQL schema: types, edges, mutations, and what they share.

pub mod context;
pub mod cursor;
pub mod error;
pub mod ids;
pub mod keys;
pub mod loader;
pub mod mutations;
pub mod page;
pub mod query;
pub mod resolve;
pub mod scalars;
pub mod schema;
pub mod types;

pub use context::RequestContext;
pub use schema::{ChimeraSchema, sdl};
