//! The arithmetic of statistics: where buckets lie, what an aggregate of values is, how gaps are filled.
//!
//! Pure functions, so that every telemetry adapter answers alike whatever its store can do by itself. Nothing here
//! knows a store, a scope or a clock.

use super::{Aggregate, Bucket, Fill, RankKey, RankOrder, StatsQuery, TimeRange};
use chrono::{DateTime, Utc};
use std::{collections::BTreeMap, time::Duration};

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

/// What some events of one bucket measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// The time of any of them, in microseconds.
    pub at: i64,
    /// How many of the events failed.
    pub failed: u64,
    /// One value for each event, in any order.
    pub values: Vec<f64>,
}

/// What events say, before a query's own wishes are met.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The buckets that have events, in order of time.
    pub buckets: Vec<Bucket>,
    /// Over all of them.
    pub total: Aggregate,
    /// What all of it cost.
    pub cost_micros: i64,
}

/// Which bucket holds `at`: the last whose edge is not later. `None` when there is none.
pub fn bucket_of(edges: &[DateTime<Utc>], at: i64) -> Option<usize> {
    edges.partition_point(|edge| edge.timestamp_micros() <= at).checked_sub(1)
}

/// Buckets between `edges` and their total, from the values of events that lie in the range. Gaps are not filled.
pub fn summarise(edges: &[DateTime<Utc>], samples: Vec<Samples>, cost_micros: i128) -> Summary {
    let failed = samples.iter().map(|samples| samples.failed).sum();
    let all = samples.iter().flat_map(|samples| samples.values.iter().copied()).collect();
    let mut by_bucket: BTreeMap<usize, (Vec<f64>, u64)> = BTreeMap::new();
    for samples in samples {
        if let Some(index) = bucket_of(edges, samples.at) {
            let (values, failed) = by_bucket.entry(index).or_default();
            values.extend(samples.values);
            *failed += samples.failed;
        }
    }
    let bucket = |(index, (values, failed)): (usize, (Vec<f64>, u64))| {
        Some(Bucket { start: *edges.get(index)?, aggregate: aggregate(values, failed), filled: false })
    };
    Summary {
        buckets: by_bucket.into_iter().filter_map(bucket).collect(),
        total: aggregate(all, failed),
        cost_micros: i64::try_from(cost_micros).unwrap_or(i64::MAX),
    }
}

/// The buckets as `query` wants to see them, with their gaps filled.
pub fn present(query: &StatsQuery, buckets: &[Bucket]) -> Vec<Bucket> {
    fill(&query.edges, query.fill, buckets.to_vec())
}

/// Puts entries in order of merit, greatest first and ties by key, and keeps `limit` of them.
pub fn rank(order: RankOrder, limit: u32, mut entries: Vec<(RankKey, Aggregate)>) -> Vec<(RankKey, Aggregate)> {
    let merit = |aggregate: &Aggregate| match order {
        RankOrder::Count => aggregate.count as f64,
        RankOrder::Failed => aggregate.failed as f64,
        RankOrder::Sum => aggregate.sum.unwrap_or_default(),
        RankOrder::Avg => aggregate.avg.unwrap_or_default(),
        RankOrder::Max => aggregate.max.unwrap_or_default(),
        RankOrder::P95 => aggregate.p95.unwrap_or_default(),
    };
    entries.sort_by(|(key, a), (other, b)| merit(b).total_cmp(&merit(a)).then_with(|| key.cmp(other)));
    entries.truncate(limit as usize);
    entries
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

/// Adds the buckets that begin at `edges` and are not in `present` (which is in order of time), as `fill` says.
///
/// [`Fill::Previous`] and [`Fill::Linear`] look only at buckets of this answer: before the first one with values (and
/// for `Linear` after the last one) a bucket stays as with [`Fill::Null`]. `filled` is set where values were made up.
pub fn fill(edges: &[DateTime<Utc>], fill: Fill, present: Vec<Bucket>) -> Vec<Bucket> {
    if fill == Fill::None {
        return present;
    }
    let mut present = present.into_iter().peekable();
    let bucket = |start: &DateTime<Utc>| {
        let empty = || Bucket { start: *start, aggregate: Aggregate::default(), filled: false };
        present.next_if(|bucket| bucket.start == *start).unwrap_or_else(empty)
    };
    let mut buckets: Vec<Bucket> = edges.iter().map(bucket).collect();
    match fill {
        Fill::Previous => repeat_previous(&mut buckets),
        Fill::Linear => interpolate(&mut buckets),
        Fill::Null | Fill::None => {}
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
    let known: Vec<(usize, Bucket)> =
        buckets.iter().cloned().enumerate().filter(|(_, bucket)| bucket.aggregate.count > 0).collect();
    for ((left, a), (right, b)) in known.iter().zip(known.iter().skip(1)) {
        for bucket in buckets.iter_mut().take(*right).skip(left + 1) {
            let part = (bucket.start - a.start).as_seconds_f64() / (b.start - a.start).as_seconds_f64();
            bucket.aggregate = between(&a.aggregate, &b.aggregate, part);
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
