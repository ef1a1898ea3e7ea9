//! Context for a language model: what a persona remembers about a question, within a budget of tokens, with citations.
//!
//! Works on the handle, hence on any adapter. It asks for nothing but one recall batch, and it changes no memory. It is
//! also the home of the formulas of a recall, which [`super::score`] computes for every adapter alike.
//!
//! # Scores
//!
//! `score = relevance × weight`, the list is ordered by it, descending, ties by id.
//!
//! - SEMANTIC: relevance is the cosine of the query's vector and the memory's, at least 0.
//! - KEYWORD: relevance is BM25 (k1 = 1.2, b = 0.75, each distinct word of the query once, statistics over all memories
//!   of the persona). Memories without any of the words are not in the list.
//! - HYBRID: both are normalised to 0..1 over the memories that pass the filter (`(x - min) / (max - min)`; 1 for all
//!   when they are equal and positive), then `relevance = alpha × semantic + (1 - alpha) × keyword`.
//! - `weight = 0.75 + 0.25 × importance + 0.25 × 0.5^(age / 30 days)`: from 0.75 (trivial, long ago) to 1.25 (defining,
//!   now). So it can decide between memories of similar relevance, and never lift one over another that is 5/3 as
//!   relevant.
//!
//! The filter is applied before anything is scored.
//!
//! # A context
//!
//! The best memories are taken in the order of their score. One is left out when its words are nearly those of one
//! already taken (Jaccard index of the two sets of words at least 0.85), or when it does not fit into what is left of
//! the budget; a shorter one after it may still fit. No memory is cut. What was taken is listed from the oldest to the
//! newest, one line each: `[1] 2026-01-31: text`, with every run of white space in the text as one space, so that no
//! memory can look like another citation. Each line's mark is the citation's `marker`.

use super::{Memory, MemoryFilter, MemoryRecord, RecallMode, RecallQuery, Recalled, words::words};
use crate::{
    Result, Scope,
    error::{ErrorKind, Store, StoreError},
};
use std::collections::HashSet;
use uuid::Uuid;

/// How many memories a context is chosen from.
const CANDIDATES: u32 = 50;
/// The weight of meaning when a context is asked for in HYBRID: a question seldom has the very words of its answer.
pub const CONTEXT_ALPHA: f32 = 0.6;
/// From this share of common words on, two memories say the same.
const SAME: f64 = 0.85;

/// A wish for context on one persona.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextQuery {
    /// The persona.
    pub persona_id: Uuid,
    /// What the context is for: 1 to 4,096 bytes.
    pub query: String,
    /// The context's text has at most this many tokens, at least 1; see [`estimate_tokens`].
    pub max_tokens: u32,
    /// How memories are looked for.
    pub mode: RecallMode,
    /// Among which.
    pub filter: MemoryFilter,
}

/// What a persona remembers about a query, ready for a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Context {
    /// One line for each citation, oldest first; empty when nothing was found or nothing fits.
    pub text: String,
    /// [`estimate_tokens`] of the text.
    pub tokens: u32,
    /// The memories in the text, in its order.
    pub citations: Vec<Citation>,
    /// How many of the recalled memories (50 at the most) are not in the text: repeats, or too long for the budget.
    pub omitted: u32,
}

/// A memory that a context quotes.
#[derive(Clone, Debug, PartialEq)]
pub struct Citation {
    /// `1` for the line that starts with `[1]`.
    pub marker: u32,
    /// The memory, in full.
    pub memory: MemoryRecord,
    /// Its score in the recall.
    pub score: f64,
}

/// An estimate of the tokens of a text, on the safe side for English prose in common tokenisers: the greater of four
/// thirds of its words (by white space) and a quarter of its characters, rounded up.
pub fn estimate_tokens(text: &str) -> u32 {
    Size::of(text).tokens()
}

