//! The cases of the ledger port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::ledger::Ledger;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Ledger>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Ledger>] = &[];
