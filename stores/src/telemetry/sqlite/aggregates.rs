//! The statements behind statistics and rankings, and how their rows become answers.
//!
//! Values come as one JSON list for each group of events, which costs a tenth of a row each; they are sorted and counted
//! here, off the async threads. SQL text is put together from constants of this file alone; every value is a parameter.

use super::queries;
use crate::{
    Result,
    error::{ErrorKind, Store, StoreError},
    telemetry::{
        Aggregate, Measure, RankBy, RankKey,
        groups::{Group, RankingKey, StatsKey},
        stats,
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{DbErr, QueryResult, Statement};
use uuid::Uuid;

fn value(measure: Measure) -> &'static str {
    match measure {
        Measure::Duration => "e.duration_ms",
        Measure::Cost => "e.cost_micros",
        Measure::Frames => "e.frames",
        Measure::GpuSeconds => "e.gpu_seconds_bits",
    }
}

/// The greatest width that every edge is a multiple of, and what is left over when an edge is divided by it; `None`
/// without a second edge.
///
/// Events are gathered by it whatever the zone and the calendar say: an hour where days have 23 to 25 of them.
fn grain(edges: &[DateTime<Utc>]) -> Option<(i64, i64)> {
    let first = edges.first()?.timestamp_micros();
    let apart = edges.iter().map(|edge| edge.timestamp_micros().saturating_sub(first));
    let width = apart.fold(0, greatest_common_divisor);
    (width > 0).then(|| (width, first.rem_euclid(width)))
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// One row for each subject and grain of time that has events: slot, the time of one of them, failed, cost (high and
/// low half), values. The cost is summed in halves because a sum of whole 64-bit numbers may overflow.
pub fn statistics(organization_id: Uuid, group: &Group<StatsKey<'_>>) -> Statement {
    let (kind, range, edges, measure, mask) = group.key;
    let (from, to) = stats::range_micros(&range);
    let grain = grain(edges);
    // SQLite's % takes the sign of its left side. Without edges all events are of one grain.
    let start = if grain.is_some() { "e.at - (((e.at - ?7) % ?6) + ?6) % ?6" } else { "?6 + ?7" };
    let sql = format!(
        "SELECT k.key, MIN(e.at), SUM(1 - e.succeeded), SUM(e.cost_micros >> 32), SUM(e.cost_micros & 4294967295), \
         json_group_array({}) FROM json_each(?1) AS k CROSS JOIN events AS e \
         WHERE e.organization_id = ?2 {} AND e.at >= ?3 AND e.at < ?4 AND (?5 >> e.stage) & 1 GROUP BY k.key, {start}",
        value(measure),
        queries::condition(kind, "e")
    );
    let (width, phase) = grain.unwrap_or_default();
    let values = [
        queries::list(&group.subjects),
        organization_id.into(),
        from.into(),
        to.into(),
        mask.into(),
        width.into(),
        phase.into(),
    ];
    queries::statement(sql, values)
}

/// One row for each subject and what is ranked: slot, key, failed, values.
pub fn rankings(organization_id: Uuid, group: &Group<RankingKey>) -> Statement {
    let (kind, range, by, measure, mask) = group.key;
    let (from, to) = stats::range_micros(&range);
    let (key, condition) = match by {
        RankBy::Persona => ("e.persona_id", ""),
        RankBy::Campaign => ("e.campaign_id", "AND e.campaign_id IS NOT NULL"),
        RankBy::Stage => ("e.stage", ""),
    };
    let sql = format!(
        "SELECT k.key, {key}, SUM(1 - e.succeeded), json_group_array({}) \
         FROM json_each(?1) AS k CROSS JOIN events AS e WHERE e.organization_id = ?2 {} {condition} \
         AND e.at >= ?3 AND e.at < ?4 AND (?5 >> e.stage) & 1 GROUP BY k.key, {key}",
        value(measure),
        queries::condition(kind, "e")
    );
    let values = [queries::list(&group.subjects), organization_id.into(), from.into(), to.into(), mask.into()];
    queries::statement(sql, values)
}

/// What a row of [`statistics`] says.
pub struct StatsRow {
    at: i64,
    failed: i64,
    cost: i128,
    values: String,
}

/// The statistics in a row.
pub fn stats_row(row: &QueryResult) -> Result<StatsRow, DbErr> {
    let (high, low): (i64, i64) = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
    Ok(StatsRow {
        at: row.try_get_by_index(1)?,
        failed: row.try_get_by_index(2)?,
        cost: (i128::from(high) << 32) + i128::from(low),
        values: row.try_get_by_index(5)?,
    })
}

/// What a row of [`rankings`] says.
pub struct RankingRow {
    key: RankKey,
    failed: i64,
    values: String,
}

/// What is ranked in a row.
pub fn ranking_row(by: RankBy, row: &QueryResult) -> Result<RankingRow, DbErr> {
    let key = match by {
        RankBy::Persona => RankKey::Persona(row.try_get_by_index(1)?),
        RankBy::Campaign => RankKey::Campaign(row.try_get_by_index(1)?),
        RankBy::Stage => RankKey::Stage(queries::stage(row, 1)?),
    };
    Ok(RankingRow { key, failed: row.try_get_by_index(2)?, values: row.try_get_by_index(3)? })
}

/// The answer for one subject, gaps not yet filled. Sorting many values takes its time: not for an async thread.
pub fn summarise(edges: &[DateTime<Utc>], measure: Measure, rows: Vec<StatsRow>) -> Result<stats::Summary> {
    let cost = rows.iter().map(|row| row.cost).sum();
    let samples = rows.into_iter().map(|row| {
        let values = numbers(measure, &row.values)?;
        Ok(stats::Samples { at: row.at, failed: row.failed.cast_unsigned(), values })
    });
    Ok(stats::summarise(edges, samples.collect::<Result<_>>()?, cost))
}

/// What is ranked with its aggregates, in any order. Not for an async thread either.
pub fn entries(measure: Measure, rows: Vec<RankingRow>) -> Result<Vec<(RankKey, Aggregate)>> {
    let entry = |row: RankingRow| {
        let values = numbers(measure, &row.values)?;
        Ok((row.key, stats::aggregate(values, row.failed.cast_unsigned())))
    };
    rows.into_iter().map(entry).collect()
}

fn numbers(measure: Measure, json: &str) -> Result<Vec<f64>> {
    let values: Vec<i64> = serde_json::from_str(json).map_err(|error| {
        let message = "the store answered values that are not numbers";
        StoreError::with_source(Store::Telemetry, ErrorKind::BadResponse, message, error)
    })?;
    let number = |value: i64| match measure {
        Measure::GpuSeconds => f64::from_bits(value.cast_unsigned()),
        Measure::Duration | Measure::Cost | Measure::Frames => value as f64,
    };
    Ok(values.into_iter().map(number).collect())
}
