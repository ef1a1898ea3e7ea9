//! The cases of the telemetry port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::telemetry::Telemetry;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Telemetry>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Telemetry>] = &[];