impl Memory {
    /// One context per query, by one recall batch; a bad query fails alone.
    ///
    /// # Errors
    /// As [`Memory::recall`].
    pub async fn contexts(&self, scope: &Scope, queries: &[ContextQuery]) -> Result<Vec<Result<Context>>> {
        let recalls: Vec<RecallQuery> = queries.iter().filter(|query| query.max_tokens > 0).map(recall_of).collect();
        let recalled = if recalls.is_empty() { Vec::new() } else { self.recall(scope, &recalls).await? };
        let budgets: Vec<u32> = queries.iter().map(|query| query.max_tokens).collect();
        // Fifty memories of 16 KiB are some milliseconds of comparing words.
        tokio::task::spawn_blocking(move || pack_all(&budgets, recalled)).await.map_err(|error| {
            StoreError::with_source(Store::Memory, ErrorKind::Internal, "the context could not be put together", error)
        })
    }
}

fn recall_of(query: &ContextQuery) -> RecallQuery {
    RecallQuery {
        persona_id: query.persona_id,
        query: query.query.clone(),
        mode: query.mode,
        filter: query.filter.clone(),
        limit: CANDIDATES,
        alpha: CONTEXT_ALPHA,
    }
}

fn pack_all(budgets: &[u32], recalled: Vec<Result<Vec<Recalled>>>) -> Vec<Result<Context>> {
    let mut recalled = recalled.into_iter();
    let mut pack_next = |budget: &u32| match budget {
        0 => Err(StoreError::invalid(Store::Memory, "a context has at least one token")),
        &budget => recalled.next().unwrap_or_else(|| Ok(Vec::new())).map(|found| pack(budget, found)),
    };
    budgets.iter().map(&mut pack_next).collect()
}

fn pack(budget: u32, recalled: Vec<Recalled>) -> Context {
    let found = recalled.len();
    let mut size = Size::default();
    let mut taken: Vec<(Recalled, String)> = Vec::new();
    let mut said: Vec<HashSet<String>> = Vec::new();
    for candidate in recalled {
        let line = line(&candidate.memory);
        let with_it = size.plus(Size::of_line(taken.len() + 1, &line));
        if with_it.tokens() > budget {
            continue;
        }
        let words: HashSet<String> = words(&candidate.memory.text).into_iter().collect();
        if said.iter().any(|other| same(other, &words)) {
            continue;
        }
        size = with_it;
        said.push(words);
        taken.push((candidate, line));
    }
    taken.sort_by_key(|(found, _)| (found.memory.occurred_at, found.memory.id));
    let omitted = found - taken.len();
    let mut text = String::new();
    let mut citations = Vec::with_capacity(taken.len());
    for (marker, (found, line)) in (1..).zip(taken) {
        if marker > 1 {
            text.push('\n');
        }
        text.push_str(&format!("[{marker}] {line}"));
        citations.push(Citation { marker, memory: found.memory, score: found.score });
    }
    Context { tokens: estimate_tokens(&text), text, citations, omitted: u32::try_from(omitted).unwrap_or(u32::MAX) }
}

fn line(memory: &MemoryRecord) -> String {
    let text: Vec<&str> = memory.text.split_whitespace().collect();
    format!("{}: {}", memory.occurred_at.format("%Y-%m-%d"), text.join(" "))
}

/// Two memories without any word (an emoji each) are never the same.
fn same(a: &HashSet<String>, b: &HashSet<String>) -> bool {
    let common = a.intersection(b).count() as f64;
    let all = (a.len() + b.len()) as f64 - common;
    all > 0.0 && common / all >= SAME
}

/// What an estimate is made of; it adds up over lines, so that a context is measured once.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    words: usize,
    chars: usize,
}

impl Size {
    fn of(text: &str) -> Self {
        Self { words: text.split_whitespace().count(), chars: text.chars().count() }
    }

    /// With its mark and the line break before it. Which mark a line gets is not known yet, but all of them together
    /// are as long as those of the numbers up to the count.
    fn of_line(number: usize, line: &str) -> Self {
        let mark = Self { words: 1, chars: number.to_string().len() + "[] ".len() + usize::from(number > 1) };
        Self::of(line).plus(mark)
    }

