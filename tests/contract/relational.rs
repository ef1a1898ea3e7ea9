//! The cases of the relational port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::relational::Relational;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Relational>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Relational>] = &[];
