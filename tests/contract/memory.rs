//! The cases of the memory port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::memory::Memory;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Memory>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Memory>] = &[];
