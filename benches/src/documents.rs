//! What is asked, in words that every opponent understands.

use crate::data::{self, Rows};
use serde_json::{Value, json};

/// `{ __typename }`.
pub const HELLO: &str = "{ __typename }";

/// 100 parents of 3 fields, each with a child of 3 fields.
pub const LIST: &str = "query List($direction: OrderDirection!) { videos(first: 100, direction: $direction) { nodes { id title status persona { id handle name } } } }";

/// 10,000 rows of 3 fields: the most that one request may list, 100 pages of 100.
pub const FLAT: &str = "query Flat($direction: OrderDirection!) { personas(first: 100, direction: $direction) { nodes { videos(first: 100) { nodes { id title status } } } } }";

/// 20 × 10 × 5, each level with a limit for each parent; of the newest personas, or of those with these handles.
pub const NESTED: &str = "query Nested($direction: OrderDirection!, $handles: [String!]) { personas(first: 20, filter: { handle: $handles }) { nodes { id handle name campaigns(first: 10, direction: $direction) { nodes { id name status posts(first: 5) { nodes { id text status } } } } } } }";

/// An answer of some 8 MiB: 10,000 long texts.
pub const BIG: &str = "query Big($direction: OrderDirection!) { personas(first: 100, direction: $direction) { nodes { posts(first: 100) { nodes { id text status } } } } }";

/// The documented first example: one request through all seven stores.
pub const OVERVIEW: &str = include_str!("../../docs/queries/overview.graphql");

/// The bodies that ask [`NESTED`] of one group of personas after the other: those of two requests under way at once are
/// other rows.
pub fn nested(rows: Rows) -> Vec<String> {
    let group = |first: u32| (first..first + 20).map(data::handle).collect::<Vec<_>>();
    let direction = ["ASC", "DESC"].into_iter().cycle();
    let body = |(first, direction)| {
        json!({ "query": NESTED, "variables": { "direction": direction, "handles": group(first) } }).to_string()
    };
    (0..rows.personas).step_by(20).zip(direction).map(body).collect()
}

/// The bodies that ask a document, with variables that change from one to the next.
pub fn bodies(document: &str) -> Vec<String> {
    let body = |variables: Value| json!({ "query": document, "variables": variables }).to_string();
    if document.contains("$direction") {
        ["ASC", "DESC"].map(|direction| body(json!({ "direction": direction }))).to_vec()
    } else {
        vec![body(json!({}))]
    }
}
