//! The settings on age as policies of TimescaleDB: set when the store is opened, and changed when a setting changed.
//!
//! Roll-ups are refreshed by this program and not by a policy (see `rollups`). A policy that drops events never erases
//! roll-ups: what is refreshed is only what was appended to since, and older events are refused.

use super::{fault::failed, rollups::Chores, schema::Level};
use crate::{
    Result,
    error::ErrorKind,
    telemetry::{Compression, Job, Policies, STORE},
};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection, PgPool, Row, postgres::PgRow};

/// The jobs on our tables: the table, the procedure, how often, when it last went well, failures, and the age in its
/// configuration in seconds.
const JOBS: &str = "SELECT coalesce(c.view_name, j.hypertable_name)::text, j.proc_name::text, \
    extract(epoch FROM j.schedule_interval)::float8, CASE WHEN isfinite(s.last_successful_finish) \
    THEN s.last_successful_finish END, coalesce(s.total_failures, 0)::bigint, \
    extract(epoch FROM coalesce(j.config ->> 'drop_after', j.config ->> 'compress_after')::interval)::float8 \
    FROM timescaledb_information.jobs AS j LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id \
    LEFT JOIN timescaledb_information.continuous_aggregates AS c \
    ON c.materialization_hypertable_schema = j.hypertable_schema \
    AND c.materialization_hypertable_name = j.hypertable_name \
    WHERE coalesce(c.view_schema, j.hypertable_schema) = $1 AND j.proc_name IN ('policy_retention', 'policy_compression') \
    ORDER BY j.job_id";

/// A job on one of our tables.
#[derive(Clone, Debug)]
pub struct Found {
    table: String,
    procedure: String,
    every: Option<f64>,
    last_success: Option<DateTime<Utc>>,
    failures: i64,
    age: Option<f64>,
}

impl Found {
    fn name(&self) -> String {
        match (self.procedure.as_str(), self.table.as_str()) {
            ("policy_compression", _) => "compression".to_owned(),
            (_, "minutes") => "minute retention".to_owned(),
            (_, "hours") => "hour retention".to_owned(),
            _ => "retention".to_owned(),
        }
    }

    /// As the port shows it.
    pub fn job(&self) -> Job {
        let millis = self.every.map(|seconds| (seconds * 1_000.0) as i64);
        Job {
            name: self.name(),
            every: millis.and_then(TimeDelta::try_milliseconds),
            last_success: self.last_success,
            failures: u64::try_from(self.failures).ok(),
        }
    }

    /// How often it has failed.
    pub fn failures(&self) -> i64 {
        self.failures
    }
}

fn decode(row: &PgRow) -> Result<Found, sqlx::Error> {
    Ok(Found {
        table: row.try_get(0)?,
        procedure: row.try_get(1)?,
        every: row.try_get(2)?,
        last_success: row.try_get(3)?,
        failures: row.try_get(4)?,
        age: row.try_get(5)?,
    })
}

/// The jobs on the tables of a schema.
pub async fn jobs(pool: &PgPool, schema: &str) -> Result<Vec<Found>> {
    let rows = sqlx::query(JOBS).bind(schema).fetch_all(pool).await.map_err(failed)?;
    rows.iter().map(decode).collect::<Result<_, _>>().map_err(failed)
}

/// A policy: on which table, by which procedure.
const POLICIES: [(&str, &str); 4] = [
    ("events", "compression"),
    ("events", "retention"),
    (Level::Minute.table(), "retention"),
    (Level::Hour.table(), "retention"),
];

/// Refuses ages that contradict each other.
pub fn check(policies: &Policies) -> Result<()> {
    let order = [policies.retain_raw, policies.retain_minutes, policies.retain_hours];
    let finite = order.into_iter().map(|age| age.unwrap_or(TimeDelta::MAX));
    if !finite.collect::<Vec<_>>().is_sorted() {
        let message = "roll-ups must be kept at least as long as what they are made from";
        let advice = "let `telemetry.retain_raw`, `telemetry.retain_minutes` and `telemetry.retain_hours` not fall";
        return Err(super::fault::refused(ErrorKind::Invalid, message, advice));
    }
    let least = TimeDelta::hours(1);
    let ages = [policies.compress_after, policies.retain_raw, policies.retain_minutes, policies.retain_hours];
    if ages.into_iter().flatten().any(|age| age < least) {
        return Err(crate::StoreError::invalid(STORE, "ages of telemetry are at least an hour"));
    }
    Ok(())
}

/// Makes the policies what the settings say; those that already are stay untouched, with what is known of their runs.
pub async fn apply(chores: &mut Chores, schema: &str, policies: &Policies) -> Result<()> {
    let connection = chores.connection()?;
    let rows = sqlx::query(JOBS).bind(schema).fetch_all(&mut *connection).await.map_err(failed)?;
    let found: Vec<Found> = rows.iter().map(decode).collect::<Result<_, _>>().map_err(failed)?;
    let ages = [policies.compress_after, policies.retain_raw, policies.retain_minutes, policies.retain_hours];
    for ((table, kind), age) in POLICIES.into_iter().zip(ages) {
        let procedure = format!("policy_{kind}");
        let existing = found.iter().find(|job| job.table == table && job.procedure == procedure);
        let wanted = age.map(|age| age.num_seconds());
        if existing.map(|job| job.age.map(|age| age as i64)) != wanted.map(Some) {
            set(connection, table, kind, existing.is_some(), wanted).await.map_err(failed)?;
        }
    }
    Ok(())
}

async fn set(
    connection: &mut PgConnection,
    table: &str,
    kind: &str,
    exists: bool,
    seconds: Option<i64>,
) -> Result<(), sqlx::Error> {
    if exists {
        let sql = format!("SELECT remove_{kind}_policy('{table}', if_exists => true)");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    if let Some(seconds) = seconds {
        let sql = format!("SELECT add_{kind}_policy('{table}', make_interval(secs => $1))");
        sqlx::query(AssertSqlSafe(sql)).bind(seconds as f64).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What compression does.
pub async fn compression(pool: &PgPool) -> Result<Compression> {
    let sql = "SELECT coalesce(sum(number_compressed_chunks), 0)::bigint, \
               coalesce(sum(before_compression_total_bytes), 0)::bigint, \
               coalesce(sum(after_compression_total_bytes), 0)::bigint FROM hypertable_compression_stats('events')";
    let row = sqlx::query(sql).fetch_one(pool).await.map_err(failed)?;
    let number = |column: usize| row.try_get::<i64, _>(column).map(i64::cast_unsigned).map_err(failed);
    Ok(Compression { partitions: number(0)?, bytes_before: number(1)?, bytes_after: number(2)? })
}
