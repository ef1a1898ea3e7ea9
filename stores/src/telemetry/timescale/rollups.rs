//! Keeping the roll-ups complete, and knowing which hours are not.
//!
//! An append marks the hours of its events in `stale`, in the same transaction, with the generation that `state` holds.
//! A refresh first raises the generation while no append is under way (the advisory lock, held for a moment): every mark
//! of an older generation then stands for events that are committed. It rolls those hours up, minutes first, and only
//! then removes their marks. So an hour without a mark is complete at every level, whatever arrives late, and whichever
//! process died in between; a reader takes the events themselves for hours with a mark. A watermark, which continuous
//! aggregates have by themselves, says nothing about late events below it.
//!
//! One process at a time refreshes or removes: the session's advisory lock decides which.

use super::{
    connect::Flavour,
    fault::failed,
    pages::instant,
    plan::{Kept, Segment},
    schema::{Level, roll_up},
};
use crate::{Result, telemetry::stats};
use chrono::{DateTime, Utc};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Row, pool::PoolConnection};

const HOUR: i64 = Level::Hour.width();
/// Hours rolled up at a time: what a transaction of ours or of TimescaleDB has to hold.
const RUN: i64 = 24 * HOUR;
/// Hours that one refresh takes on; the next one does the rest.
const MOST_HOURS: i64 = 24 * 366;

/// The keys of the advisory locks of one schema.
#[derive(Clone, Copy, Debug)]
pub struct Locks {
    /// Shared by appends, exclusive for the moment in which the generation is raised.
    pub appends: i64,
    /// Held by the process that refreshes or removes.
    pub chores: i64,
}

/// The keys for a schema.
pub async fn locks(pool: &PgPool, schema: &str) -> Result<Locks> {
    let sql = "SELECT hashtextextended('chimera telemetry appends ' || $1, 0), \
               hashtextextended('chimera telemetry chores ' || $1, 0)";
    let row = sqlx::query(sql).bind(schema).fetch_one(pool).await.map_err(failed)?;
    Ok(Locks { appends: row.try_get(0).map_err(failed)?, chores: row.try_get(1).map_err(failed)? })
}

/// A connection that holds the lock of chores. When it is dropped without [`Chores::end`], the connection goes with it,
/// and the lock with the connection.
pub struct Chores {
    connection: Option<PoolConnection<Postgres>>,
    locks: Locks,
    flavour: Flavour,
}

impl Chores {
    /// Takes the lock: waits for it, or answers `None` when another process has it.
    pub async fn begin(pool: &PgPool, locks: Locks, flavour: Flavour, wait: bool) -> Result<Option<Self>> {
        let mut connection = pool.acquire().await.map_err(failed)?;
        // Waiting longer than the sessions' lock time-out means that something is stuck: an error then.
        let sql = if wait { "SELECT true FROM pg_advisory_lock($1)" } else { "SELECT pg_try_advisory_lock($1)" };
        let locked: bool =
            sqlx::query_scalar(sql).bind(locks.chores).fetch_one(&mut *connection).await.map_err(failed)?;
        Ok(locked.then_some(Self { connection: Some(connection), locks, flavour }))
    }

    /// The connection.
    pub fn connection(&mut self) -> Result<&mut PgConnection> {
        let gone = || failed(sqlx::Error::PoolClosed);
        self.connection.as_deref_mut().ok_or_else(gone)
    }

    /// Gives the lock back.
    pub async fn end(mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let unlock = sqlx::query("SELECT pg_advisory_unlock($1)").bind(self.locks.chores);
        if unlock.execute(&mut *connection).await.is_err() {
            connection.close_on_drop();
        }
    }

    /// Rolls up stale hours that begin before `until`; how many.
    pub async fn refresh(&mut self, until: i64) -> Result<u64> {
        let (appends, flavour) = (self.locks.appends, self.flavour);
        let connection = self.connection()?;
        let due: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM stale WHERE hour < $1)")
            .bind(instant(until))
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if !due {
            return Ok(0);
        }
        let (generation, raw_from) = raise(connection, appends).await.map_err(failed)?;
        let hours = marked(connection, generation, until).await.map_err(failed)?;
        for (from, to) in runs(&hours) {
            // What retention has cut is no longer there to be rolled up: it was, before it was cut.
            let fresh = ceil_minute(raw_from).max(from);
            if fresh < to {
                match flavour {
                    Flavour::Timescale => refresh_views(connection, fresh, from, to).await,
                    Flavour::Plain => refresh_tables(connection, fresh, from, to).await,
                }
                .map_err(failed)?;
            }
            sqlx::query("DELETE FROM stale WHERE generation <= $1 AND hour >= $2 AND hour < $3")
                .bind(generation)
                .bind(instant(from))
                .bind(instant(to))
                .execute(&mut *connection)
                .await
                .map_err(failed)?;
        }
        Ok(hours.len() as u64)
    }
}

impl Drop for Chores {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

/// Raises the generation; the one before it, all of whose appends have ended, and from when on events are kept.
async fn raise(connection: &mut PgConnection, appends: i64) -> Result<(i64, i64), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(appends).execute(&mut *transaction).await?;
    let row = sqlx::query("UPDATE state SET generation = generation + 1 RETURNING generation - 1, raw_from")
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

async fn marked(connection: &mut PgConnection, generation: i64, until: i64) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT DISTINCT hour FROM stale WHERE generation <= $1 AND hour < $2 ORDER BY hour LIMIT $3";
    let query = sqlx::query_scalar(sql).bind(generation).bind(instant(until)).bind(MOST_HOURS);
    let hours: Vec<DateTime<Utc>> = query.fetch_all(connection).await?;
    Ok(hours.into_iter().map(|hour| hour.timestamp_micros()).collect())
}

