//! Topics on the rise: tags of posts and videos published in the window, each worth less the older it is.
//!
//! Every document of the window is read (columns only, no text), so the answer is exact.

use super::{
    facets::type_values,
    query::{all_of, conditions, for_each, unreadable},
    schema::{Fields, column},
};
use crate::{
    Result,
    search::{DocumentType, Trend, TrendingQuery},
};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use tantivy::{Searcher, columnar::Column};
use uuid::Uuid;

/// Answers a query as of `now`. What is published after `now` has not been published yet.
pub fn trending(
    searcher: &Searcher,
    fields: &Fields,
    organization: Uuid,
    now: DateTime<Utc>,
    query: &TrendingQuery,
) -> Result<Vec<Trend>> {
    let types = type_values(&[DocumentType::Post, DocumentType::Video]);
    let all = all_of(searcher, conditions(fields, organization, types)).map_err(unreadable)?;
    let window = Window::ending(now, query.window_seconds);
    let mut topics: HashMap<String, (f64, u64)> = HashMap::new();
    for segment in searcher.segment_readers() {
        let published: Option<Column<i64>> =
            segment.fast_fields().column_opt(column::PUBLISHED_AT).map_err(unreadable)?;
        let tags = segment.fast_fields().str(column::TAG).map_err(unreadable)?;
        let (Some(published), Some(tags)) = (published, tags) else { continue };
        let mut counts: HashMap<u64, (f64, u64)> = HashMap::new();
        for_each(&*all, segment, |doc| {
            if let Some(worth) = published.first(doc).and_then(|at| window.worth(at)) {
                for tag in tags.term_ords(doc) {
                    let (score, count) = counts.entry(tag).or_default();
                    *score += worth;
                    *count += 1;
                }
            }
            Ok(())
        })?;
        for (tag, (score, count)) in counts {
            let mut topic = String::new();
            tags.ord_to_str(tag, &mut topic).map_err(|error| unreadable(error.into()))?;
            let (total_score, total_count) = topics.entry(topic).or_default();
            *total_score += score;
            *total_count += count;
        }
    }
    let mut trends: Vec<Trend> =
        topics.into_iter().map(|(topic, (score, count))| Trend { topic, score, count }).collect();
    trends.sort_unstable_by(|a, b| {
        b.score.total_cmp(&a.score).then_with(|| b.count.cmp(&a.count)).then_with(|| a.topic.cmp(&b.topic))
    });
    trends.truncate(query.limit as usize);
    Ok(trends)
}

/// In microseconds.
struct Window {
    now: i64,
    length: i64,
}

impl Window {
    fn ending(now: DateTime<Utc>, seconds: u64) -> Self {
        let length = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Self { now: now.timestamp_micros(), length }
    }

    /// What one publication at `at` is worth; `None` outside the window.
    fn worth(&self, at: i64) -> Option<f64> {
        let age = self.now.saturating_sub(at);
        if !(0..=self.length).contains(&age) {
            return None;
        }
        // A window of no length holds only what is of this very moment.
        let half_life = (self.length as f64 / 4.0).max(1.0);
        Some((-(age as f64) / half_life).exp2())
    }
}
