//! The arithmetic against a naive model that repeats the definitions, word for word and slowly.

use super::*;
use chrono::TimeZone;
use proptest::prelude::*;

fn micros(value: i64) -> DateTime<Utc> {
    Utc.timestamp_micros(value).unwrap()
}

fn edges(starts: &[i64]) -> Vec<DateTime<Utc>> {
    starts.iter().copied().map(micros).collect()
}

/// The definition: at least `percent` of the values are not above it, and it is the least such value.
fn naive_percentile(values: &[f64], percent: usize) -> Option<f64> {
    let enough = |candidate: &f64| values.iter().filter(|v| *v <= candidate).count() * 100 >= percent * values.len();
    values.iter().copied().filter(enough).min_by(f64::total_cmp)
}

/// What a bucket's p50 is after filling, by the definitions alone.
fn naive_p50(known: &[Option<f64>], starts: &[i64], index: usize, fill: Fill) -> Option<f64> {
    let before = known[..index].iter().enumerate().rev().find_map(|(i, v)| v.map(|v| (i, v)));
    let after = known.iter().enumerate().skip(index + 1).find_map(|(i, v)| v.map(|v| (i, v)));
    match (known[index], fill) {
        (Some(value), _) => Some(value),
        (None, Fill::Previous) => before.map(|(_, value)| value),
        (None, Fill::Linear) => {
            let ((i, a), (j, b)) = before.zip(after)?;
            Some(a + (b - a) * (starts[index] - starts[i]) as f64 / (starts[j] - starts[i]) as f64)
        }
        (None, Fill::Null | Fill::None) => None,
    }
}

#[test]
fn buckets_are_aligned_to_the_epoch_on_both_sides_of_it() {
    for (at, start) in [(0, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20)] {
        assert_eq!(bucket_start(at, 10), start, "{at}");
    }
    assert_eq!(width_micros(Duration::from_millis(1500)), 1_500_000);
    assert_eq!(bucket_start(i64::MAX, width_micros(Duration::MAX)), 7 << 60);
}

#[test]
fn a_range_within_one_microsecond_holds_nothing() {
    let at = |nanos| Utc.timestamp_nanos(nanos);
    assert_eq!(range_micros(&TimeRange { from: at(1_001), to: at(1_999) }), (2, 2));
    assert_eq!(range_micros(&TimeRange { from: at(1_000), to: at(1_001) }), (1, 2));
}

#[test]
fn nothing_has_no_values() {
    assert_eq!(aggregate(vec![], 0), Aggregate::default());
    assert_eq!(percentile(&[], 50), None);
}

#[test]
fn the_nearest_rank_is_that_of_the_textbook() {
    let values = [15.0, 20.0, 35.0, 40.0, 50.0];
    let picked = [5, 30, 40, 50, 100].map(|percent| percentile(&values, percent).unwrap());
    assert_eq!(picked, [15.0, 20.0, 20.0, 35.0, 50.0]);
}

#[test]
fn sums_do_not_lose_small_values_nor_overflow() {
    let many = std::iter::once(1e16).chain(std::iter::repeat_n(1.0, 1000)).collect();
    assert_eq!(aggregate(many, 0).sum, Some(1e16 + 1000.0));
    let huge = aggregate(vec![f64::MAX, f64::MAX], 0);
    assert_eq!((huge.sum, huge.avg), (Some(f64::MAX), Some(f64::MAX)));
}

#[test]
fn the_cost_saturates() {
    assert_eq!(summarise(&[], vec![], i128::from(i64::MAX) + 1).cost_micros, i64::MAX);
}

#[test]
fn samples_of_one_bucket_are_one_bucket() {
    let samples = |at, failed, values: &[f64]| Samples { at, failed, values: values.to_vec() };
    let given = vec![samples(29, 1, &[4.0]), samples(10, 0, &[1.0, 2.0]), samples(19, 2, &[3.0])];
    let summary = summarise(&edges(&[0, 10, 20, 30]), given.clone(), 0);
    let found: Vec<_> = summary.buckets.iter().map(|b| (b.start, b.aggregate.count, b.aggregate.failed)).collect();
    assert_eq!(found, [(micros(10), 3, 2), (micros(20), 1, 1)]);
    assert_eq!((summary.total.count, summary.total.failed, summary.total.p50), (4, 3, Some(2.0)));
    let total = summarise(&[], given, 0);
    assert_eq!((total.buckets, total.total), (vec![], summary.total));
}