/// Hours that follow one another, at most [`RUN`] together.
fn runs(hours: &[i64]) -> Vec<Segment> {
    let mut runs: Vec<Segment> = Vec::new();
    for &hour in hours {
        match runs.last_mut() {
            Some((from, to)) if *to == hour && *to - *from < RUN => *to += HOUR,
            _ => runs.push((hour, hour + HOUR)),
        }
    }
    runs
}

fn ceil_minute(time: i64) -> i64 {
    let width = Level::Minute.width();
    if time == i64::MIN { time } else { -(-time).div_euclid(width) * width }
}

/// The parts of each level that whole buckets of it cover.
fn windows(fresh: i64, from: i64, to: i64) -> [(Level, Segment); 3] {
    let day = Level::Day.width();
    let days = (from.div_euclid(day) * day, -(-to).div_euclid(day) * day);
    [(Level::Minute, (fresh, to)), (Level::Hour, (from, to)), (Level::Day, days)]
}

async fn refresh_views(connection: &mut PgConnection, fresh: i64, from: i64, to: i64) -> Result<(), sqlx::Error> {
    for (level, (from, to)) in windows(fresh, from, to) {
        // The procedure commits by itself, so it must not run inside a transaction.
        let sql = format!("CALL refresh_continuous_aggregate('{}', $1::timestamptz, $2::timestamptz)", level.table());
        sqlx::query(AssertSqlSafe(sql)).bind(instant(from)).bind(instant(to)).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn refresh_tables(connection: &mut PgConnection, fresh: i64, from: i64, to: i64) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for (level, (from, to)) in windows(fresh, from, to) {
        let table = level.table();
        let time = if level == Level::Minute { "at" } else { "bucket" };
        let remove = format!("DELETE FROM {table} WHERE bucket >= $1 AND bucket < $2");
        let select = roll_up(level, Flavour::Plain, &format!("WHERE {time} >= $1 AND {time} < $2"));
        for sql in [remove, format!("INSERT INTO {table} {select}")] {
            sqlx::query(AssertSqlSafe(sql)).bind(instant(from)).bind(instant(to)).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

/// From when on events are kept, and the stale hours that touch a range.
pub async fn kept(pool: &PgPool, (from, to): Segment) -> Result<(i64, Vec<i64>)> {
    let sql = "SELECT raw_from, ARRAY(SELECT DISTINCT hour FROM stale WHERE hour > $1 AND hour < $2 ORDER BY 1) \
               FROM state";
    let query = sqlx::query(sql).bind(instant(from.saturating_sub(HOUR))).bind(instant(to));
    let row = query.fetch_one(pool).await.map_err(failed)?;
    let hours: Vec<DateTime<Utc>> = row.try_get(1).map_err(failed)?;
    let stale = hours.into_iter().map(|hour| hour.timestamp_micros()).collect();
    Ok((row.try_get(0).map_err(failed)?, stale))
}

/// The oldest stale hour: what lies before it is in every roll-up.
pub async fn oldest_stale(pool: &PgPool) -> Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar("SELECT min(hour) FROM stale").fetch_one(pool).await.map_err(failed)
}

impl Kept {
    /// What is kept, with what the policies have dropped or are about to drop taken off.
    pub fn new(raw_from: i64, stale: Vec<i64>, policies: &crate::telemetry::Policies, now: DateTime<Utc>) -> Self {
        let from = |age: Option<chrono::TimeDelta>, width: i64| {
            let oldest = age.and_then(|age| now.checked_sub_signed(age)).map(stats::ceil_micros);
            oldest.map_or(i64::MIN, |oldest| oldest.div_euclid(width).saturating_mul(width))
        };
        Self {
            raw_from: raw_from.max(from(policies.retain_raw, Level::Minute.width())),
            // What drops roll-ups leaves whole chunks or days that reach into what is kept.
            minutes_from: from(policies.retain_minutes, Level::Minute.width()),
            hours_from: from(policies.retain_hours, Level::Hour.width()),
            stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_that_follow_one_another_are_taken_together() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[0, HOUR, 3 * HOUR]), [(0, 2 * HOUR), (3 * HOUR, 4 * HOUR)]);
        let many: Vec<i64> = (0..30).map(|hour| hour * HOUR).collect();
        assert_eq!(runs(&many), [(0, RUN), (RUN, 30 * HOUR)]);
    }

    #[test]
    fn windows_hold_whole_buckets() {
        let day = Level::Day.width();
        let [minutes, hours, days] = windows(-HOUR + 60_000_000, -HOUR, HOUR);
        assert_eq!((minutes.1, hours.1, days.1), ((-HOUR + 60_000_000, HOUR), (-HOUR, HOUR), (-day, day)));
        assert_eq!(windows(0, 0, day)[2].1, (0, day));
        assert_eq!(
            (ceil_minute(1), ceil_minute(60_000_000), ceil_minute(i64::MIN)),
            (60_000_000, 60_000_000, i64::MIN)
        );
    }
}
