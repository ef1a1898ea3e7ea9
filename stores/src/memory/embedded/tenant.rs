//! One persona as its readers see it: definition, memories with their indexes, interactions. Nothing here is durable or
//! versioned, and nothing here waits; [`super::writer`] decides what gets in.
//!
//! Memories live in slots. A slot's vector is a row of one contiguous matrix; a freed slot is used again, so that no
//! change ever moves another memory.

use super::{
    keywords::{Keywords, Terms},
    timeline::{Timeline, moment},
};
use crate::{
    memory::{
        Definition, Interaction, InteractionPageQuery, MemoryPageQuery, MemoryRecord, RecallMode, RecallQuery,
        Recalled,
        score::{Signals, best_first, relevance, weight},
    },
    page::Page,
};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use uuid::Uuid;

/// A persona's data.
#[derive(Debug, Default)]
pub struct Tenant {
    /// Who it is.
    pub definition: Option<Definition>,
    /// What it remembers.
    pub memories: Memories,
    interactions: HashMap<Uuid, DateTime<Utc>>,
    timeline: Timeline<Interaction>,
}

impl Tenant {
    /// How many rows a page or a recall may have to look at.
    pub fn rows(&self) -> usize {
        self.memories.timeline.len().max(self.timeline.len())
    }

    /// Adds or replaces an interaction.
    pub fn put_interaction(&mut self, interaction: Interaction) {
        let (id, at) = (interaction.id, interaction.occurred_at);
        if let Some(old) = self.interactions.insert(id, at) {
            self.timeline.remove(moment(old, id));
        }
        self.timeline.insert(moment(at, id), interaction);
    }

    /// A page of interactions.
    pub fn interaction_page(&self, query: &InteractionPageQuery) -> Page<Interaction> {
        let wanted = query.counterparty.as_deref();
        let keep = |interaction: &Interaction| wanted.is_none_or(|wanted| interaction.counterparty == wanted);
        self.timeline.page(&query.slice, keep).map(Interaction::clone)
    }
}

#[derive(Debug)]
struct Row {
    memory: MemoryRecord,
    slot: u32,
}

/// The memories of one persona.
#[derive(Debug, Default)]
pub struct Memories {
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    slots: HashMap<Uuid, u32>,
    matrix: Vec<f32>,
    keywords: Keywords,
    timeline: Timeline<u32>,
}

impl Memories {
    /// A memory by its id.
    pub fn get(&self, id: Uuid) -> Option<&MemoryRecord> {
        Some(&self.row(*self.slots.get(&id)?)?.memory)
    }

    /// The vector of a memory, if its text is `text`.
    pub fn vector_of(&self, id: Uuid, text: &str, dimensions: usize) -> Option<&[f32]> {
        let row = self.row(*self.slots.get(&id)?)?;
        (row.memory.text == text).then(|| self.vector(row.slot, dimensions))
    }

    /// Adds or replaces a memory; `terms` are those of its text.
    pub fn put(&mut self, memory: MemoryRecord, vector: &[f32], terms: Terms) {
        self.remove(memory.id);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.rows.push(None);
            self.matrix.resize(self.rows.len() * vector.len(), 0.0);
            self.rows.len() as u32 - 1
        });
        let start = slot as usize * vector.len();
        if let Some(place) = self.matrix.get_mut(start..start + vector.len()) {
            place.copy_from_slice(vector);
        }
        self.keywords.add(slot, terms);
        self.timeline.insert(moment(memory.occurred_at, memory.id), slot);
        self.slots.insert(memory.id, slot);
        if let Some(place) = self.rows.get_mut(slot as usize) {
            *place = Some(Row { memory, slot });
        }
    }

    /// Takes a memory away.
    pub fn remove(&mut self, id: Uuid) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let Some(row) = self.rows.get_mut(slot as usize).and_then(Option::take) else { return };
        self.keywords.remove(slot, &Terms::of(&row.memory.text));
        self.timeline.remove(moment(row.memory.occurred_at, id));
        self.free.push(slot);
    }

    /// A page of memories.
    pub fn page(&self, query: &MemoryPageQuery) -> Page<MemoryRecord> {
        let keep = |slot: &u32| self.row(*slot).is_some_and(|row| query.filter.matches(&row.memory));
        let page = self.timeline.page(&query.slice, keep);
        let items = page.items.iter().filter_map(|slot| Some(self.row(**slot)?.memory.clone())).collect();
        let all = || if query.filter.is_empty() { self.timeline.len() } else { self.timeline.count(keep) };
        Page {
            items,
            has_previous: page.has_previous,
            has_next: page.has_next,
            total: query.total.then(|| all() as u64),
        }
    }

    /// The best memories for a query. `vector` is the query's, for the modes that look at meaning.
    pub fn recall(&self, query: &RecallQuery, vector: Option<&[f32]>, now: DateTime<Utc>) -> Vec<Recalled> {
        let keywords = (query.mode != RecallMode::Semantic).then(|| self.keywords.scores(&query.query));
        let measure = |row: &Row| Signals {
            semantic: vector.map(|vector| cosine(vector, self.vector(row.slot, vector.len()))),
            keyword: keywords.as_ref().map(|scores| scores.get(row.slot as usize).copied().unwrap_or_default()),
        };
        let candidates: Vec<(&Row, Signals)> = self
            .rows
            .iter()
            .flatten()
            .filter(|row| query.filter.matches(&row.memory))
            .map(|row| (row, measure(row)))
            .filter(|(_, found)| query.mode != RecallMode::Keyword || found.keyword.is_some_and(|score| score > 0.0))
            .collect();
        let signals: Vec<Signals> = candidates.iter().map(|(_, found)| *found).collect();
        let mut scored: Vec<(f64, f64, &Row, Signals)> = relevance(query.mode, &signals, query.alpha)
            .into_iter()
            .zip(candidates)
            .map(|(relevance, (row, found))| {
                let weight = weight(row.memory.importance, now - row.memory.occurred_at);
                (relevance * weight, weight, row, found)
            })
            .collect();
        let order = |a: &(f64, f64, &Row, Signals), b: &(f64, f64, &Row, Signals)| {
            best_first((a.0, a.2.memory.id), (b.0, b.2.memory.id))
        };
        let limit = query.limit as usize;
        if scored.len() > limit {
            // Finds the best without sorting the rest.
            scored.select_nth_unstable_by(limit, order);
            scored.truncate(limit);
        }
        scored.sort_unstable_by(order);
        let recalled = |(score, weight, row, found): (f64, f64, &Row, Signals)| Recalled {
            memory: row.memory.clone(),
            score,
            semantic: found.semantic,
            keyword: found.keyword,
            weight,
        };
        scored.into_iter().map(recalled).collect()
    }

    fn row(&self, slot: u32) -> Option<&Row> {
        self.rows.get(slot as usize)?.as_ref()
    }

    fn vector(&self, slot: u32, dimensions: usize) -> &[f32] {
        let start = slot as usize * dimensions;
        self.matrix.get(start..start + dimensions).unwrap_or_default()
    }
}

/// The cosine of two vectors of length 1. Eight sums at a time, because one would wait for each addition.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    f64::from(sums.iter().sum::<f32>() + rest).clamp(-1.0, 1.0)
}