#[test]
fn a_ranking_is_greatest_first_and_ties_are_by_key() {
    let persona = |number| RankKey::Persona(uuid::Uuid::from_u128(number));
    let entries = [(3, vec![5.0], 1), (1, vec![1.0, 1.0], 0), (2, vec![2.0, 3.0], 0), (4, vec![5.0], 2)];
    let entries: Vec<_> = entries.map(|(key, values, failed)| (persona(key), aggregate(values, failed))).to_vec();
    let orders = [
        (RankOrder::Count, [1, 2, 3, 4]),
        (RankOrder::Failed, [4, 3, 1, 2]),
        (RankOrder::Sum, [2, 3, 4, 1]),
        (RankOrder::Avg, [3, 4, 2, 1]),
        (RankOrder::Max, [3, 4, 2, 1]),
        (RankOrder::P95, [3, 4, 2, 1]),
    ];
    for (order, keys) in orders {
        let found: Vec<_> = rank(order, 9, entries.clone()).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, keys.map(persona), "{order:?}");
        assert_eq!(rank(order, 2, entries.clone()).len(), 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn aggregates_equal_the_naive_model(values in prop::collection::vec(0_u32..1000, 1..200), failed in 0_u64..9) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let found = aggregate(values.clone(), failed);
        let sum: f64 = values.iter().sum();
        prop_assert_eq!(found.count as usize, values.len());
        prop_assert_eq!(found.failed, failed);
        prop_assert_eq!(found.sum, Some(sum));
        prop_assert_eq!(found.avg, Some(sum / values.len() as f64));
        prop_assert_eq!(found.min, values.iter().copied().min_by(f64::total_cmp));
        prop_assert_eq!(found.max, values.iter().copied().max_by(f64::total_cmp));
        for (percent, value) in [(50, found.p50), (95, found.p95), (99, found.p99)] {
            prop_assert_eq!(value, naive_percentile(&values, percent));
        }
    }

    #[test]
    fn a_bucket_holds_its_time(at in any::<i64>(), width in 1_i64..1_000_000_000_000) {
        prop_assume!(at > i64::MIN / 2);
        let start = bucket_start(at, width);
        prop_assert!(start <= at && at - start < width && start % width == 0);
    }

    #[test]
    fn a_time_lies_in_its_bucket(mut starts in prop::collection::vec(-1000_i64..1000, 1..20), at in -1100_i64..1100) {
        starts.sort_unstable();
        starts.dedup();
        let naive = starts.iter().rposition(|start| *start <= at);
        prop_assert_eq!(bucket_of(&edges(&starts), at), naive);
    }

    #[test]
    fn gaps_are_filled_as_defined(
        known in prop::collection::vec((prop::option::of(0_u32..100), 1_i64..50), 1..40),
        from in -1000_i64..1000,
        fill_as in prop::sample::select(vec![Fill::None, Fill::Null, Fill::Previous, Fill::Linear]),
    ) {
        let (known, widths): (Vec<_>, Vec<_>) = known.into_iter().unzip();
        let known: Vec<Option<f64>> = known.into_iter().map(|value| value.map(f64::from)).collect();
        // Buckets of any width, each beginning where the last one ends.
        let starts: Vec<i64> = widths.iter().scan(from, |next, width| { *next += width; Some(*next - width) }).collect();
        let present: Vec<Bucket> = known.iter().zip(&starts).filter_map(|(value, start)| {
            let aggregate = aggregate(vec![(*value)?], 1);
            Some(Bucket { start: micros(*start), aggregate, filled: false })
        }).collect();
        let filled = fill(&edges(&starts), fill_as, present.clone());
        if fill_as == Fill::None {
            prop_assert_eq!(filled, present);
        } else {
            prop_assert_eq!(filled.len(), known.len());
            for (index, bucket) in filled.iter().enumerate() {
                prop_assert_eq!(bucket.start, micros(starts[index]));
                let was = known[index];
                prop_assert_eq!(bucket.aggregate.count, u64::from(was.is_some()));
                prop_assert_eq!(bucket.aggregate.failed, u64::from(was.is_some()));
                match (bucket.aggregate.p50, naive_p50(&known, &starts, index, fill_as)) {
                    (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-9),
                    (found, expected) => prop_assert_eq!(found, expected),
                }
                prop_assert_eq!(bucket.filled, was.is_none() && bucket.aggregate.p50.is_some());
            }
        }
    }
}
