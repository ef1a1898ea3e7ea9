//! Keyset pages, the same in every port: an order with a unique tie-break, a slice of it, one page back.

use crate::error::{Result, Store, StoreError};
use std::cmp::Ordering;
use uuid::Uuid;

/// The value of the sort column in a row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortValue {
    /// Integers, booleans, and times as microseconds since the Unix epoch.
    Int(i64),
    /// Scores.
    Float(f64),
    /// Text, compared by its bytes.
    Text(String),
}

impl SortValue {
    /// A total order; values of different kinds compare by kind (that only happens with a forged cursor).
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (SortValue::Int(a), SortValue::Int(b)) => a.cmp(b),
            (SortValue::Float(a), SortValue::Float(b)) => a.total_cmp(b),
            (SortValue::Text(a), SortValue::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            SortValue::Int(_) => 0,
            SortValue::Float(_) => 1,
            SortValue::Text(_) => 2,
        }
    }
}

/// A place in a keyset order: the sort value of a row and its id as the unique tie-break.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The row's value of the sort column.
    pub value: SortValue,
    /// The row's id, ascending in the same direction as the sort column.
    pub id: Uuid,
}

impl Position {
    /// Order by value, then by id.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.value.compare(&other.value).then_with(|| self.id.cmp(&other.id))
    }
}

impl Eq for Position {}

impl std::hash::Hash for Position {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match &self.value {
            SortValue::Int(value) => value.hash(state),
            SortValue::Float(value) => value.to_bits().hash(state),
            SortValue::Text(value) => value.hash(state),
        }
        self.id.hash(state);
    }
}

/// Which part of an ordered list is asked for. Positions are exclusive.
///
/// `backward` asks for the *last* `limit` rows of what lies between `after` and `before`; the rows still come back in
/// list order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// At most this many rows; at least 1.
    pub limit: u32,
    /// Only rows after this one.
    pub after: Option<Position>,
    /// Only rows before this one.
    pub before: Option<Position>,
    /// Count from the end.
    pub backward: bool,
}

impl Slice {
    /// The first `limit` rows.
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None, before: None, backward: false }
    }

    /// The last `limit` rows.
    pub fn last(limit: u32) -> Self {
        Self { backward: true, ..Self::first(limit) }
    }

    /// Refuses what no port accepts.
    pub fn check(&self, store: Store) -> Result<()> {
        if self.limit == 0 {
            return Err(StoreError::invalid(store, "a page has at least one row"));
        }
        Ok(())
    }

    /// Cuts a whole list to this slice: what in-process adapters use, and what defines the meaning for all others.
    ///
    /// `descending` tells in which direction `items` are ordered by `position`.
    pub fn apply<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        descending: bool,
        position: impl Fn(&T) -> Position,
    ) -> Page<T> {
        let order = |a: &Position, b: &Position| if descending { b.compare(a) } else { a.compare(b) };
        let mut kept = Vec::new();
        let (mut has_previous, mut has_next) = (false, false);
        for item in items {
            let at = position(&item);
            if self.after.as_ref().is_some_and(|after| order(&at, after) != Ordering::Greater) {
                has_previous = true;
            } else if self.before.as_ref().is_some_and(|before| order(&at, before) != Ordering::Less) {
                has_next = true;
            } else {
                kept.push(item);
            }
        }
        let limit = self.limit as usize;
        if kept.len() > limit {
            if self.backward {
                has_previous = true;
                kept.drain(..kept.len() - limit);
            } else {
                has_next = true;
                kept.truncate(limit);
            }
        }
        Page { items: kept, has_previous, has_next, total: None }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows, in list order.
    pub items: Vec<T>,
    /// Whether a row lies before the first one here. An adapter that walks forward may answer `after.is_some()`.
    pub has_previous: bool,
    /// Whether a row lies after the last one here. An adapter that walks backward may answer `before.is_some()`.
    pub has_next: bool,
    /// How many rows the whole list has, when it was asked for.
    pub total: Option<u64>,
}

impl<T> Page<T> {
    /// A page without rows.
    pub fn empty() -> Self {
        Self { items: Vec::new(), has_previous: false, has_next: false, total: None }
    }

    /// The same page with each row changed.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            has_previous: self.has_previous,
            has_next: self.has_next,
            total: self.total,
        }
    }
}
