//! The tables, in a PostgreSQL schema of their own, made and brought up to date under an advisory lock.
//!
//! | table | what |
//! |---|---|
//! | `state` | one row: the version, the flavour, from when on events are kept, the generation of marks |
//! | `events` | every event: a hypertable of weeks, or partitions of weeks with a default one for what lies outside |
//! | `event_ids` | the ids of the events in `events`, each with its time: what makes an append idempotent |
//! | `stale` | the hours whose roll-ups do not yet hold everything |
//! | `minutes`, `hours`, `days` | roll-ups, each made from the one before: continuous aggregates, or plain tables |
//!
//! **Why a table of ids.** A unique index of a hypertable (or of a partitioned table) must hold the time, so it cannot
//! keep an id from being stored twice with two times, and a look-up by id would have to visit every chunk. The narrow
//! table answers both: its primary key decides between concurrent appends, and the time beside each id leads to the one
//! chunk. It costs some 160 bytes an event for as long as the event is kept, and saves a unique index on each chunk.
//!
//! **Histograms.** A roll-up holds, for each measure, one four-byte entry an event (or, once there are many, one for
//! each distinct value of the histogram): the index in the upper 17 bits, the count in the lower 15. Entries are put
//! together by `string_agg`, which is written in C and makes merging two histograms a matter of appending bytes.
//!
//! Versions only go forward. Text of statements is put together from constants of this file alone.

use super::{
    connect::{Flavour, Server},
    fault::{failed, refused},
};
use crate::{Result, error::ErrorKind};
use sea_orm::sqlx::{self, AssertSqlSafe, Executor, PgPool, Postgres, Row, Transaction};

/// The newest version of the schema.
const VERSION: i32 = 1;
/// What sums of floats are scaled by, 2^-64: a sum of the largest floats must not overflow, and a power of two loses
/// nothing.
pub const SCALE: &str = "'5.421010862427522e-20'::float8";

/// A measure's prefix in roll-ups and its column in `events`.
pub const MEASURES: [(&str, &str); 4] =
    [("duration", "duration_ms"), ("cost", "cost_micros"), ("frames", "frames"), ("gpu", "gpu_seconds")];

/// What roll-ups are grouped by, after the bucket.
const KEYS: &str = "organization_id, persona_id, campaign_id, stage";

/// A roll-up's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// By the minute.
    Minute,
    /// By the hour, made from minutes.
    Hour,
    /// By the day in UTC, made from hours.
    Day,
}

impl Level {
    /// From fine to coarse, which is the order in which they are refreshed.
    pub const ALL: [Level; 3] = [Level::Minute, Level::Hour, Level::Day];

    /// The name of its table.
    pub const fn table(self) -> &'static str {
        match self {
            Level::Minute => "minutes",
            Level::Hour => "hours",
            Level::Day => "days",
        }
    }

    /// The width of its buckets in microseconds.
    pub const fn width(self) -> i64 {
        match self {
            Level::Minute => 60_000_000,
            Level::Hour => 3_600_000_000,
            Level::Day => 86_400_000_000,
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Level::Minute => "minute",
            Level::Hour => "hour",
            Level::Day => "day",
        }
    }

    const fn source(self) -> (&'static str, &'static str) {
        match self {
            Level::Minute => ("events", "at"),
            Level::Hour => ("minutes", "bucket"),
            Level::Day => ("hours", "bucket"),
        }
    }
}

/// The statement that computes a roll-up; `condition` follows its `FROM`.
pub fn roll_up(level: Level, flavour: Flavour, condition: &str) -> String {
    let (from, time) = level.source();
    let bucket = match flavour {
        Flavour::Timescale => format!("time_bucket('1 {}', {time})", level.unit()),
        Flavour::Plain => format!("date_trunc('{}', {time}, 'UTC')", level.unit()),
    };
    let columns: Vec<String> = MEASURES.iter().map(|(name, column)| measure_columns(level, name, column)).collect();
    let counts = match level {
        Level::Minute => "count(*) AS events, count(*) FILTER (WHERE NOT succeeded) AS failed",
        Level::Hour | Level::Day => "sum(events)::bigint AS events, sum(failed)::bigint AS failed",
    };
    format!(
        "SELECT {bucket} AS bucket, {KEYS}, {counts}, {} FROM {from} {condition} GROUP BY 1, 2, 3, 4, 5",
        columns.join(", ")
    )
}

