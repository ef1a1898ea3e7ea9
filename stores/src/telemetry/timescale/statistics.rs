//! Statistics and rankings: one statement for the queries of a group, over events and roll-ups as the [`plan`] says.
//!
//! Two shapes of rows. Where events alone answer, each row brings the values themselves (eight bytes each, put together
//! by `string_agg`), and sorting them here makes percentiles exact. Where roll-ups take part, each row brings counts,
//! sums, bounds and a histogram's entries, of events and roll-ups alike, and merging them here gives percentiles within
//! the histogram's bound. Sums of whole numbers are exact in both: `numeric` on the server, `i128` here.

use super::{
    fault::failed,
    pages::{self, instant},
    plan::{Plan, Segment},
    schema::{Level, SCALE},
};
use crate::{
    Result,
    telemetry::{
        Aggregate, Bucket, Measure, RankBy, RankKey, Resolution, TimeRange,
        groups::Kind,
        histogram::Histogram,
        stats::{self, Samples, Summary},
    },
};
use chrono::{DateTime, Utc};
use sea_orm::sqlx::{self, AssertSqlSafe, PgPool, Row, postgres::PgRow};
use std::{collections::BTreeMap, hash::Hash};
use uuid::Uuid;

/// What undoes the scale of sums of floats.
const UNSCALE: f64 = 18_446_744_073_709_551_616.0;
/// How a histogram's entry says zero.
const ZERO: i32 = -65_536;
/// Bits of an entry's count.
const COUNT_BITS: u32 = 15;

/// What the rows of one statement have in common.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose.
    pub organization_id: Uuid,
    /// Which column.
    pub kind: Kind,
    /// The subjects.
    pub subjects: &'a [Uuid],
    /// What is measured.
    pub measure: Measure,
    /// Which stages, as bits.
    pub mask: i64,
}

/// What rows are gathered by.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// By the bucket that begins at an edge.
    Edges(&'a [DateTime<Utc>]),
    /// By what is ranked.
    Rank(RankBy),
}

impl By<'_> {
    fn expression(self, table: &str, time: &str) -> String {
        match self {
            // The number of the last edge that is not later; 0 without edges. Wide enough for every key.
            By::Edges(_) => format!("width_bucket({table}.{time}, $4::timestamptz[])"),
            By::Rank(RankBy::Persona) => format!("{table}.persona_id"),
            By::Rank(RankBy::Campaign) => format!("{table}.campaign_id"),
            By::Rank(RankBy::Stage) => format!("{table}.stage::int"),
        }
    }

    fn condition(self, table: &str) -> String {
        match self {
            By::Rank(RankBy::Campaign) => format!("AND {table}.campaign_id IS NOT NULL"),
            _ => String::new(),
        }
    }

    fn edges(self) -> Vec<DateTime<Utc>> {
        match self {
            By::Edges(edges) => edges.iter().map(|edge| instant(edge.timestamp_micros())).collect(),
            By::Rank(_) => Vec::new(),
        }
    }
}

/// A row's key: the number of its bucket, or what is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Edges before it.
    Bucket(usize),
    /// What is ranked.
    Rank(RankKey),
}

fn key(by: By<'_>, row: &PgRow) -> Result<Key, sqlx::Error> {
    Ok(match by {
        By::Edges(_) => Key::Bucket(usize::try_from(row.try_get::<i32, _>(1)?).unwrap_or(0)),
        By::Rank(RankBy::Persona) => Key::Rank(RankKey::Persona(row.try_get(1)?)),
        By::Rank(RankBy::Campaign) => Key::Rank(RankKey::Campaign(row.try_get(1)?)),
        By::Rank(RankBy::Stage) => {
            let number: i32 = row.try_get(1)?;
            Key::Rank(RankKey::Stage(pages::stage(i16::try_from(number).unwrap_or(-1))?))
        }
    })
}

/// What the events or roll-ups of one key say.
#[derive(Clone, Debug)]
pub enum Part {
    /// The values themselves.
    Values {
        /// How many failed.
        failed: u64,
        /// What they cost.
        cost: i128,
        /// As the server put them together.
        values: Vec<u8>,
    },
    /// What is left of them.
    Sums(Box<Sums>),
}

