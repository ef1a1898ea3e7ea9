//! The arithmetic against a naive model that repeats the definitions, word for word and slowly.

use super::*;
use chrono::TimeZone;
use proptest::prelude::*;

fn micros(value: i64) -> DateTime<Utc> {
    Utc.timestamp_micros(value).unwrap()
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange { from: micros(from), to: micros(to) }
}

/// The definition: at least `percent` of the values are not above it, and it is the least such value.
fn naive_percentile(values: &[f64], percent: usize) -> Option<f64> {
    let enough = |candidate: &f64| values.iter().filter(|v| *v <= candidate).count() * 100 >= percent * values.len();
    values.iter().copied().filter(enough).min_by(f64::total_cmp)
}

/// What a bucket's p50 is after filling, by the definitions alone.
fn naive_p50(known: &[Option<f64>], index: usize, fill: Fill) -> Option<f64> {
    let before = known[..index].iter().enumerate().rev().find_map(|(i, v)| v.map(|v| (i, v)));
    let after = known.iter().enumerate().skip(index + 1).find_map(|(i, v)| v.map(|v| (i, v)));
    match (known[index], fill) {
        (Some(value), _) => Some(value),
        (None, Fill::Previous) => before.map(|(_, value)| value),
        (None, Fill::Linear) => {
            let ((i, a), (j, b)) = before.zip(after)?;
            Some(a + (b - a) * (index - i) as f64 / (j - i) as f64)
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
    assert_eq!(fill(&TimeRange { from: at(1_001), to: at(1_999) }, 10, Fill::Null, vec![]), []);
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
    assert_eq!(summarise(vec![], i128::from(i64::MAX) + 1).cost_micros, i64::MAX);
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
    fn gaps_are_filled_as_defined(
        known in prop::collection::vec(prop::option::of(0_u32..100), 1..40),
        from in -1000_i64..1000,
        width in 1_i64..50,
        (first, last) in (0_i64..50, 0_i64..50),
        fill_as in prop::sample::select(vec![Fill::None, Fill::Null, Fill::Previous, Fill::Linear]),
    ) {
        let known: Vec<Option<f64>> = known.into_iter().map(|value| value.map(f64::from)).collect();
        let begin = from.div_euclid(width) * width;
        let start_of = |index: usize| begin + index as i64 * width;
        let present: Vec<Bucket> = known.iter().enumerate().filter_map(|(index, value)| {
            let aggregate = aggregate(vec![(*value)?], 1);
            Some(Bucket { start: micros(start_of(index)), aggregate, filled: false })
        }).collect();
        // The range may begin and end anywhere within the first and the last bucket.
        let from = begin + first % width;
        let to = (start_of(known.len() - 1) + last % width + 1).max(from + 1);
        let filled = fill(&range(from, to), width, fill_as, present.clone());
        if fill_as == Fill::None {
            prop_assert_eq!(filled, present);
        } else {
            prop_assert_eq!(filled.len(), known.len());
            for (index, bucket) in filled.iter().enumerate() {
                prop_assert_eq!(bucket.start, micros(start_of(index)));
                let was = known[index];
                prop_assert_eq!(bucket.aggregate.count, u64::from(was.is_some()));
                prop_assert_eq!(bucket.aggregate.failed, u64::from(was.is_some()));
                match (bucket.aggregate.p50, naive_p50(&known, index, fill_as)) {
                    (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-9),
                    (found, expected) => prop_assert_eq!(found, expected),
                }
                prop_assert_eq!(bucket.filled, was.is_none() && bucket.aggregate.p50.is_some());
            }
        }
    }
}
