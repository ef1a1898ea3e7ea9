//! The arithmetic of statistics: where buckets lie, what an aggregate of values is, how gaps are filled.
//!
//! Pure functions, so that every telemetry adapter answers alike whatever its store can do by itself. Nothing here
//! knows a store, a scope or a clock.

use super::{Aggregate, Bucket, Fill, Stats, StatsQuery, TimeRange};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The widest bucket, some 36,000 years: room enough to add two widths to a time without overflow.
const WIDEST: i64 = 1 << 60;

/// The width of a bucket in microseconds, at least 1.
pub fn width_micros(bucket: Duration) -> i64 {
    i64::try_from(bucket.as_micros()).unwrap_or(WIDEST).clamp(1, WIDEST)
}

/// The beginning of the bucket that holds `at`: the last multiple of `width` since the Unix epoch that is not later.
pub fn bucket_start(at: i64, width: i64) -> i64 {
    let width = width.max(1);
    at.div_euclid(width).saturating_mul(width)
}

/// A range as `from <= at < to` in whole microseconds, which is how finely events are kept.
pub fn range_micros(range: &TimeRange) -> (i64, i64) {
    (ceil_micros(range.from), ceil_micros(range.to))
}

/// The first whole microsecond that is not before `time`: where a bound on times that are kept to the microsecond lies.
pub fn ceil_micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros() + i64::from(!time.timestamp_subsec_nanos().is_multiple_of(1000))
}

/// Microseconds since the Unix epoch as a time; what lies before the calendar begins is its first instant.
pub fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// What events of one bucket measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// The bucket's beginning in microseconds.
    pub start: i64,
    /// How many of the events failed.
    pub failed: u64,
    /// One value for each event, in any order.
    pub values: Vec<f64>,
}

/// Buckets in order of time and their total, from the values of each bucket that has any. Gaps are not filled.
pub fn summarise(samples: Vec<Samples>, cost_micros: i128) -> Stats {
    let failed = samples.iter().map(|samples| samples.failed).sum();
    let all = samples.iter().flat_map(|samples| samples.values.iter().copied()).collect();
    let bucket = |samples: Samples| Bucket {
        start: time(samples.start),
        aggregate: aggregate(samples.values, samples.failed),
        filled: false,
    };
    let mut buckets: Vec<Bucket> = samples.into_iter().map(bucket).collect();
    buckets.sort_by_key(|bucket| bucket.start);
    let cost_micros = i64::try_from(cost_micros).unwrap_or(i64::MAX);
    Stats { buckets, total: aggregate(all, failed), cost_micros }
}

/// The same answer as `query` wants to see it: without buckets, or with its gaps filled.
pub fn present(query: &StatsQuery, stats: &Stats) -> Stats {
    let buckets = match query.bucket {
        None => Vec::new(),
        Some(bucket) => fill(&query.range, width_micros(bucket), query.fill, stats.buckets.clone()),
    };
    Stats { buckets, total: stats.total.clone(), cost_micros: stats.cost_micros }
}

/// Aggregates of finite values. Percentiles are by nearest rank: the least value that is not below `p` percent of all.
///
/// A sum beyond the largest float is the largest float, and a mean never leaves the values' own range.
pub fn aggregate(mut values: Vec<f64>, failed: u64) -> Aggregate {
    values.sort_unstable_by(f64::total_cmp);
    let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
        return Aggregate { failed, ..Aggregate::default() };
    };
    let sum = sum(&values);
    Aggregate {
        count: values.len() as u64,
        failed,
        sum: Some(sum),
        avg: Some((sum / values.len() as f64).clamp(min, max)),
        min: Some(min),
        max: Some(max),
        p50: percentile(&values, 50),
        p95: percentile(&values, 95),
        p99: percentile(&values, 99),
    }
}

