//! Partitions made ahead, and the removal of what is old.
//!
//! With TimescaleDB chunks come and go by themselves, and its retention policy drops them; without it weeks are made
//! ahead of time, and what lies outside of them (an event that is years late) goes to the default partition. Removal is
//! the same for both: what is removed is rolled up first, whole partitions are dropped, what is left of the last one is
//! deleted row by row, and at last the ids go, whose events are gone.

use super::{connect::Flavour, fault::failed, pages::instant, rollups::Chores, schema::Level};
use crate::{Result, telemetry::Policies};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection, Executor, PgConnection};

/// The width of a partition without TimescaleDB: a quarter of a year is thirteen of them.
const WEEK: i64 = 7 * Level::Day.width();
/// Weeks made ahead of this one: more than an event may lie in the future, and than a worker may be away.
const AHEAD: i64 = 3;
/// Ids removed at a time.
const CHUNK: i64 = 50_000;

/// Makes the partitions of this week and those ahead of it. What the default partition holds of them moves.
pub async fn make_partitions(chores: &mut Chores, now: DateTime<Utc>) -> Result<()> {
    let connection = chores.connection()?;
    let known = partitions(connection).await.map_err(failed)?;
    let this = now.timestamp_micros().div_euclid(WEEK);
    for week in (this - 1..=this + AHEAD).filter(|week| !known.contains(week)) {
        make_partition(connection, week).await.map_err(failed)?;
    }
    Ok(())
}

async fn make_partition(connection: &mut PgConnection, week: i64) -> Result<(), sqlx::Error> {
    let (from, to) = (instant(week * WEEK), instant((week + 1) * WEEK));
    let name = format!("events_week_{week}");
    let bounds = format!("FROM ('{}') TO ('{}')", from.to_rfc3339(), to.to_rfc3339());
    let mut transaction = connection.begin().await?;
    let create = format!("CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)");
    transaction.execute(AssertSqlSafe(create)).await?;
    let moved = format!(
        "WITH moved AS (DELETE FROM events_default WHERE at >= $1 AND at < $2 RETURNING *) \
         INSERT INTO {name} SELECT * FROM moved"
    );
    sqlx::query(AssertSqlSafe(moved)).bind(from).bind(to).execute(&mut *transaction).await?;
    transaction
        .execute(AssertSqlSafe(format!("ALTER TABLE events ATTACH PARTITION {name} FOR VALUES {bounds}")))
        .await?;
    transaction.commit().await
}

/// The weeks since 1970 that have a partition.
async fn partitions(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let sql = "SELECT substring(c.relname FROM '^events_week_(-?[0-9]+)$')::bigint FROM pg_inherits AS i \
               JOIN pg_class AS c ON c.oid = i.inhrelid \
               WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_week_-?[0-9]+$'";
    sqlx::query_scalar(sql).fetch_all(connection).await
}

/// Removes events before `before`; how many.
pub async fn remove(chores: &mut Chores, flavour: Flavour, before: i64) -> Result<u64> {
    chores.refresh(before).await?;
    let connection = chores.connection()?;
    // First of all: from now on nobody takes these events for kept.
    sqlx::query("UPDATE state SET raw_from = greatest(raw_from, $1)")
        .bind(before)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    drop_partitions(connection, flavour, before).await.map_err(failed)?;
    sqlx::query("DELETE FROM events WHERE at < $1")
        .bind(instant(before))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    remove_ids(connection, before).await.map_err(failed)
}

async fn drop_partitions(connection: &mut PgConnection, flavour: Flavour, before: i64) -> Result<(), sqlx::Error> {
    match flavour {
        Flavour::Timescale => {
            let sql = "SELECT count(*) FROM drop_chunks('events', older_than => $1::timestamptz)";
            sqlx::query(sql).bind(instant(before)).execute(connection).await?;
        }
        Flavour::Plain => {
            for week in partitions(connection).await?.into_iter().filter(|week| (week + 1) * WEEK <= before) {
                let sql = format!("DROP TABLE events_week_{week}");
                (&mut *connection).execute(AssertSqlSafe(sql)).await?;
            }
        }
    }
    Ok(())
}

/// Ids without an event. An event that arrives late in this very moment keeps its id.
async fn remove_ids(connection: &mut PgConnection, before: i64) -> Result<u64, sqlx::Error> {
    let sql = "DELETE FROM event_ids WHERE ctid = ANY (ARRAY(SELECT i.ctid FROM event_ids AS i WHERE i.at < $1 \
               AND NOT EXISTS (SELECT FROM events AS e WHERE e.organization_id = i.organization_id AND e.at = i.at \
               AND e.id = i.id) LIMIT $2))";
    let mut total = 0;
    loop {
        let done = sqlx::query(sql).bind(instant(before)).bind(CHUNK).execute(&mut *connection).await?;
        total += done.rows_affected();
        if done.rows_affected() < CHUNK.cast_unsigned() {
            return Ok(total);
        }
    }
}

/// Drops roll-ups past their age, where no policy of TimescaleDB does it.
pub async fn drop_roll_ups(chores: &mut Chores, policies: &Policies, now: DateTime<Utc>) -> Result<()> {
    let ages = [(Level::Minute, policies.retain_minutes), (Level::Hour, policies.retain_hours)];
    let connection = chores.connection()?;
    for (level, age) in ages {
        let Some(before) = age.and_then(|age: TimeDelta| now.checked_sub_signed(age)) else { continue };
        let sql = format!("DELETE FROM {} WHERE bucket < date_trunc('day', $1::timestamptz, 'UTC')", level.table());
        sqlx::query(AssertSqlSafe(sql)).bind(before).execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}