    fn plus(self, other: Self) -> Self {
        Self { words: self.words + other.words, chars: self.chars + other.chars }
    }

    fn tokens(self) -> u32 {
        let tokens = (self.words * 4).div_ceil(3).max(self.chars.div_ceil(4));
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryKind;
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    fn recalled(number: u8, day: i64, text: &str) -> Recalled {
        let occurred_at = DateTime::UNIX_EPOCH + TimeDelta::days(day);
        let memory = MemoryRecord {
            id: Uuid::from_u128(u128::from(number)),
            persona_id: Uuid::nil(),
            version: 1,
            kind: MemoryKind::Episodic,
            text: text.to_owned(),
            importance: 0.5,
            source: None,
            tags: Vec::new(),
            occurred_at,
            created_at: occurred_at,
        };
        Recalled { memory, score: 1.0 / f64::from(number), semantic: None, keyword: None, weight: 1.0 }
    }

    #[test]
    fn lines_are_chronological_and_cannot_be_forged() {
        let context = pack(1000, vec![recalled(1, 2, "late\n[1] 1970-01-01: forged"), recalled(2, 1, "early")]);
        assert_eq!(context.text, "[1] 1970-01-02: early\n[2] 1970-01-03: late [1] 1970-01-01: forged");
        assert_eq!(context.citations.iter().map(|cited| cited.marker).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(context.citations[1].memory.text, "late\n[1] 1970-01-01: forged");
        assert_eq!(context.omitted, 0);
    }

    #[test]
    fn repeats_are_left_out_and_emoji_are_not_repeats() {
        let long = "a b c d e f g h i j k l m n o p q r s";
        let near = format!("{long} t");
        let far = "a b c d e f g h i j k l m n z y x w v";
        let context = pack(1000, vec![recalled(1, 1, long), recalled(2, 2, &near), recalled(3, 3, far)]);
        assert_eq!(context.citations.iter().map(|cited| cited.memory.text.as_str()).collect::<Vec<_>>(), [long, far]);
        assert_eq!(context.omitted, 1);
        assert_eq!(pack(1000, vec![recalled(1, 1, "❤️"), recalled(2, 2, "🎉")]).citations.len(), 2);
    }

    #[test]
    fn a_shorter_memory_fits_where_a_long_one_does_not() {
        let long = "word ".repeat(400);
        let context = pack(12, vec![recalled(1, 1, &long), recalled(2, 2, "brief and good")]);
        assert_eq!(context.citations.len(), 1);
        assert_eq!(context.citations[0].memory.text, "brief and good");
        assert_eq!(context.omitted, 1);
        let nothing = pack(1, vec![recalled(1, 1, "x")]);
        assert_eq!((nothing.text.as_str(), nothing.tokens, nothing.omitted), ("", 0, 1));
    }

    #[test]
    fn the_estimate_is_the_greater_of_words_and_characters() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("a b c"), 4);
        assert_eq!(estimate_tokens("incomprehensibilities"), 6);
        assert_eq!(estimate_tokens("東京東京"), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_context_keeps_its_budget_and_loses_nothing_uncounted(
            texts in proptest::collection::vec("[a-d \n東]{1,80}", 0..30), budget in 1..400_u32,
        ) {
            let found: Vec<Recalled> =
                (1..).zip(&texts).map(|(number, text)| recalled(number, i64::from(number % 7), text)).collect();
            let context = pack(budget, found);
            prop_assert!(context.tokens <= budget);
            prop_assert_eq!(context.tokens, estimate_tokens(&context.text));
            prop_assert_eq!(context.citations.len() + context.omitted as usize, texts.len());
            let times: Vec<_> = context.citations.iter().map(|cited| cited.memory.occurred_at).collect();
            prop_assert!(times.is_sorted());
        }
    }
}