fn measure_columns(level: Level, name: &str, column: &str) -> String {
    if level == Level::Minute {
        let scale = if name == "gpu" { format!(" * {SCALE}") } else { String::new() };
        return format!(
            "sum({column}{scale}) AS {name}_sum, min({column}) AS {name}_min, max({column}) AS {name}_max, \
             string_agg(histogram_entry({column}), ''::bytea) AS {name}_histogram"
        );
    }
    format!(
        "sum({name}_sum) AS {name}_sum, min({name}_min) AS {name}_min, max({name}_max) AS {name}_max, \
         histogram_merge({name}_histogram) AS {name}_histogram"
    )
}

/// Makes the schema, or brings it to this version; which flavour it is.
///
/// # Errors
/// `Unsupported` for a schema of a newer version or of the other flavour.
pub async fn prepare(pool: &PgPool, schema: &str, server: &Server, required: bool) -> Result<Flavour> {
    let mut transaction = pool.begin().await.map_err(failed)?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('chimera telemetry schema ' || $1, 0))";
    sqlx::query(lock).bind(schema).execute(&mut *transaction).await.map_err(failed)?;
    let known: bool = sqlx::query_scalar("SELECT to_regclass(format('%I.state', $1::text)) IS NOT NULL")
        .bind(schema)
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    let flavour = if known {
        existing(&mut transaction, server, required).await?
    } else {
        let flavour = if server.extension.is_some() { Flavour::Timescale } else { Flavour::Plain };
        create(&mut transaction, schema, flavour).await.map_err(failed)?;
        flavour
    };
    transaction.commit().await.map_err(failed)?;
    Ok(flavour)
}

async fn existing(
    transaction: &mut Transaction<'static, Postgres>,
    server: &Server,
    required: bool,
) -> Result<Flavour> {
    let row = sqlx::query("SELECT version, flavour FROM state").fetch_one(&mut **transaction).await.map_err(failed)?;
    let version: i32 = row.try_get(0).map_err(failed)?;
    let flavour: String = row.try_get(1).map_err(failed)?;
    if version > VERSION {
        let message = "the telemetry schema was written by a newer version of this program";
        return Err(refused(ErrorKind::Unsupported, message, "use that version or a newer one"));
    }
    let timescale = flavour == Flavour::Timescale.name();
    if timescale && server.extension.is_none() {
        let message = "the telemetry schema needs TimescaleDB, which is no longer in this database";
        return Err(refused(ErrorKind::Corrupt, message, "restore the database from a backup"));
    }
    if !timescale && required {
        let message = "the telemetry schema was made without TimescaleDB";
        let advice = "use a `postgres:` URL, or export the events, drop the schema and start anew";
        return Err(refused(ErrorKind::Unsupported, message, advice));
    }
    Ok(if timescale { Flavour::Timescale } else { Flavour::Plain })
}

async fn create(
    transaction: &mut Transaction<'static, Postgres>,
    schema: &str,
    flavour: Flavour,
) -> Result<(), sqlx::Error> {
    // The name was checked to be a plain word.
    let namespace =
        format!("DO $$ BEGIN IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA \"{schema}\"; END IF; END $$");
    run(transaction, namespace).await?;
    run(transaction, common()).await?;
    run(
        transaction,
        match flavour {
            Flavour::Timescale => timescale(),
            Flavour::Plain => plain(),
        },
    )
    .await?;
    for level in Level::ALL {
        run(transaction, indexes(level)).await?;
    }
    sqlx::query("INSERT INTO state (version, flavour) VALUES ($1, $2)")
        .bind(VERSION)
        .bind(flavour.name())
        .execute(&mut **transaction)
        .await
        .map(drop)
}

async fn run(transaction: &mut Transaction<'static, Postgres>, sql: String) -> Result<(), sqlx::Error> {
    transaction.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
}

