//! Five million render events in TimescaleDB: the rate of ingest against a raw COPY of the same rows, the size before and
//! after compression, and how long the questions of a dashboard take.
//!
//! `cargo run --profile bench -p benches --bin telemetry [EVENTS]` prints it all. The server is one of its own, without
//! `fsync`, on both sides alike.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench stops at the first surprise")]

use benches::{Times, rate};
use chimera_stores::{
    Address, Clock, Guard, Principal, Role, Scope, Store, SystemClock,
    guard::{FaultPlan, GuardSettings, StoreMetrics},
    page::Slice,
    telemetry::{
        EventPageQuery, Fill, Measure, Policies, RankBy, RankOrder, RankingQuery, RenderEvent, Stage, StatsQuery,
        Subject, Telemetry, TimeRange, TimescaleSettings, TimescaleTelemetry,
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use prometheus_client::registry::Registry;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use test_servers::{Flavour, Postgres};
use uuid::Uuid;

/// Events of one append, and appends under way.
const BATCH: usize = 10_000;
const WRITERS: usize = 4;
/// How long the events reach back, in days.
const DAYS: i64 = 30;
const VIDEOS: u128 = 20_000;
const PERSONAS: u128 = 100;
const ORGANIZATION: Uuid = Uuid::from_u128(1);

#[tokio::main]
async fn main() {
    let events: usize = std::env::args().nth(1).map_or(5_000_000, |text| text.parse().expect("a number of events"));
    let settings = ["shared_buffers=2GB", "max_wal_size=8GB", "checkpoint_timeout=30min", "work_mem=64MB"];
    let server = Postgres::start_with(Flavour::Timescale, &settings);
    let url = server.create("telemetry").replace("postgres://", "timescaledb://");
    let settings = TimescaleSettings { policies: Policies::default(), ..TimescaleSettings::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let adapter = TimescaleTelemetry::open(&Address::new(url), settings, clock.clone()).await.unwrap();
    let patient = GuardSettings { deadline: Duration::from_secs(600), ..GuardSettings::default() };
    let metrics = StoreMetrics::register(&mut Registry::default());
    let guard = Guard::new(Store::Telemetry, patient, metrics, FaultPlan::default());
    let store = Telemetry::new(guard, Arc::new(adapter));
    let scope = Scope::new(ORGANIZATION, Principal::User(Uuid::from_u128(2)), Role::Admin);
    let now = clock.now();

    let took = ingest(&store, &scope, events, now).await;
    println!("appended {events} events in {:.1} s: {:.0} a second", took.as_secs_f64(), rate(events, took));
    let raw = copy(&server, events);
    println!("raw COPY of the same rows: {:.1} s, {:.0} a second", raw.as_secs_f64(), rate(events, raw));
    println!("ratio {:.2}", raw.as_secs_f64() / took.as_secs_f64());

    questions(&store, &scope, now, "roll-ups as the worker has left them so far").await;
    settle(&server, &store, &scope, now).await;
    questions(&store, &scope, now, "roll-ups up to date").await;
    compress(&server);
    questions(&store, &scope, now, "compressed").await;
}

/// Appends all events, in order of time, by several writers; the whole time. Making them takes part of it, which is a
/// small one.
async fn ingest(store: &Telemetry, scope: &Scope, events: usize, now: DateTime<Utc>) -> Duration {
    let batches = events.div_ceil(BATCH);
    let begun = Instant::now();
    stream::iter(0..batches)
        .map(|batch| async move {
            let batch = make(batch, events, now);
            let count = batch.len() as u64;
            assert_eq!(store.append(scope, &batch).await.unwrap().inserted, count);
        })
        .buffer_unordered(WRITERS)
        .collect::<Vec<_>>()
        .await;
    begun.elapsed()
}

fn make(batch: usize, events: usize, now: DateTime<Utc>) -> Vec<RenderEvent> {
    let mut random = StdRng::seed_from_u64(batch as u64);
    let first = batch * BATCH;
    let step = TimeDelta::days(DAYS).num_microseconds().expect("small") / i64::try_from(events).expect("small");
    (first..(first + BATCH).min(events))
        .map(|number| {
            let seconds: f64 = random.random_range(0.5_f64..8.0).exp();
            let back = step * i64::try_from(events - number).expect("small");
            // A video belongs to one persona, and four of five to one of that persona's four campaigns.
            let video = random.random_range(0..VIDEOS);
            let (persona, campaign) = (video % PERSONAS, video / PERSONAS % 5);
            RenderEvent {
                id: Uuid::from_u128(random.random()),
                video_id: Uuid::from_u128(video),
                persona_id: Uuid::from_u128(persona),
                campaign_id: (campaign > 0).then(|| Uuid::from_u128(persona * 10 + campaign)),
                stage: *Stage::ALL.get(number % Stage::ALL.len()).expect("a stage"),
                at: now - TimeDelta::microseconds(back),
                duration_ms: (seconds * 1000.0) as i64,
                cost_micros: random.random_range(0..2_000_000),
                frames: random.random_range(0..3_000),
                gpu_seconds: seconds,
                succeeded: random.random_bool(0.97),
            }
        })
        .collect()
}

/// The same rows by the server's own COPY into a hypertable of the same columns with one index by time.
fn copy(server: &Postgres, events: usize) -> Duration {
    let sql = |statements: &str| server.sql("telemetry", statements);
    let file = "/tmp/chimera-bench-events.bin";
    sql(&format!("COPY (SELECT * FROM chimera_telemetry.events ORDER BY at) TO '{file}' (FORMAT binary)"));
    sql("CREATE TABLE plain (LIKE chimera_telemetry.events); \
         SELECT create_hypertable('plain', 'at', chunk_time_interval => interval '1 day')");
    let begun = Instant::now();
    sql(&format!("COPY plain FROM '{file}' (FORMAT binary)"));
    let took = begun.elapsed();
    assert_eq!(sql("SELECT count(*) FROM plain").trim(), events.to_string());
    sql("DROP TABLE plain");
    sql(&format!("COPY (SELECT 1) TO PROGRAM 'rm -f {file}'"));
    took
}

/// Waits until the worker has rolled up every hour that is over.
async fn settle(server: &Postgres, store: &Telemetry, scope: &Scope, now: DateTime<Utc>) {
    let begun = Instant::now();
    let hour = now.timestamp().div_euclid(3600) * 3600;
    let left = format!("SELECT count(*) FROM chimera_telemetry.stale WHERE hour < to_timestamp({hour})");
    while server.sql("telemetry", &left).trim() != "0" {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("\nthe worker had caught up {:.1} s later", begun.elapsed().as_secs_f64());
    let storage = store.storage(scope).await.unwrap();
    for level in &storage.roll_ups {
        let bytes = level.bytes.unwrap_or_default();
        println!("roll-up {:?}: {:.0} MB, fresh to {:?}", level.resolution, bytes as f64 / 1e6, level.fresh_to);
    }
    println!("jobs: {:?}", storage.jobs);
}

fn compress(server: &Postgres) {
    let sql = |statements: &str| server.sql("telemetry", statements);
    let size = |what: &str| sql(&format!("SELECT pg_size_pretty(hypertable_size('chimera_telemetry.{what}'))"));
    println!("events before compression: {}", size("events").trim());
    let begun = Instant::now();
    sql("SELECT compress_chunk(chunk) FROM show_chunks('chimera_telemetry.events') AS chunk");
    println!("events after compression: {} ({:.1} s)", size("events").trim(), begun.elapsed().as_secs_f64());
    let ids = sql("SELECT pg_size_pretty(pg_total_relation_size('chimera_telemetry.event_ids'))");
    println!("ids: {}", ids.trim());
}

async fn questions(store: &Telemetry, scope: &Scope, now: DateTime<Utc>, state: &str) {
    println!("\n{state}:\n\n| question | p50 ms | p99 ms | resolution |\n|---|---|---|---|");
    let stats = |days: i64, width: TimeDelta, subject: Subject| {
        let range = TimeRange { from: now - TimeDelta::days(days), to: now };
        let first = range.from.timestamp().div_euclid(width.num_seconds()) * width.num_seconds();
        let edges = (0..)
            .map(|step| DateTime::from_timestamp(first + step * width.num_seconds(), 0).expect("a time"))
            .take_while(|edge| *edge < range.to)
            .collect();
        StatsQuery { subject, range, edges, fill: Fill::Null, measure: Measure::Duration, stages: Vec::new() }
    };
    let persona = Subject::Persona(Uuid::from_u128(7));
    for (name, query) in [
        ("the last hour by the minute", hour(now)),
        ("a day by the hour, all", stats(1, TimeDelta::hours(1), Subject::Organization)),
        ("30 days by the day, all", stats(30, TimeDelta::days(1), Subject::Organization)),
        ("30 days by the hour, all", stats(30, TimeDelta::hours(1), Subject::Organization)),
        ("30 days by the day, a persona", stats(30, TimeDelta::days(1), persona)),
    ] {
        let (mut times, mut resolution) = (Times::default(), String::new());
        for _ in 0..15 {
            let answer = times.measure(store.stats(scope, std::slice::from_ref(&query))).await.unwrap();
            resolution = answer.first().map(|stats| format!("{:?}", stats.resolution)).unwrap_or_default();
        }
        println!("| {name} | {:.0} | {:.0} | {resolution} |", times.quantile(0.5), times.quantile(0.99));
    }
    let range = TimeRange { from: now - TimeDelta::days(30), to: now };
    let ranking = RankingQuery {
        subject: Subject::Organization,
        range,
        by: RankBy::Persona,
        measure: Measure::Cost,
        order: RankOrder::Sum,
        stages: Vec::new(),
        limit: 10,
    };
    let mut times = Times::default();
    for _ in 0..15 {
        times.measure(store.rankings(scope, std::slice::from_ref(&ranking))).await.unwrap();
    }
    println!("| top 10 personas of 30 days | {:.0} | {:.0} | |", times.quantile(0.5), times.quantile(0.99));
    let page = EventPageQuery { subject: persona, range: None, stages: Vec::new(), slice: Slice::first(50) };
    let mut times = Times::default();
    for _ in 0..50 {
        times.measure(store.event_pages(scope, std::slice::from_ref(&page))).await.unwrap();
    }
    println!("| the newest 50 events of a persona | {:.1} | {:.1} | |", times.quantile(0.5), times.quantile(0.99));
}

fn hour(now: DateTime<Utc>) -> StatsQuery {
    let range = TimeRange { from: now - TimeDelta::hours(1), to: now };
    let first = range.from.timestamp().div_euclid(60) * 60;
    let edges = (0..61).map(|step| DateTime::from_timestamp(first + step * 60, 0).expect("a time")).collect();
    StatsQuery {
        subject: Subject::Organization,
        range,
        edges,
        fill: Fill::Null,
        measure: Measure::Duration,
        stages: Vec::new(),
    }
}