/// The nearest-rank percentile of ascending values; none of none.
pub fn percentile(ascending: &[f64], percent: usize) -> Option<f64> {
    let rank = (ascending.len() * percent).div_ceil(100).max(1);
    ascending.get(rank - 1).copied()
}

/// Neumaier's sum: the error does not grow with the number of values.
fn sum(values: &[f64]) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for &value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    let exact = total + lost;
    if exact.is_finite() { exact } else { f64::MAX.copysign(total) }
}

/// Adds the buckets of `range` that are not in `present` (which is in order of time), as `fill` says.
///
/// The answer begins with the bucket that holds the range's beginning and ends with the one that holds its end.
/// [`Fill::Previous`] and [`Fill::Linear`] look only at buckets of this answer: before the first one with values (and
/// for `Linear` after the last one) a bucket stays as with [`Fill::Null`]. `filled` is set where values were made up.
pub fn fill(range: &TimeRange, width: i64, fill: Fill, present: Vec<Bucket>) -> Vec<Bucket> {
    if fill == Fill::None {
        return present;
    }
    let mut buckets = with_gaps(range, width.max(1), present);
    match fill {
        Fill::Previous => repeat_previous(&mut buckets),
        Fill::Linear => interpolate(&mut buckets),
        Fill::Null | Fill::None => {}
    }
    buckets
}

fn with_gaps(range: &TimeRange, width: i64, present: Vec<Bucket>) -> Vec<Bucket> {
    let (from, to) = range_micros(range);
    if from >= to {
        return present;
    }
    let last = bucket_start(to - 1, width);
    let mut present = present.into_iter().peekable();
    let mut buckets = Vec::new();
    let mut next = Some(bucket_start(from, width));
    while let Some(start) = next.filter(|start| *start <= last) {
        let at = time(start);
        let empty = || Bucket { start: at, aggregate: Aggregate::default(), filled: false };
        buckets.push(present.next_if(|bucket| bucket.start == at).unwrap_or_else(empty));
        next = start.checked_add(width);
    }
    buckets
}

fn repeat_previous(buckets: &mut [Bucket]) {
    let mut previous: Option<Aggregate> = None;
    for bucket in buckets {
        if bucket.aggregate.count > 0 {
            previous = Some(Aggregate { count: 0, failed: 0, ..bucket.aggregate.clone() });
        } else if let Some(previous) = &previous {
            bucket.aggregate = previous.clone();
            bucket.filled = true;
        }
    }
}

fn interpolate(buckets: &mut [Bucket]) {
    let known: Vec<(usize, Aggregate)> = buckets
        .iter()
        .enumerate()
        .filter(|(_, bucket)| bucket.aggregate.count > 0)
        .map(|(index, bucket)| (index, bucket.aggregate.clone()))
        .collect();
    for ((left, a), (right, b)) in known.iter().zip(known.iter().skip(1)) {
        let gap = (right - left) as f64;
        for (step, bucket) in buckets.iter_mut().take(*right).skip(left + 1).enumerate() {
            bucket.aggregate = between(a, b, (step + 1) as f64 / gap);
            bucket.filled = true;
        }
    }
}

fn between(a: &Aggregate, b: &Aggregate, part: f64) -> Aggregate {
    let line = |a: Option<f64>, b: Option<f64>| Some(on_line(a?, b?, part));
    Aggregate {
        count: 0,
        failed: 0,
        sum: line(a.sum, b.sum),
        avg: line(a.avg, b.avg),
        min: line(a.min, b.min),
        max: line(a.max, b.max),
        p50: line(a.p50, b.p50),
        p95: line(a.p95, b.p95),
        p99: line(a.p99, b.p99),
    }
}

/// Weighs both ends rather than adding a part of their difference, which could overflow; the clamp takes off the last
/// bit that the weights may add.
fn on_line(a: f64, b: f64, part: f64) -> f64 {
    (a * (1.0 - part) + b * part).clamp(a.min(b), a.max(b))
}

#[cfg(test)]
mod tests;
