//! The cases of the media port, and the adapters they run on.

use crate::{Adapter, Case};
use chimera_stores::media::Media;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Media>] = &[];

/// Every case of the port.
pub const CASES: &[Case<Media>] = &[];