/// Sums that can be added up.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    count: u64,
    failed: u64,
    cost: i128,
    whole: i128,
    float: f64,
    bounds: Option<(f64, f64)>,
    histogram: Histogram,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.failed = self.failed.saturating_add(other.failed);
        self.cost = self.cost.saturating_add(other.cost);
        self.whole = self.whole.saturating_add(other.whole);
        self.float += other.float;
        self.bounds = match (self.bounds, other.bounds) {
            (Some((min, max)), Some((other_min, other_max))) => Some((min.min(other_min), max.max(other_max))),
            (one, other) => one.or(other),
        };
        self.histogram.merge(&other.histogram);
    }

    fn aggregate(&self, measure: Measure) -> Aggregate {
        let counts = Aggregate { count: self.count, failed: self.failed, ..Aggregate::default() };
        let Some((min, max)) = self.bounds.filter(|_| self.count > 0) else { return counts };
        let sum = match measure {
            Measure::GpuSeconds => (self.float * UNSCALE).min(f64::MAX),
            Measure::Duration | Measure::Cost | Measure::Frames => self.whole as f64,
        };
        let percentile = |percent| self.histogram.percentile(percent, min, max);
        Aggregate {
            sum: Some(sum),
            avg: Some((sum / self.count as f64).min(max).max(min)),
            min: Some(min),
            max: Some(max),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            ..counts
        }
    }
}

/// Asks; the parts of each subject, in the subjects' order.
pub async fn ask(pool: &PgPool, question: &Question<'_>, by: By<'_>, plan: &Plan) -> Result<Vec<Vec<(Key, Part)>>> {
    if plan.resolution() == Resolution::Raw {
        let Some(&(from, to)) = plan.raw.first() else { return Ok(vec![Vec::new(); question.subjects.len()]) };
        let sql = AssertSqlSafe(of_values(question, by));
        let rows = bind(question, by, sqlx::query(sql)).bind(instant(from)).bind(instant(to)).fetch_all(pool).await;
        return pages::by_slot(&rows.map_err(failed)?, question.subjects.len(), |row| {
            Ok((key(by, row)?, values(row)?))
        });
    }
    let sql = AssertSqlSafe(of_sums(question, by, plan));
    let mut query = bind(question, by, sqlx::query(sql));
    for segments in read(plan).map(|(_, segments)| segments) {
        let (from, to): (Vec<_>, Vec<_>) = segments.iter().map(|(from, to)| (instant(*from), instant(*to))).unzip();
        query = query.bind(from).bind(to);
    }
    let rows = query.fetch_all(pool).await.map_err(failed)?;
    pages::by_slot(&rows, question.subjects.len(), |row| Ok((key(by, row)?, sums(question.measure, row)?)))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind<'q>(question: &Question<'_>, by: By<'_>, query: Query<'q>) -> Query<'q> {
    query.bind(question.subjects.to_vec()).bind(question.organization_id).bind(question.mask as i32).bind(by.edges())
}

/// The tables that a plan reads, with their segments, in the order of their parameters.
fn read(plan: &Plan) -> impl Iterator<Item = (Option<Level>, &Vec<Segment>)> {
    let levels = Level::ALL.into_iter().zip(&plan.levels).map(|(level, segments)| (Some(level), segments));
    std::iter::once((None, &plan.raw)).chain(levels).filter(|(_, segments)| !segments.is_empty())
}

const fn column(measure: Measure) -> (&'static str, &'static str) {
    match measure {
        Measure::Duration => ("duration", "duration_ms"),
        Measure::Cost => ("cost", "cost_micros"),
        Measure::Frames => ("frames", "frames"),
        Measure::GpuSeconds => ("gpu", "gpu_seconds"),
    }
}

