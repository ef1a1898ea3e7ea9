//! The cases of the search port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::search::Search;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Search>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Search>] = &[];
