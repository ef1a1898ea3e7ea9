//! The order of hits, and the page that is kept of it while matches stream by.
//!
//! Every order becomes one: ascending ranks. A position of a cursor becomes a rank too, so a page is a range of ranks,
//! and a page from the end is the same with all bits turned.

use crate::{Position, Result, Slice, SortValue, Store, StoreError, search::SearchOrder};
use std::collections::BinaryHeap;
use tantivy::DocAddress;
use uuid::Uuid;

/// A place in the order: smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64, u128);

impl Rank {
    const fn turned(self) -> Self {
        Self(!self.0, !self.1)
    }
}

/// A match with what the order needs of it.
#[derive(Clone, Copy, Debug)]
pub struct Match {
    /// Relevance.
    pub score: f64,
    /// Microseconds since the Unix epoch.
    pub created_at: i64,
    /// The entity's id.
    pub id: Uuid,
    /// Where it is stored.
    pub address: DocAddress,
}

impl Match {
    /// Where it stands.
    pub fn position(&self, order: SearchOrder) -> Position {
        let value = match order {
            SearchOrder::Relevance => SortValue::Float(self.score),
            SearchOrder::Newest | SearchOrder::Oldest => SortValue::Int(self.created_at),
        };
        Position { value, id: self.id }
    }
}

fn rank(order: SearchOrder, position: &Position) -> Result<Rank> {
    let value = match (order, &position.value) {
        (SearchOrder::Relevance, SortValue::Float(score)) => of_float(*score),
        (SearchOrder::Newest | SearchOrder::Oldest, SortValue::Int(micros)) => of_int(*micros),
        _ => return Err(StoreError::invalid(Store::Search, "the cursor belongs to another order of hits")),
    };
    let ascending = Rank(value, position.id.as_u128());
    Ok(if order == SearchOrder::Oldest { ascending } else { ascending.turned() })
}

/// Keeps the order of `i64`.
const fn of_int(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// Keeps the order of `f64::total_cmp`.
const fn of_float(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits }
}

struct Candidate {
    rank: Rank,
    found: Match,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank).then_with(|| self.found.address.cmp(&other.found.address))
    }
}

/// Keeps one slice of all matches, in memory of the size of the slice.
pub struct Best {
    order: SearchOrder,
    limit: usize,
    after: Option<Rank>,
    before: Option<Rank>,
    backward: bool,
    /// The last one on top.
    kept: BinaryHeap<Candidate>,
    has_previous: bool,
    has_next: bool,
}

/// What was kept of all matches.
pub struct Kept {
    /// The matches of the slice, in list order.
    pub found: Vec<Match>,
    /// Whether some come before.
    pub has_previous: bool,
    /// Whether more follow.
    pub has_next: bool,
}

impl Best {
    /// Nothing yet.
    ///
    /// # Errors
    /// `Invalid` for a position of another order.
    pub fn new(order: SearchOrder, slice: &Slice) -> Result<Self> {
        let rank = |position: &Option<Position>| position.as_ref().map(|position| rank(order, position)).transpose();
        Ok(Self {
            order,
            limit: slice.limit as usize,
            after: rank(&slice.after)?,
            before: rank(&slice.before)?,
            backward: slice.backward,
            kept: BinaryHeap::new(),
            has_previous: false,
            has_next: false,
        })
    }

    /// Takes a match into account.
    ///
    /// # Errors
    /// None in practice: the position of a match belongs to the order.
    pub fn offer(&mut self, found: Match) -> Result<()> {
        let rank = rank(self.order, &found.position(self.order))?;
        if self.after.is_some_and(|after| rank <= after) {
            self.has_previous = true;
            return Ok(());
        }
        if self.before.is_some_and(|before| rank >= before) {
            self.has_next = true;
            return Ok(());
        }
        self.kept.push(Candidate { rank: if self.backward { rank.turned() } else { rank }, found });
        if self.kept.len() > self.limit {
            self.kept.pop();
            self.has_previous |= self.backward;
            self.has_next |= !self.backward;
        }
        Ok(())
    }

    /// The matches of the slice, and what lies around them.
    pub fn finish(self) -> Kept {
        let mut found: Vec<Match> = self.kept.into_sorted_vec().into_iter().map(|kept| kept.found).collect();
        if self.backward {
            found.reverse();
        }
        Kept { found, has_previous: self.has_previous, has_next: self.has_next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn ranks_keep_the_order_of_values(a: i64, b: i64, x: f64, y: f64) {
            prop_assert_eq!(of_int(a).cmp(&of_int(b)), a.cmp(&b));
            prop_assert_eq!(of_float(x).cmp(&of_float(y)), x.total_cmp(&y));
        }

        /// The meaning of a slice is defined by [`Slice::apply`] over the whole list.
        #[test]
        fn a_slice_of_a_stream_equals_a_slice_of_the_list(
            rows in proptest::collection::vec((0i64..6, 0u128..1000), 0..24),
            limit in 1u32..6, backward: bool, order in 0..3_usize,
            after in proptest::option::of((0i64..6, 0u128..1000)), before in proptest::option::of((0i64..6, 0u128..1000)),
        ) {
            let order = [SearchOrder::Relevance, SearchOrder::Newest, SearchOrder::Oldest][order];
            let row = |(value, id): (i64, u128)| Match {
                score: value as f64, created_at: value, id: Uuid::from_u128(id), address: DocAddress::new(0, 0),
            };
            let place = |row: Match| row.position(order);
            let slice = Slice { limit, after: after.map(row).map(place), before: before.map(row).map(place), backward };
            let rows: std::collections::BTreeMap<u128, i64> = rows.into_iter().map(|(value, id)| (id, value)).collect();
            let rows: Vec<Match> = rows.into_iter().map(|(id, value)| row((value, id))).collect();
            let mut best = Best::new(order, &slice).unwrap();
            for row in &rows {
                best.offer(*row).unwrap();
            }
            let descending = order != SearchOrder::Oldest;
            let mut list = rows;
            list.sort_by(|a, b| a.position(order).compare(&b.position(order)));
            if descending {
                list.reverse();
            }
            let page = slice.apply(list, descending, |row| row.position(order));
            let Kept { found, has_previous, has_next } = best.finish();
            let ids = |rows: &[Match]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
            prop_assert_eq!(ids(&found), ids(&page.items));
            prop_assert_eq!((has_previous, has_next), (page.has_previous, page.has_next));
        }
    }
}