/// `$1` subjects, `$2` organisation, `$3` stages, `$4` edges, `$5` and `$6` from and to.
fn of_values(question: &Question<'_>, by: By<'_>) -> String {
    let (_, column) = column(question.measure);
    let send = if question.measure == Measure::GpuSeconds { "float8send" } else { "int8send" };
    format!(
        "SELECT k.slot - 1, {}, count(*) FILTER (WHERE NOT e.succeeded), sum(e.cost_micros)::text, \
         string_agg({send}(e.{column}), ''::bytea) FROM unnest($1::uuid[]) WITH ORDINALITY AS k (value, slot) \
         JOIN events AS e ON e.organization_id = $2 {} WHERE e.at >= $5 AND e.at < $6 AND ($3 >> e.stage) & 1 = 1 \
         AND cardinality($4::timestamptz[]) >= 0 {} GROUP BY 1, 2",
        by.expression("e", "at"),
        pages::condition(question.kind, "e"),
        by.condition("e"),
    )
}

/// The same first parameters, then two arrays, from and to, for each table.
fn of_sums(question: &Question<'_>, by: By<'_>, plan: &Plan) -> String {
    let one =
        |(index, (level, _)): (usize, (Option<Level>, &Vec<Segment>))| of_table(question, by, level, 5 + 2 * index);
    read(plan).enumerate().map(one).collect::<Vec<_>>().join(" UNION ALL ")
}

fn of_table(question: &Question<'_>, by: By<'_>, level: Option<Level>, parameter: usize) -> String {
    let (name, column) = column(question.measure);
    let (table, time) = level.map_or(("events", "at"), |level| (level.table(), "bucket"));
    let columns = if level.is_none() {
        let scale = if question.measure == Measure::GpuSeconds { format!(" * {SCALE}") } else { String::new() };
        format!(
            "count(*), count(*) FILTER (WHERE NOT e.succeeded), sum(e.cost_micros)::text, \
             sum(e.{column}{scale})::text, min(e.{column})::float8, max(e.{column})::float8, \
             string_agg(histogram_entry(e.{column}), ''::bytea)"
        )
    } else {
        format!(
            "sum(e.events)::bigint, sum(e.failed)::bigint, sum(e.cost_sum)::text, sum(e.{name}_sum)::text, \
             min(e.{name}_min)::float8, max(e.{name}_max)::float8, string_agg(e.{name}_histogram, ''::bytea)"
        )
    };
    format!(
        "SELECT k.slot - 1, {}, {columns} FROM unnest($1::uuid[]) WITH ORDINALITY AS k (value, slot) \
         CROSS JOIN unnest(${parameter}::timestamptz[], ${}::timestamptz[]) AS s (low, high) \
         JOIN {table} AS e ON e.organization_id = $2 {} AND e.{time} >= s.low AND e.{time} < s.high \
         WHERE ($3 >> e.stage) & 1 = 1 AND cardinality($4::timestamptz[]) >= 0 {} GROUP BY 1, 2",
        by.expression("e", time),
        parameter + 1,
        pages::condition(question.kind, "e"),
        by.condition("e"),
    )
}

fn values(row: &PgRow) -> Result<Part, sqlx::Error> {
    let failed: i64 = row.try_get(2)?;
    Ok(Part::Values { failed: failed.cast_unsigned(), cost: number(row.try_get(3)?)?, values: row.try_get(4)? })
}

fn sums(measure: Measure, row: &PgRow) -> Result<Part, sqlx::Error> {
    let (count, failed): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
    let sum: &str = row.try_get(5)?;
    let (whole, float) = match measure {
        Measure::GpuSeconds => (0, number(sum)?),
        Measure::Duration | Measure::Cost | Measure::Frames => (number(sum)?, 0.0),
    };
    Ok(Part::Sums(Box::new(Sums {
        count: count.cast_unsigned(),
        failed: failed.cast_unsigned(),
        cost: number(row.try_get(4)?)?,
        whole,
        float,
        bounds: Some((row.try_get(6)?, row.try_get(7)?)),
        histogram: entries(row.try_get(8)?),
    })))
}

fn number<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(text: &str) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// The histogram in entries of four bytes: index in the upper bits, count in the lower ones.
fn entries(bytes: &[u8]) -> Histogram {
    // Gathered first: there are many entries of few indices.
    let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
    for entry in bytes.as_chunks::<4>().0 {
        let entry = i32::from_be_bytes(*entry);
        let count = entry & ((1 << COUNT_BITS) - 1);
        *counts.entry(entry >> COUNT_BITS).or_default() += u64::from(count.cast_unsigned());
    }
    let mut histogram = Histogram::default();
    for (index, count) in counts {
        histogram.add_counted((index != ZERO).then_some(index), count);
    }
    histogram
}

