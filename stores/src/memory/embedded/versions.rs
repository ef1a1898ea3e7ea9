//! Which version of each thing is the newest, removed things included: what decides whether a change still counts.
//!
//! This is the side of the writers; it runs ahead of what readers see by the changes that are on their way to the disk.
//! A removed thing keeps its last version for ever (some fifty bytes), because a replay may come at any time.

use crate::error::{ErrorKind, Result, Store, StoreError};
use std::collections::HashMap;
use uuid::Uuid;

/// The newest version of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its version.
    pub version: i64,
    /// Whether it is there; otherwise it was removed with that version.
    pub live: bool,
}

/// What becomes of a change that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new.
    Apply,
    /// It was applied before.
    Repeat,
}

impl Head {
    /// A thing put with this version.
    pub fn put(version: i64) -> Self {
        Self { version, live: true }
    }

    /// A thing removed with this version.
    pub fn removed(version: i64) -> Self {
        Self { version, live: false }
    }

    /// Whether this head may take the place of `current`.
    ///
    /// # Errors
    /// `Superseded` when it is older, or a put of the very version that was removed.
    pub fn over(self, current: Option<&Head>) -> Result<Verdict> {
        match current {
            Some(current) if self.version < current.version => Err(superseded()),
            Some(current) if self == *current => Ok(Verdict::Repeat),
            Some(current) if self.version == current.version && self.live => Err(superseded()),
            _ => Ok(Verdict::Apply),
        }
    }
}

/// The refusal of a stale change.
pub fn superseded() -> StoreError {
    StoreError::new(Store::Memory, ErrorKind::Superseded, "a newer version is already stored")
}

/// The heads of one persona.
#[derive(Debug, Default)]
pub struct Heads {
    /// Of the definition; not live when the persona was dropped.
    pub persona: Option<Head>,
    /// Of memories.
    pub memories: HashMap<Uuid, Head>,
    /// Of interactions.
    pub interactions: HashMap<Uuid, Head>,
}

impl Heads {
    /// Whether the persona was dropped and not defined anew.
    pub fn is_dropped(&self) -> bool {
        self.persona.is_some_and(|head| !head.live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heads() -> impl Strategy<Value = Vec<Head>> {
        proptest::collection::vec((0..4_i64, any::<bool>()).prop_map(|(version, live)| Head { version, live }), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_outcome_does_not_depend_on_the_order_of_delivery(changes in heads(), seed in any::<u64>()) {
            let outcome = |changes: &[Head]| {
                let mut current: Option<Head> = None;
                for change in changes {
                    if change.over(current.as_ref()).is_ok_and(|verdict| verdict == Verdict::Apply) {
                        current = Some(*change);
                    }
                }
                current
            };
            let mut shuffled = changes.clone();
            shuffled.sort_by_key(|change| (change.version as u64 * 2 + u64::from(change.live)).wrapping_mul(seed | 1));
            prop_assert_eq!(outcome(&changes), outcome(&shuffled));
            let repeated: Vec<Head> = changes.iter().chain(&changes).copied().collect();
            prop_assert_eq!(outcome(&changes), outcome(&repeated));
        }
    }
}
