//! What happened when: things in the order of their time, and pages of that order, newest first.
//!
//! Holds no rule of its own about pages: what a slice means is [`Slice::apply`]'s to say, this only gets there without
//! walking over everything. A test holds the two together.

use crate::page::{Page, Position, Slice, SortValue};
use chrono::{DateTime, Utc};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};
use uuid::Uuid;

/// Microseconds since the epoch, then the id.
pub type Moment = (i64, Uuid);

/// Above every moment: no date has these microseconds.
const END: Moment = (i64::MAX, Uuid::max());

/// Things by their moment.
#[derive(Debug)]
pub struct Timeline<T>(BTreeMap<Moment, T>);

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// Where a thing stands.
pub fn moment(at: DateTime<Utc>, id: Uuid) -> Moment {
    (at.timestamp_micros(), id)
}

/// A forged cursor may carry a value of another kind; those sort above every number.
fn moment_of(position: &Position) -> Moment {
    match position.value {
        SortValue::Int(micros) => (micros, position.id),
        SortValue::Float(_) | SortValue::Text(_) => END,
    }
}

impl<T> Timeline<T> {
    /// How many things there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds or replaces the thing at a moment.
    pub fn insert(&mut self, at: Moment, thing: T) {
        self.0.insert(at, thing);
    }

    /// Takes the thing at a moment away.
    pub fn remove(&mut self, at: Moment) {
        self.0.remove(&at);
    }

    /// How many things pass.
    pub fn count(&self, keep: impl Fn(&T) -> bool) -> usize {
        self.0.values().filter(|thing| keep(thing)).count()
    }

    /// The page of those that pass, newest first.
    pub fn page(&self, slice: &Slice, keep: impl Fn(&T) -> bool) -> Page<&T> {
        let after = slice.after.as_ref().map(moment_of);
        let before = slice.before.as_ref().map(moment_of);
        let any = |low, high| self.0.range((low, high)).any(|(_, thing)| keep(thing));
        // Newest first: what comes after a place is older than it.
        let mut has_previous = after.is_some_and(|after| any(Included(after), Unbounded));
        let mut has_next = before.is_some_and(|before| match after {
            Some(after) if after <= before => any(Unbounded, Excluded(after)),
            _ => any(Unbounded, Included(before)),
        });
        let mut items = Vec::new();
        let empty = matches!((before, after), (Some(before), Some(after)) if before >= after);
        if !empty {
            let window = (before.map_or(Unbounded, Excluded), after.map_or(Unbounded, Excluded));
            let window = self.0.range(window).map(|(_, thing)| thing).filter(|thing| keep(thing));
            let limit = slice.limit as usize;
            let one_more = limit.saturating_add(1);
            items =
                if slice.backward { window.take(one_more).collect() } else { window.rev().take(one_more).collect() };
            if items.len() > limit {
                items.truncate(limit);
                *(if slice.backward { &mut has_previous } else { &mut has_next }) = true;
            }
            if slice.backward {
                items.reverse();
            }
        }
        Page { items, has_previous, has_next, total: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Option<Position>> {
        let value = prop_oneof![
            8 => (-3..12_i64).prop_map(SortValue::Int),
            1 => Just(SortValue::Float(1.0)),
            1 => Just(SortValue::Text("x".to_owned())),
        ];
        proptest::option::of((value, 0..4_u128).prop_map(|(value, id)| Position { value, id: Uuid::from_u128(id) }))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_page_is_a_slice_of_the_list(
            moments in proptest::collection::btree_set((0..10_i64, 0..4_u128), 0..30),
            after in position(), before in position(), backward: bool, limit in 1..8_u32, divisor in 1..4_i64,
        ) {
            let mut timeline = Timeline::default();
            for &(micros, id) in &moments {
                timeline.insert((micros, Uuid::from_u128(id)), (micros, id));
            }
            let keep = |thing: &(i64, u128)| thing.0 % divisor == 0;
            let slice = Slice { limit, after, before, backward };
            let list = moments.iter().rev().filter(|thing| keep(thing));
            let expected = slice.apply(list, true, |&&(micros, id)| Position {
                value: SortValue::Int(micros),
                id: Uuid::from_u128(id),
            });
            prop_assert_eq!(timeline.page(&slice, keep), expected);
        }
    }
}
