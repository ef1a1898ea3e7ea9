//! Pages of entries: several ascending lists of indexes walked as one, from either end, without reading the rest.

use super::state::{Record, State, cut, local};
use crate::{
    ledger::{Entry, EntryPageQuery},
    page::Page,
};
use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashSet},
    ops::Range,
};

/// The indexes of several ascending lists in one order, each index once: newest first, or oldest first.
struct Merged<'a> {
    lists: Vec<&'a [usize]>,
    /// The next index of each list that has one, keyed so that the greatest key comes next.
    next: BinaryHeap<(i64, usize, usize)>,
    newest_first: bool,
}

impl<'a> Merged<'a> {
    fn new(lists: &[&'a [usize]], range: &Range<usize>, newest_first: bool) -> Self {
        let lists: Vec<_> = lists.iter().map(|list| cut(list, range)).collect();
        let mut merged = Self { next: BinaryHeap::with_capacity(lists.len()), lists, newest_first };
        (0..merged.lists.len()).for_each(|list| merged.refill(list));
        merged
    }

    fn refill(&mut self, number: usize) {
        let Some(list) = self.lists.get_mut(number) else { return };
        let split = if self.newest_first { list.split_last() } else { list.split_first() };
        if let Some((&index, rest)) = split {
            *list = rest;
            // A list of entries in memory is far shorter than i64::MAX.
            let key = index as i64;
            self.next.push((if self.newest_first { key } else { -key }, index, number));
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let (_, index, list) = self.next.pop()?;
        self.refill(list);
        while let Some(&(_, same, list)) = self.next.peek()
            && same == index
        {
            self.next.pop();
            self.refill(list);
        }
        Some(index)
    }
}

impl State {
    /// One page, exactly as [`crate::page::Slice::apply`] would cut the whole list.
    pub fn page(&self, query: &EntryPageQuery) -> Page<Entry> {
        let wallets: HashSet<_> = local(&query.wallets).collect();
        let lists: Vec<&[usize]> = wallets.into_iter().map(|wallet| self.indexes(wallet)).collect();
        let matches = |record: &&Record| query.kinds.is_empty() || query.kinds.contains(&record.kind());
        let walk = |range: Range<usize>, newest_first: bool| {
            let found = Merged::new(&lists, &range, newest_first).filter_map(|index| self.records.get(index));
            found.filter(matches)
        };
        let any = |range: Range<usize>| walk(range, true).next().is_some();

        // Newest first: what comes after a position lies below it.
        let whole = self.within(query.from, query.to);
        let slice = &query.slice;
        let end = slice.after.as_ref().map_or(whole.end, |after| {
            self.records.partition_point(|record| record.compare(after) == Ordering::Less).clamp(whole.start, whole.end)
        });
        let start = slice.before.as_ref().map_or(whole.start, |before| {
            self.records
                .partition_point(|record| record.compare(before) != Ordering::Greater)
                .clamp(whole.start, whole.end)
        });
        let limit = slice.limit as usize;
        let mut kept: Vec<&Record> = walk(start..end, !slice.backward).take(limit.saturating_add(1)).collect();
        let more = kept.len() > limit;
        kept.truncate(limit);
        if slice.backward {
            kept.reverse();
        }
        Page {
            items: kept.into_iter().filter_map(|record| self.entry(record)).collect(),
            has_previous: (more && slice.backward) || any(end..whole.end),
            has_next: (more && !slice.backward) || any(whole.start..start.min(end)),
            total: None,
        }
    }
}
