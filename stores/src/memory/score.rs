//! The arithmetic of a recall, pure and the same for every adapter. The formulas are told in [`super::context`].
//!
//! An adapter finds candidates and their signals; what order they come in is decided here and nowhere else.

use super::RecallMode;
use chrono::TimeDelta;
use std::cmp::Ordering;
use uuid::Uuid;

/// After this many days an event counts half as recent.
const HALF_LIFE_DAYS: f64 = 30.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// How one candidate answers a query, as far as it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals {
    /// Cosine of the query's vector and the memory's, from -1 to 1.
    pub semantic: Option<f64>,
    /// BM25 of the query's words; `None` and 0 both mean that no word occurs.
    pub keyword: Option<f64>,
}

/// The factor for importance and recency: `0.75 + 0.25 × importance + 0.25 × 0.5^(age / 30 days)`, from 0.75 to 1.25.
///
/// An event in the future counts as of now; an importance out of bounds counts as the bound.
pub fn weight(importance: f32, age: TimeDelta) -> f64 {
    let days = (age.num_seconds() as f64 / SECONDS_A_DAY).max(0.0);
    let importance = if importance.is_nan() { 0.0 } else { f64::from(importance.clamp(0.0, 1.0)) };
    0.75 + 0.25 * importance + 0.25 * 0.5_f64.powf(days / HALF_LIFE_DAYS)
}

/// The relevance of each candidate: the cosine (at least 0), the BM25, or their fusion.
pub fn relevance(mode: RecallMode, candidates: &[Signals], alpha: f32) -> Vec<f64> {
    match mode {
        RecallMode::Semantic => candidates.iter().map(|found| found.semantic.unwrap_or(0.0).max(0.0)).collect(),
        RecallMode::Keyword => candidates.iter().map(|found| found.keyword.unwrap_or(0.0)).collect(),
        RecallMode::Hybrid => fuse(candidates, alpha),
    }
}

/// Relative-score fusion: `alpha × semantic + (1 - alpha) × keyword`, each normalised to 0..1 over all candidates.
///
/// A candidate whose cosine is not known counts as the least similar one; one without the query's words has BM25 0. When
/// all values are equal they are 1 if positive, else 0.
pub fn fuse(candidates: &[Signals], alpha: f32) -> Vec<f64> {
    let alpha = f64::from(alpha.clamp(0.0, 1.0));
    let least = candidates.iter().filter_map(|found| found.semantic).fold(f64::INFINITY, f64::min);
    let semantic = normalised(candidates.iter().map(|found| found.semantic.unwrap_or(least)));
    let keyword = normalised(candidates.iter().map(|found| found.keyword.unwrap_or(0.0)));
    semantic.zip(keyword).map(|(semantic, keyword)| alpha * semantic + (1.0 - alpha) * keyword).collect()
}

fn normalised(values: impl Iterator<Item = f64> + Clone) -> impl Iterator<Item = f64> {
    let (min, max) = values
        .clone()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)));
    values.map(move |value| match max - min {
        _ if !value.is_finite() => 0.0,
        spread if spread > 0.0 => (value - min) / spread,
        _ if value > 0.0 => 1.0,
        _ => 0.0,
    })
}

/// The order of a recall: best first, ties by id.
pub fn best_first(a: (f64, Uuid), b: (f64, Uuid)) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(semantic: f64, keyword: f64) -> Signals {
        Signals { semantic: Some(semantic), keyword: Some(keyword) }
    }

    #[test]
    fn the_weight_follows_its_formula() {
        assert_eq!(weight(1.0, TimeDelta::zero()), 1.25);
        assert_eq!(weight(0.0, TimeDelta::zero()), 1.0);
        assert_eq!(weight(0.0, TimeDelta::days(30)), 0.875);
        assert_eq!(weight(0.5, TimeDelta::days(-400)), 1.125);
        assert!((weight(0.0, TimeDelta::days(36_500)) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn fusion_normalises_each_signal_over_the_candidates() {
        let fused = fuse(&[both(0.9, 0.0), both(0.5, 4.0), both(0.1, 2.0)], 0.5);
        assert_eq!(fused, [0.5, 0.75, 0.25]);
        assert_eq!(fuse(&[both(0.3, 0.0)], 0.25), [0.25]);
        assert_eq!(fuse(&[both(-0.3, 0.0)], 0.25), [0.0]);
        assert!(fuse(&[], 0.5).is_empty());
    }

    #[test]
    fn an_unknown_signal_counts_as_the_least() {
        let unknown = Signals { semantic: None, keyword: Some(2.0) };
        let without = Signals { semantic: Some(0.8), keyword: None };
        assert_eq!(fuse(&[unknown, without, both(0.4, 1.0)], 0.5), [0.5, 0.5, 0.25]);
        assert_eq!(fuse(&[unknown], 1.0), [0.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn weights_and_fusions_stay_in_their_bounds(
            importance in any::<f32>(), seconds in -4_000_000_000_i64..4_000_000_000,
            values in proptest::collection::vec((-1.0..1.0_f64, 0.0..30.0_f64), 0..20), alpha in 0.0..=1.0_f32,
        ) {
            let weight = weight(importance, TimeDelta::seconds(seconds));
            prop_assert!((0.75..=1.25).contains(&weight));
            let signals: Vec<Signals> = values.iter().map(|(s, k)| both(*s, *k)).collect();
            for value in fuse(&signals, alpha) {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value));
            }
        }
    }
}
