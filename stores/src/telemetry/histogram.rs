//! A mergeable histogram for adapters that roll up: percentiles within 1 % whatever was merged in whatever order.
//!
//! This is DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees", PVLDB 12(12), 2019) without its bound on the number of buckets, so that the guarantee holds for every
//! percentile. With `gamma = (1 + ALPHA) / (1 - ALPHA)` a value `x` falls into bucket `i = ceil(log_gamma(x))`, which
//! holds `gamma^(i-1) < x <= gamma^i`; all of it is answered as `2 * gamma^i / (gamma + 1)`, which is never more than
//! `ALPHA` off. Zero, and what is less than the least normal float, is counted apart and answered as zero.
//!
//! An adapter may compute the index in SQL, with [`LN_GAMMA`] as a parameter `$g` (double precision):
//!
//! ```sql
//! CASE WHEN x < 2.2250738585072014e-308 THEN NULL ELSE ceil(ln(x) / $g)::integer END
//! ```
//!
//! The index of a float lies between -35,418 and 35,488: more than a `smallint` holds. Where `x` is a `bigint`, cast
//! it to `double precision` first: a `numeric` logarithm is slow. A logarithm that is off by its last bit moves a value
//! that lies on a boundary to the neighbour, which adds some 1e-12 to the error and nothing else.

use std::collections::BTreeMap;

/// The relative error bound of every percentile.
pub const ALPHA: f64 = 0.01;
/// The natural logarithm of `(1 + ALPHA) / (1 - ALPHA)`: the width of a bucket on the logarithmic scale.
pub const LN_GAMMA: f64 = 0.020_000_666_706_669_524;

/// The bucket of a value; `None` for what is counted as zero.
pub fn index(value: f64) -> Option<i32> {
    // A float's index has five digits: the cast cuts nothing off.
    (value >= f64::MIN_POSITIVE).then(|| (value.min(f64::MAX).ln() / LN_GAMMA).ceil() as i32)
}

/// What every value of a bucket is answered as.
pub fn estimate(index: i32) -> f64 {
    // 2 * gamma^i / (gamma + 1) = (1 - ALPHA) * gamma^i.
    let log = f64::from(index) * LN_GAMMA + (1.0 - ALPHA).ln();
    log.exp().min(f64::MAX)
}

/// How many values fell into which bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    zeros: u64,
    buckets: BTreeMap<i32, u64>,
}

impl Histogram {
    /// Adds one value that is not negative.
    pub fn add(&mut self, value: f64) {
        self.add_counted(index(value), 1);
    }

    /// Adds `count` values of one bucket, `None` being that of zeros: a row of a roll-up.
    pub fn add_counted(&mut self, index: Option<i32>, count: u64) {
        if count == 0 {
            return;
        }
        let slot = match index {
            None => &mut self.zeros,
            Some(index) => self.buckets.entry(index).or_default(),
        };
        *slot = slot.saturating_add(count);
    }

    /// Adds what another one holds: the result is that of adding all values to one histogram.
    pub fn merge(&mut self, other: &Self) {
        self.add_counted(None, other.zeros);
        for (index, count) in &other.buckets {
            self.add_counted(Some(*index), *count);
        }
    }

    /// How many values it holds.
    pub fn count(&self) -> u64 {
        self.buckets.values().fold(self.zeros, |sum, count| sum.saturating_add(*count))
    }

    /// The buckets that hold values, in order; zeros first, as `None`.
    pub fn counts(&self) -> impl Iterator<Item = (Option<i32>, u64)> + '_ {
        let zeros = (self.zeros > 0).then_some((None, self.zeros));
        zeros.into_iter().chain(self.buckets.iter().map(|(index, count)| (Some(*index), *count)))
    }

    /// The nearest-rank percentile, within [`ALPHA`] of the exact one; none of none.
    ///
    /// The answer is kept between the least and the greatest value, which roll-ups know exactly: that never makes it
    /// worse, and makes it exact where all values are alike.
    pub fn percentile(&self, percent: u32, min: f64, max: f64) -> Option<f64> {
        let rank = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        let holds = |(_, count): &(Option<i32>, u64)| {
            seen += u128::from(*count);
            seen >= rank
        };
        let (index, _) = self.counts().find(holds)?;
        // Not `clamp`, which panics when a store answers bounds that are no numbers or in the wrong order.
        Some(index.map_or(0.0, estimate).min(max).max(min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::stats;
    use proptest::prelude::*;

    fn histogram(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        histogram
    }

    /// Whether `found` is as close to `exact` as promised, rounding of floats apart.
    fn close(found: f64, exact: f64) -> bool {
        (found - exact).abs() <= exact * ALPHA * (1.0 + 1e-9)
    }

    /// Floats of every magnitude, and whole numbers, many of them alike.
    fn values() -> impl Strategy<Value = Vec<f64>> {
        let any_magnitude = (f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits()).prop_map(f64::from_bits);
        let value = prop_oneof![Just(0.0), any_magnitude, (0_u32..50).prop_map(f64::from), 0.0..1e6_f64];
        prop::collection::vec(value, 1..300)
    }

    #[test]
    fn the_constant_is_the_logarithm_of_gamma() {
        assert!((LN_GAMMA - ((1.0 + ALPHA) / (1.0 - ALPHA)).ln()).abs() < 1e-15);
    }

    #[test]
    fn the_ends_of_the_scale_have_an_index_and_an_estimate() {
        assert_eq!((index(f64::MIN_POSITIVE), index(f64::MAX)), (Some(-35_418), Some(35_488)));
        assert!(close(estimate(-35_418), f64::MIN_POSITIVE) && close(estimate(35_488), f64::MAX));
        assert_eq!((index(0.0), index(f64::from_bits(1)), index(1.0)), (None, None, Some(0)));
        assert_eq!(index(f64::INFINITY), index(f64::MAX));
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(50, 0.0, 1.0), None);
        assert_eq!((Histogram::default().count(), Histogram::default().counts().count()), (0, 0));
    }

    #[test]
    fn counts_do_not_overflow() {
        let mut most = Histogram::default();
        most.add_counted(Some(1), u64::MAX);
        most.add_counted(Some(1), 1);
        most.add_counted(None, u64::MAX);
        assert_eq!(most.count(), u64::MAX);
        assert!(most.percentile(99, 0.0, f64::MAX).is_some());
    }

    proptest! {
        #[test]
        fn percentiles_are_within_the_bound(values in values(), percent in 0_u32..=100) {
            let found = histogram(&values).percentile(percent, 0.0, f64::MAX).unwrap();
            let mut ascending = values;
            ascending.sort_by(f64::total_cmp);
            let exact = stats::percentile(&ascending, percent as usize).unwrap();
            prop_assert!(close(found, exact), "{} for {}", found, exact);
            let (min, max) = (ascending[0], ascending[ascending.len() - 1]);
            let clamped = histogram(&ascending).percentile(percent, min, max).unwrap();
            prop_assert!((clamped - exact).abs() <= (found - exact).abs() && (min..=max).contains(&clamped));
        }

        #[test]
        fn merging_equals_adding_everything(parts in prop::collection::vec(values(), 0..5)) {
            let mut merged = Histogram::default();
            parts.iter().rev().for_each(|part| merged.merge(&histogram(part)));
            let all = histogram(&parts.concat());
            prop_assert_eq!(&merged, &all);
            prop_assert_eq!(merged.count() as usize, parts.concat().len());
            // What is stored as rows is the same when it is read.
            let mut read = Histogram::default();
            all.counts().for_each(|(index, count)| read.add_counted(index, count));
            prop_assert_eq!(read, all);
        }
    }
}