/// `-9223372036854775808` stands for "every event that ever was is kept".
fn common() -> String {
    let gamma = crate::telemetry::histogram::LN_GAMMA;
    format!(
        "CREATE TABLE state (one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL, \
           flavour text NOT NULL, generation bigint NOT NULL DEFAULT 0, \
           raw_from bigint NOT NULL DEFAULT -9223372036854775808); \
         CREATE TABLE event_ids (organization_id uuid NOT NULL, id uuid NOT NULL, at timestamptz NOT NULL, \
           PRIMARY KEY (organization_id, id)); \
         CREATE INDEX event_ids_by_time ON event_ids USING brin (at) WITH (autosummarize = on, pages_per_range = 32); \
         CREATE TABLE stale (hour timestamptz NOT NULL, generation bigint NOT NULL, PRIMARY KEY (hour, generation)); \
         CREATE FUNCTION histogram_entry(value float8) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS \
           $$ SELECT int4send((CASE WHEN value < '2.2250738585072014e-308' THEN -65536 \
              ELSE ceil(ln(value) / '{gamma:?}')::int END << 15) | 1) $$; \
         CREATE FUNCTION histogram_compact(entries bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS \
           $$ BEGIN \
             IF length(entries) <= 256 THEN RETURN entries; END IF; \
             RETURN (SELECT string_agg(int4send((i << 15) | least(n - k * 32767, 32767)::int), ''::bytea ORDER BY i) \
               FROM (SELECT entry >> 15 AS i, sum(entry & 32767) AS n FROM (SELECT (get_byte(entries, o) << 24) | \
                 (get_byte(entries, o + 1) << 16) | (get_byte(entries, o + 2) << 8) | get_byte(entries, o + 3) AS entry \
                 FROM generate_series(0, length(entries) - 4, 4) AS o) AS one GROUP BY 1) AS whole \
               CROSS JOIN LATERAL generate_series(0, (n - 1)::bigint / 32767) AS k); \
           END $$; \
         CREATE AGGREGATE histogram_merge(bytea) (SFUNC = byteacat, STYPE = bytea, INITCOND = '', \
           FINALFUNC = histogram_compact, PARALLEL = SAFE); \
         CREATE TABLE {EVENTS}"
    )
}

/// The columns of an event. The stage is its place in the order of stages.
const EVENTS: &str = "events (organization_id uuid NOT NULL, id uuid NOT NULL, video_id uuid NOT NULL, \
    persona_id uuid NOT NULL, campaign_id uuid, stage smallint NOT NULL CHECK (stage BETWEEN 0 AND 4), \
    at timestamptz NOT NULL, duration_ms bigint NOT NULL, cost_micros bigint NOT NULL, frames bigint NOT NULL, \
    gpu_seconds float8 NOT NULL, succeeded boolean NOT NULL)";

/// One index for each subject; each ends as the order of pages does, so that a page is a walk along it.
const EVENT_INDEXES: &str = "CREATE INDEX events_by_organization ON events (organization_id, at, id); \
    CREATE INDEX events_by_persona ON events (organization_id, persona_id, at, id); \
    CREATE INDEX events_by_campaign ON events (organization_id, campaign_id, at, id) WHERE campaign_id IS NOT NULL; \
    CREATE INDEX events_by_video ON events (organization_id, video_id, at, id)";

/// Chunks of a week: what is compressed, and what is dropped, at a time. Narrower ones would make an import of sparse
/// years slow, for each takes some ten milliseconds to make. The roll-ups answer with what they hold alone
/// (`materialized_only`), for the statements here know better than a watermark which hours are complete.
fn timescale() -> String {
    let views: Vec<String> = Level::ALL
        .iter()
        .map(|&level| {
            format!(
                "; CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only = true, \
                 timescaledb.create_group_indexes = false) AS {} WITH NO DATA",
                level.table(),
                roll_up(level, Flavour::Timescale, "")
            )
        })
        .collect();
    format!(
        "SELECT create_hypertable('events', 'at', chunk_time_interval => INTERVAL '7 days', \
           create_default_indexes => false); {EVENT_INDEXES}; \
         ALTER TABLE events SET (timescaledb.compress, timescaledb.compress_segmentby = 'organization_id', \
           timescaledb.compress_orderby = 'at DESC, id DESC'){}",
        views.concat()
    )
}

/// What lies outside the partitions made ahead goes to the default one, whatever its time.
fn plain() -> String {
    let tables: Vec<String> = Level::ALL
        .iter()
        .map(|&level| {
            let table = level.table();
            let select = roll_up(level, Flavour::Plain, "");
            format!("; CREATE TABLE {table} AS {select} WITH NO DATA; CREATE INDEX {table}_by_time ON {table} (bucket)")
        })
        .collect();
    format!(
        "DROP TABLE events; CREATE TABLE {EVENTS} PARTITION BY RANGE (at); \
         CREATE TABLE events_default PARTITION OF events DEFAULT; {EVENT_INDEXES}{}",
        tables.concat()
    )
}

/// Without names: TimescaleDB keeps those of all schemas in one of its own, where names of ours would collide.
fn indexes(level: Level) -> String {
    let table = level.table();
    if level == Level::Minute {
        // Read for short ranges and the ends of long ones, and written most: one index is enough.
        return format!("CREATE INDEX ON {table} (organization_id, bucket)");
    }
    format!(
        "CREATE INDEX ON {table} (organization_id, bucket); \
         CREATE INDEX ON {table} (organization_id, persona_id, bucket); \
         CREATE INDEX ON {table} (organization_id, campaign_id, bucket)"
    )
}
