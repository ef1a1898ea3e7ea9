//! A keyword index of one persona's memories: BM25 with k1 = 1.2 and b = 0.75, kept up to date by each change.
//!
//! Documents are known by their slot. The statistics (how many documents, how long, how many have a word) are those of
//! the whole persona, whatever a filter leaves of it, so that a filter never changes a memory's BM25.

use super::super::words::words;
use std::collections::HashMap;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The words of one text, counted: made before a lock is taken.
#[derive(Debug)]
pub struct Terms {
    counts: HashMap<String, u32>,
    length: u32,
}

impl Terms {
    /// Counts the words of `text`.
    pub fn of(text: &str) -> Self {
        let (mut counts, mut length) = (HashMap::new(), 0);
        for word in words(text) {
            *counts.entry(word).or_insert(0) += 1;
            length += 1;
        }
        Self { counts, length }
    }
}

#[derive(Clone, Copy, Debug)]
struct Posting {
    slot: u32,
    count: u32,
}

/// The index.
#[derive(Debug, Default)]
pub struct Keywords {
    /// By word, ordered by slot.
    postings: HashMap<String, Vec<Posting>>,
    /// By slot; 0 for a slot that is not in use.
    lengths: Vec<u32>,
    documents: usize,
    total_length: u64,
}

impl Keywords {
    /// Adds the document of a slot that is not in use.
    pub fn add(&mut self, slot: u32, terms: Terms) {
        let place = slot as usize;
        if self.lengths.len() <= place {
            self.lengths.resize(place + 1, 0);
        }
        if let Some(length) = self.lengths.get_mut(place) {
            *length = terms.length;
        }
        self.documents += 1;
        self.total_length += u64::from(terms.length);
        for (word, count) in terms.counts {
            let list = self.postings.entry(word).or_default();
            let at = list.partition_point(|posting| posting.slot < slot);
            list.insert(at, Posting { slot, count });
        }
    }

    /// Takes a document away; `terms` are those it was added with.
    pub fn remove(&mut self, slot: u32, terms: &Terms) {
        if let Some(length) = self.lengths.get_mut(slot as usize) {
            *length = 0;
        }
        self.documents = self.documents.saturating_sub(1);
        self.total_length = self.total_length.saturating_sub(u64::from(terms.length));
        for word in terms.counts.keys() {
            let Some(list) = self.postings.get_mut(word) else { continue };
            if let Ok(at) = list.binary_search_by_key(&slot, |posting| posting.slot) {
                list.remove(at);
            }
            if list.is_empty() {
                self.postings.remove(word);
            }
        }
    }

    /// BM25 of every slot, 0 where no word of the query occurs.
    pub fn scores(&self, query: &str) -> Vec<f64> {
        let mut scores = vec![0.0; self.lengths.len()];
        let documents = self.documents as f64;
        let mean = (self.total_length as f64 / documents.max(1.0)).max(f64::MIN_POSITIVE);
        let mut asked = words(query);
        // A fixed order of additions, so that equal documents get equal scores to the last bit.
        asked.sort_unstable();
        asked.dedup();
        for list in asked.iter().filter_map(|word| self.postings.get(word)) {
            let having = list.len() as f64;
            let rarity = (1.0 + (documents - having + 0.5) / (having + 0.5)).ln();
            for posting in list {
                let place = posting.slot as usize;
                let length = f64::from(self.lengths.get(place).copied().unwrap_or_default());
                let count = f64::from(posting.count);
                if let Some(score) = scores.get_mut(place) {
                    *score += rarity * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean));
                }
            }
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// BM25 as in the book, over texts of single-letter words.
    fn naive(texts: &[Option<String>], query: &str) -> Vec<f64> {
        let documents: Vec<Vec<&str>> = texts.iter().flatten().map(|text| text.split(' ').collect()).collect();
        let total: usize = documents.iter().map(Vec::len).sum();
        let mean = total as f64 / documents.len() as f64;
        let mut asked: Vec<&str> = query.split(' ').collect();
        asked.sort_unstable();
        asked.dedup();
        let score = |text: &String| {
            let words: Vec<&str> = text.split(' ').collect();
            let term = |word: &&str| {
                let count = words.iter().filter(|other| *other == word).count() as f64;
                let having = documents.iter().filter(|document| document.contains(word)).count() as f64;
                let rarity = (1.0 + (documents.len() as f64 - having + 0.5) / (having + 0.5)).ln();
                rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * words.len() as f64 / mean))
            };
            asked.iter().map(term).sum::<f64>()
        };
        texts.iter().map(|text| text.as_ref().map_or(0.0, score)).collect()
    }

    #[test]
    fn a_known_value() {
        let mut keywords = Keywords::default();
        keywords.add(0, Terms::of("blue sky"));
        keywords.add(1, Terms::of("blue blue sea again"));
        let scores = keywords.scores("SEA");
        assert_eq!(scores[0], 0.0);
        // ln(1 + 1.5 / 1.5) × 2.2 / (1 + 1.2 × (0.25 + 0.75 × 4 / 3))
        assert!((scores[1] - 2_f64.ln() * 2.2 / 2.5).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn scores_are_those_of_the_book_after_any_changes(
            changes in proptest::collection::vec((0..8_usize, proptest::option::of("[a-f]( [a-f]){0,6}")), 1..40),
            query in "[a-h]( [a-h]){0,4}",
        ) {
            let mut keywords = Keywords::default();
            let mut texts: Vec<Option<String>> = vec![None; 8];
            for (slot, text) in changes {
                if let Some(old) = texts[slot].take() {
                    keywords.remove(slot as u32, &Terms::of(&old));
                }
                if let Some(text) = &text {
                    keywords.add(slot as u32, Terms::of(text));
                }
                texts[slot] = text;
            }
            let mut scores = keywords.scores(&query);
            scores.resize(8, 0.0);
            for (found, expected) in scores.iter().zip(naive(&texts, &query)) {
                prop_assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
            }
        }
    }
}
