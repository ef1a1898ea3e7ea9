//! The cases of the episodic port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::episodic::Episodic;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Episodic>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Episodic>] = &[];
