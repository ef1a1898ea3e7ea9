//! The schema without any data: what is served, printed and pinned.

use super::{mutations::Mutation, query::Query};
use async_graphql::{EmptySubscription, SDLExportOptions, Schema, SchemaBuilder, ValidationMode};

/// The schema that is served.
pub type ChimeraSchema = Schema<Query, Mutation, EmptySubscription>;

/// A builder of the schema; limits are not its business but the document engine's.
pub fn builder(mode: ValidationMode) -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    Schema::build(Query, Mutation::default(), EmptySubscription).validation_mode(mode)
}

/// The SDL, sorted, as pinned in `schema.graphql`.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items().include_specified_by();
    builder(ValidationMode::Strict).finish().sdl_with_options(options)
}