fn decode(measure: Measure, bytes: &[u8]) -> Vec<f64> {
    let number = |bytes: &[u8; 8]| match measure {
        Measure::GpuSeconds => f64::from_be_bytes(*bytes),
        Measure::Duration | Measure::Cost | Measure::Frames => i64::from_be_bytes(*bytes) as f64,
    };
    bytes.as_chunks::<8>().0.iter().map(number).collect()
}

/// The answer for one subject, gaps not yet filled. Not for an async thread: sorting many values takes its time.
pub fn summarise(edges: &[DateTime<Utc>], range: &TimeRange, measure: Measure, parts: Vec<(Key, Part)>) -> Summary {
    let (mut samples, mut cost) = (Vec::new(), 0_i128);
    let mut buckets: BTreeMap<usize, Sums> = BTreeMap::new();
    for (key, part) in parts {
        let Key::Bucket(bucket) = key else { continue };
        match part {
            Part::Values { failed, cost: of_part, values } => {
                let edge = bucket.checked_sub(1).and_then(|bucket| edges.get(bucket));
                let at = edge.unwrap_or(&range.from).timestamp_micros();
                cost = cost.saturating_add(of_part);
                samples.push(Samples { at, failed, values: decode(measure, &values) });
            }
            Part::Sums(sums) => buckets.entry(bucket).or_default().add(&sums),
        }
    }
    if buckets.is_empty() {
        return stats::summarise(edges, samples, cost);
    }
    let mut total = Sums::default();
    buckets.values().for_each(|sums| total.add(sums));
    let bucket = |(number, sums): (&usize, &Sums)| {
        let start = *number.checked_sub(1).and_then(|number| edges.get(number))?;
        Some(Bucket { start, aggregate: sums.aggregate(measure), filled: false })
    };
    Summary {
        buckets: buckets.iter().filter_map(bucket).collect(),
        total: total.aggregate(measure),
        cost_micros: i64::try_from(total.cost).unwrap_or(i64::MAX),
    }
}

/// What is ranked with its aggregates, in any order. Not for an async thread either.
pub fn ranked(measure: Measure, parts: Vec<(Key, Part)>) -> Vec<(RankKey, Aggregate)> {
    let mut entries: Vec<(RankKey, Aggregate)> = Vec::new();
    let mut merged: BTreeMap<RankKey, Sums> = BTreeMap::new();
    for (key, part) in parts {
        let Key::Rank(key) = key else { continue };
        match part {
            Part::Values { failed, values, .. } => {
                entries.push((key, stats::aggregate(decode(measure, &values), failed)));
            }
            Part::Sums(sums) => merged.entry(key).or_default().add(&sums),
        }
    }
    entries.extend(merged.into_iter().map(|(key, sums)| (key, sums.aggregate(measure))));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_indices_and_counts() {
        let entry = |index: i32, count: i32| ((index << COUNT_BITS) | count).to_be_bytes();
        let bytes = [entry(-35_418, 1), entry(35_488, 32_767), entry(ZERO, 3), entry(35_488, 2)].concat();
        let counts: Vec<_> = entries(&bytes).counts().collect();
        assert_eq!(counts, [(None, 3), (Some(-35_418), 1), (Some(35_488), 32_769)]);
    }

    #[test]
    fn sums_of_the_greatest_values_are_kept() {
        let part = Sums { count: 1, whole: i128::from(i64::MAX), bounds: Some((1.0, 2.0)), ..Sums::default() };
        let mut sums = part.clone();
        sums.add(&part);
        assert_eq!(sums.aggregate(Measure::Duration).sum, Some(2.0 * i64::MAX as f64));
        let float = Sums { float: f64::MAX / UNSCALE * 4.0, ..part };
        assert_eq!(float.aggregate(Measure::GpuSeconds).sum, Some(f64::MAX));
        assert_eq!(float.aggregate(Measure::GpuSeconds).avg, Some(2.0), "a mean stays between the bounds");
    }
}
