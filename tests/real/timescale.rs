//! Telemetry on real servers: what changes with the settings, what compression and retention leave of the answers, what
//! survives the server's death, and what an operator is told.

use crate::others::blocker;
use chimera_stores::page::Slice;
use chimera_stores::{
    Address, Clock, ErrorKind, ManualClock, Scope, StoreError, SystemClock,
    telemetry::{
        Appended, EventPageQuery, Fill, Measure, Policies, RankBy, RankOrder, RankingQuery, RenderEvent, Resolution,
        Stage, Stats, StatsQuery, Subject, TelemetryAdapter, TimeRange, TimescaleSettings, TimescaleTelemetry,
    },
};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use test_servers::{Flavour, Postgres, have};
use tokio::task::JoinSet;
use uuid::Uuid;

fn started(flavour: Flavour) -> Option<Postgres> {
    let name = if flavour == Flavour::Timescale { "timescale" } else { "postgres" };
    have(name, Postgres::found(flavour)).then(|| Postgres::start(flavour))
}

fn address(url: &str, flavour: Flavour) -> Address {
    let scheme = if flavour == Flavour::Timescale { "timescaledb" } else { "postgres" };
    Address::new(url.replacen("postgres", scheme, 1))
}

async fn open_with(
    server: &Postgres,
    flavour: Flavour,
    policies: Policies,
    clock: Arc<dyn Clock>,
) -> TimescaleTelemetry {
    let settings = TimescaleSettings { policies, ..TimescaleSettings::default() };
    TimescaleTelemetry::open(&address(&server.url("telemetry"), flavour), settings, clock).await.unwrap()
}

/// A store in a new database, with the machine's clock and no policies.
async fn open(server: &Postgres, flavour: Flavour) -> TimescaleTelemetry {
    server.create("telemetry");
    open_with(server, flavour, Policies::default(), Arc::new(SystemClock)).await
}

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

/// Midnight in UTC, some days ago.
fn days_ago(days: i64) -> DateTime<Utc> {
    (Utc::now() - TimeDelta::days(days)).duration_trunc(TimeDelta::days(1)).unwrap()
}

/// An event of one of seven personas, whose values are spread over some magnitudes.
fn event(number: u128, at: DateTime<Utc>) -> RenderEvent {
    let value = (number * 7_919 % 10_007) as i64;
    RenderEvent {
        id: Uuid::from_u128(number),
        video_id: Uuid::from_u128(10 + number % 50),
        persona_id: Uuid::from_u128(100 + number % 7),
        campaign_id: (!number.is_multiple_of(3)).then(|| Uuid::from_u128(200 + number % 5)),
        stage: Stage::ALL[(number % 5) as usize],
        at,
        duration_ms: value,
        cost_micros: value * value,
        frames: value % 100,
        gpu_seconds: value as f64 / 1_000.0,
        succeeded: !number.is_multiple_of(11),
    }
}

/// `count` events evenly over some days that begin at `from`.
fn spread(from: DateTime<Utc>, days: i64, count: u128) -> Vec<RenderEvent> {
    let step = TimeDelta::days(days) / i32::try_from(count).unwrap();
    (0..count).map(|number| event(number, from + step * i32::try_from(number).unwrap())).collect()
}

async fn append(store: &TimescaleTelemetry, events: &[RenderEvent]) {
    for events in events.chunks(10_000) {
        let appended = store.append(&scope(), events).await.unwrap();
        assert_eq!(appended, Appended { inserted: events.len() as u64, duplicates: 0 });
    }
}

fn by_day(subject: Subject, from: DateTime<Utc>, days: i64, measure: Measure) -> StatsQuery {
    StatsQuery {
        subject,
        range: TimeRange { from, to: from + TimeDelta::days(days) },
        edges: (0..days).map(|day| from + TimeDelta::days(day)).collect(),
        fill: Fill::Null,
        measure,
        stages: vec![],
    }
}

async fn ask(store: &TimescaleTelemetry, query: StatsQuery) -> Stats {
    store.stats(&scope(), &[query]).await.unwrap().remove(0)
}

/// Count, failed, sum, least, greatest.
type Exact = (u64, u64, Option<f64>, Option<f64>, Option<f64>);

/// What has to be the same whatever it was made from: everything but percentiles.
fn exact(stats: &Stats) -> Vec<Exact> {
    let one = |a: &chimera_stores::telemetry::Aggregate| (a.count, a.failed, a.sum, a.min, a.max);
    stats.buckets.iter().map(|bucket| one(&bucket.aggregate)).chain([one(&stats.total)]).collect()
}

/// What a plain list says of whole-number measures, by day.
fn model(events: &[RenderEvent], query: &StatsQuery) -> Vec<Exact> {
    let of = |from: DateTime<Utc>, to: DateTime<Utc>| {
        let inside: Vec<_> = events.iter().filter(|event| from <= event.at && event.at < to).collect();
        let values: Vec<i64> = inside.iter().map(|event| event.duration_ms).collect();
        let some = |value: Option<i64>| value.map(|value| value as f64);
        let sum = (!values.is_empty()).then(|| values.iter().sum::<i64>());
        let failed = inside.iter().filter(|event| !event.succeeded).count() as u64;
        let (min, max) = (values.iter().min().copied(), values.iter().max().copied());
        (values.len() as u64, failed, some(sum), some(min), some(max))
    };
    let day = |from: &DateTime<Utc>| of(*from, *from + TimeDelta::days(1));
    query.edges.iter().map(day).chain([of(query.range.from, query.range.to)]).collect()
}

fn jobs(server: &Postgres) -> Vec<String> {
    let sql = "SELECT job_id, proc_name, hypertable_name, \
               coalesce(config ->> 'drop_after', config ->> 'compress_after')::interval / 24 \
               FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY proc_name, hypertable_name";
    server.sql("telemetry", sql).lines().map(str::to_owned).collect()
}

fn failures(server: &Postgres) -> String {
    let sql = "SELECT coalesce(sum(total_failures), 0) FROM timescaledb_information.job_stats";
    server.sql("telemetry", sql).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_what_the_settings_say() {
    let Some(server) = started(Flavour::Timescale) else { return };
    server.create("telemetry");
    let days = |days| Some(TimeDelta::days(days));
    let all =
        Policies { compress_after: days(7), retain_raw: days(30), retain_minutes: days(90), retain_hours: days(365) };
    let set = |policies| open_with(&server, Flavour::Timescale, policies, Arc::new(SystemClock));
    let store = set(all).await;
    let first = jobs(&server);
    let ages: Vec<String> = first.iter().map(|job| job.split_once('|').unwrap().1.to_owned()).collect();
    let expected = [
        "policy_compression|events|07:00:00",
        "policy_retention|events|30:00:00",
        "policy_retention|hours|365:00:00",
        "policy_retention|minutes|90:00:00",
    ];
    assert_eq!(ages, expected);
    let storage = store.storage().await.unwrap();
    assert_eq!(storage.policies, all);
    let names: Vec<_> = storage.jobs.iter().map(|job| job.name.as_str()).collect();
    for name in ["roll-ups", "compression", "retention", "minute retention", "hour retention"] {
        assert!(names.contains(&name), "{names:?}");
    }
    drop(store);
    // The same settings leave the jobs alone; a changed one changes its job, and none removes it.
    drop(set(all).await);
    assert_eq!(jobs(&server), first);
    drop(set(Policies { retain_raw: days(60), retain_hours: None, ..all }).await);
    let second = jobs(&server);
    assert_eq!(second.len(), 3);
    assert!(second[1].ends_with("policy_retention|events|60:00:00") && second[1] != first[1], "{second:?}");
    assert_eq!((&second[0], &second[2]), (&first[0], &first[3]));
    drop(set(Policies::default()).await);
    assert!(jobs(&server).is_empty());
    assert_eq!(failures(&server), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_events_give_the_same_answers() {
    let Some(server) = started(Flavour::Timescale) else { return };
    let store = open(&server, Flavour::Timescale).await;
    let from = days_ago(10);
    let events = spread(from, 4, 20_000);
    append(&store, &events).await;
    let queries: Vec<StatsQuery> = [Subject::Organization, Subject::Persona(events[3].persona_id)]
        .into_iter()
        .chain([Subject::Video(events[5].video_id), Subject::Campaign(events[4].campaign_id.unwrap())])
        .flat_map(|subject| [Measure::Duration, Measure::GpuSeconds].map(|measure| by_day(subject, from, 4, measure)))
        .collect();
    let page = |subject| EventPageQuery { subject, range: None, stages: vec![Stage::Render], slice: Slice::first(50) };
    let pages: Vec<_> = queries.iter().map(|query| page(query.subject)).collect();
    let ranking = RankingQuery {
        subject: Subject::Organization,
        range: queries[0].range,
        by: RankBy::Campaign,
        measure: Measure::Cost,
        order: RankOrder::P95,
        stages: vec![],
        limit: 10,
    };
    let ids: Vec<Uuid> = events.iter().step_by(997).map(|event| event.id).collect();
    let answers = async || {
        let mut stats = store.stats(&scope(), &queries).await.unwrap();
        let mut rankings = store.rankings(&scope(), std::slice::from_ref(&ranking)).await.unwrap();
        // The time of the question is part of the answer.
        stats.iter_mut().for_each(|stats| stats.fresh_to = from);
        rankings.iter_mut().for_each(|ranking| ranking.fresh_to = from);
        let pages = store.event_pages(&scope(), &pages).await.unwrap();
        (stats, rankings, pages, store.events(&scope(), &ids).await.unwrap())
    };
    let before = answers().await;
    assert_eq!(exact(&before.0[0]), model(&events, &queries[0]));
    server.sql("telemetry", "SELECT compress_chunk(c) FROM show_chunks('chimera_telemetry.events') AS c");
    assert_eq!(answers().await, before);
    let compression = store.storage().await.unwrap().compression.unwrap();
    assert!(compression.partitions >= 1 && compression.bytes_after * 2 < compression.bytes_before, "{compression:?}");
    // A compressed chunk absorbs what it holds and takes what is late.
    let again = [events[7].clone(), RenderEvent { at: from, ..events[8].clone() }, event(1_000_000, from)];
    let appended = store.append(&scope(), &again).await.unwrap();
    assert_eq!(appended, Appended { inserted: 1, duplicates: 2 });
    assert_eq!(ask(&store, queries[0].clone()).await.total.count, 20_001);
    let rolled_up = store.work().await.unwrap();
    assert_eq!(rolled_up, 96);
    let days = ask(&store, queries[0].clone()).await;
    assert_eq!((days.resolution, days.total.count), (Resolution::Day, 20_001));
}

async fn late_events_are_counted_at_once(flavour: Flavour) {
    let Some(server) = started(flavour) else { return };
    let store = open(&server, flavour).await;
    let from = days_ago(5);
    let mut events = spread(from, 4, 4_000);
    append(&store, &events).await;
    let query = by_day(Subject::Organization, from, 4, Measure::Duration);
    let raw = ask(&store, query.clone()).await;
    assert_eq!((raw.resolution, exact(&raw)), (Resolution::Raw, model(&events, &query)));
    assert_eq!(store.work().await.unwrap(), 96);
    let rolled_up = ask(&store, query.clone()).await;
    assert_eq!((rolled_up.resolution, exact(&rolled_up)), (Resolution::Day, exact(&raw)));
    for (found, exact) in [(rolled_up.total.p50, raw.total.p50), (rolled_up.total.p99, raw.total.p99)] {
        let (found, exact) = (found.unwrap(), exact.unwrap());
        assert!((found - exact).abs() <= exact * 0.010_001, "{found} for {exact}");
    }
    // Into hours that are rolled up, in days that are: counted at once, and after the next roll-up as well.
    let late: Vec<_> = (0..50).map(|n| event(100_000 + n, from + TimeDelta::hours(n as i64 * 2 % 90))).collect();
    append(&store, &late).await;
    events.extend(late);
    let at_once = ask(&store, query.clone()).await;
    assert_eq!(exact(&at_once), model(&events, &query));
    assert!(at_once.fresh_to >= query.range.to);
    assert_eq!(store.work().await.unwrap(), 45);
    assert_eq!(exact(&ask(&store, query.clone()).await), model(&events, &query));
    assert_eq!(store.work().await.unwrap(), 0, "nothing is left to do");
    assert!(store.findings().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_are_counted_at_once_with_timescale() {
    late_events_are_counted_at_once(Flavour::Timescale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_are_counted_at_once_without() {
    late_events_are_counted_at_once(Flavour::Plain).await;
}

async fn what_is_removed_is_answered_from_roll_ups(flavour: Flavour) {
    let Some(server) = started(flavour) else { return };
    let store = open(&server, flavour).await;
    let from = days_ago(6);
    let events = spread(from, 5, 5_000);
    append(&store, &events).await;
    let query = by_day(Subject::Organization, from, 5, Measure::Duration);
    let expected = model(&events, &query);
    // Nothing was rolled up so far: retention does it before it removes.
    let before = from + TimeDelta::days(2) + TimeDelta::hours(7) + TimeDelta::minutes(31);
    let gone = events.iter().filter(|event| event.at < before).count() as u64;
    assert_eq!(store.retain(before).await.unwrap(), gone);
    assert_eq!(store.retain(before).await.unwrap(), 0);
    let video = by_day(Subject::Video(events[0].video_id), from, 5, Measure::Duration);
    let check = async || {
        let stats = ask(&store, query.clone()).await;
        assert_eq!((exact(&stats), stats.available_from), (expected.clone(), from));
        // An hour of the first day, and a range that no roll-up fits.
        let range = TimeRange { from, to: from + TimeDelta::hours(1) };
        let hour = ask(&store, StatsQuery { range, edges: vec![], ..query.clone() }).await;
        assert_eq!(hour.total.count, events.iter().filter(|event| event.at < range.to).count() as u64);
        assert_eq!((hour.resolution, hour.available_from), (Resolution::Minute, from));
        let of_video = ask(&store, video.clone()).await;
        assert_eq!((of_video.available_from, of_video.resolution), (before, Resolution::Raw));
        let of_one = |event: &&RenderEvent| event.video_id == events[0].video_id && event.at >= before;
        assert_eq!(of_video.total.count, events.iter().filter(of_one).count() as u64);
    };
    check().await;
    let late = store.append(&scope(), &[event(77_777, from)]).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Invalid, "{late:?}");
    // A late event in the very hour that was cut, and then a roll-up of it, must not erase what is gone.
    let kept = event(88_888, before + TimeDelta::minutes(2));
    append(&store, std::slice::from_ref(&kept)).await;
    store.work().await.unwrap();
    let stats = ask(&store, query.clone()).await;
    assert_eq!(stats.total.count, 5_001);
    let ids = [events[0].id, kept.id];
    assert_eq!(store.events(&scope(), &ids).await.unwrap(), [None, Some(kept)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_answered_from_roll_ups_with_timescale() {
    what_is_removed_is_answered_from_roll_ups(Flavour::Timescale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_answered_from_roll_ups_without() {
    what_is_removed_is_answered_from_roll_ups(Flavour::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let Some(mut server) = started(Flavour::Timescale) else { return };
    let store = Arc::new(open(&server, Flavour::Timescale).await);
    let from = days_ago(2);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..8_u128)
        .map(|writer| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                // Both ways in: as parameters and by COPY.
                let size = if writer % 2 == 0 { 100 } else { 1_500 };
                for round in 0_u128.. {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let first = writer * 10_000_000 + round * size;
                    let at = |number: u128| from + TimeDelta::seconds((number % 80_000) as i64);
                    let events: Vec<_> = (first..first + size).map(|number| event(number, at(number))).collect();
                    match store.append(&scope(), &events).await {
                        Ok(_) => acknowledged.push(first..first + size),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        let of_one = writer.await.unwrap();
        assert!(!of_one.is_empty());
        acknowledged.extend(of_one);
    }
    let mut sent = 0;
    for call in acknowledged {
        let ids: Vec<Uuid> = call.map(Uuid::from_u128).collect();
        sent += ids.len();
        let found = store.events(&scope(), &ids).await.unwrap();
        assert!(found.iter().all(Option::is_some), "an acknowledged event is lost");
    }
    // Calls that were cut off are stored whole or not at all, and ids and events agree.
    let sql = "SELECT count(*), count(*) % 100 FROM chimera_telemetry.events; \
               SELECT count(*) FROM chimera_telemetry.event_ids";
    let counts = server.sql("telemetry", sql);
    let (events, ids) = counts.trim().split_once('\n').unwrap();
    assert_eq!(events, format!("{ids}|0"));
    assert!(ids.parse::<usize>().unwrap() >= sent);
    store.work().await.unwrap();
    let stats = ask(&store, by_day(Subject::Organization, from, 2, Measure::Duration)).await;
    assert_eq!(stats.total.count.to_string(), ids);
    assert_eq!(failures(&server), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_makes_callers_wait_and_then_refuses() {
    let Some(server) = started(Flavour::Plain) else { return };
    let store = Arc::new(open(&server, Flavour::Plain).await);
    let from = days_ago(1);
    let lock = blocker(&server, "telemetry", "LOCK TABLE chimera_telemetry.event_ids IN SHARE MODE");
    let begun = Instant::now();
    let mut callers: JoinSet<_> = (0..8_u128)
        .map(|caller| {
            let store = store.clone();
            async move {
                let events: Vec<_> = (0..10_000).map(|number| event(caller * 100_000 + number, from)).collect();
                (store.append(&scope(), &events).await, begun.elapsed())
            }
        })
        .collect();
    // Five times 10,000 events fit the buffer. They wait for the lock, so the first to end are those that found no room.
    for _ in 0..3 {
        let (result, waited) = callers.join_next().await.unwrap().unwrap();
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Overloaded);
        assert!(waited > Duration::from_secs(1), "{waited:?}");
    }
    drop(lock);
    for (result, _) in callers.join_all().await {
        assert_eq!(result.unwrap(), Appended { inserted: 10_000, duplicates: 0 });
    }
    let count = ask(&store, by_day(Subject::Organization, from, 1, Measure::Duration)).await.total.count;
    assert_eq!(count, 50_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_dropped() {
    let Some(server) = started(Flavour::Plain) else { return };
    server.create("telemetry");
    let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
    let store = open_with(&server, Flavour::Plain, Policies::default(), clock.clone()).await;
    let partitions = || {
        let sql = "SELECT relname FROM pg_class WHERE relname ~ '^events_week_[0-9]+$' ORDER BY 1";
        server.sql("telemetry", sql).lines().count()
    };
    let in_default = || server.sql("telemetry", "SELECT count(*) FROM chimera_telemetry.events_default");
    assert_eq!(partitions(), 5);
    let old = clock.now() - TimeDelta::days(400);
    append(&store, &[event(1, clock.now()), event(2, old)]).await;
    assert_eq!(in_default().trim(), "1", "what is late has no partition of its own");
    // Nobody worked for a quarter of a year: what came meanwhile moves to its partition.
    clock.advance(TimeDelta::days(90));
    append(&store, &[event(3, clock.now())]).await;
    assert_eq!(in_default().trim(), "2");
    store.work().await.unwrap();
    assert_eq!((in_default().trim(), partitions()), ("1", 10));
    let query = StatsQuery { edges: vec![], ..by_day(Subject::Organization, old, 600, Measure::Frames) };
    assert_eq!(ask(&store, query.clone()).await.total.count, 3);
    assert_eq!(store.retain(clock.now() - TimeDelta::days(30)).await.unwrap(), 2);
    assert_eq!((in_default().trim(), partitions()), ("0", 5));
    let stats = ask(&store, query).await;
    assert_eq!((stats.total.count, stats.resolution), (3, Resolution::Day));
}

async fn refused(url: &str, settings: TimescaleSettings) -> StoreError {
    let opened = TimescaleTelemetry::open(&Address::new(url), settings, Arc::new(SystemClock)).await;
    opened.map(drop).unwrap_err()
}

fn told(error: &StoreError, kind: ErrorKind, message: &str, advice: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(message), "{error:?}");
    assert!(error.advice().unwrap_or_default().contains(advice), "{error:?}: {:?}", error.advice());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_is_wrong() {
    let Some(mut server) = started(Flavour::Timescale) else { return };
    let settings = TimescaleSettings::default;
    let url = |database: &str| server.url(database).replacen("postgres", "timescaledb", 1);
    let missing = refused(&url("missing"), settings()).await;
    told(&missing, ErrorKind::Unavailable, "does not exist", "create it");
    server.create("telemetry");
    crate::support::lock(&server);
    for url in [url("telemetry"), server.url("telemetry")] {
        let error = refused(&url.replacen("app@", "locked:mistaken@", 1), settings()).await;
        told(&error, ErrorKind::Unavailable, "refuses the user or the password", "telemetry.url");
        assert!(!format!("{error}{error:?}{:?}", error.advice()).contains("mistaken"), "{error:?}");
    }
    server.sql("postgres", "CREATE ROLE poor LOGIN");
    let poor = server.url("telemetry").replacen("app@", "poor@", 1);
    told(&refused(&poor, settings()).await, ErrorKind::Unavailable, "lacks a grant", "CREATE on the database");
    let poor = poor.replacen("postgres", "timescaledb", 1);
    told(&refused(&poor, settings()).await, ErrorKind::Unavailable, "could not be created", "superuser");
    let closed = format!("timescaledb://app@127.0.0.1:{}/telemetry", 1);
    told(&refused(&closed, settings()).await, ErrorKind::Unavailable, "cannot be reached", "server runs");
    let policies = Policies {
        retain_raw: Some(TimeDelta::days(30)),
        retain_minutes: Some(TimeDelta::days(10)),
        ..Policies::default()
    };
    let contradiction = refused(&url("telemetry"), TimescaleSettings { policies, ..settings() }).await;
    told(&contradiction, ErrorKind::Invalid, "at least as long", "retain_minutes");
    let name = TimescaleSettings { schema: "a\"b".to_owned(), ..settings() };
    told(&refused(&url("telemetry"), name).await, ErrorKind::Invalid, "name", "lower-case");
    // Made without the extension: the other scheme refuses it, this one goes on as before.
    server.create("plain");
    drop(
        TimescaleTelemetry::open(&Address::new(server.url("plain")), settings(), Arc::new(SystemClock)).await.unwrap(),
    );
    told(&refused(&url("plain"), settings()).await, ErrorKind::Unsupported, "without TimescaleDB", "`postgres:`");
    let store = open_with(&server, Flavour::Timescale, Policies::default(), Arc::new(SystemClock)).await;
    assert_eq!(store.capabilities().adapter, "timescale");
    assert!(store.findings().await.unwrap().is_empty());
    drop(store);
    server.sql("telemetry", "UPDATE chimera_telemetry.state SET version = 99");
    told(&refused(&url("telemetry"), settings()).await, ErrorKind::Unsupported, "newer version", "newer");
    server.create("fresh");
    let (with, without) = (url("telemetry"), url("fresh"));
    let plain = server.url("telemetry");
    server.set("shared_preload_libraries=");
    server.restart();
    // Compressed rows would be missing: neither scheme serves.
    for url in [&with, &plain] {
        let error = refused(url, settings()).await;
        told(&error, ErrorKind::Unavailable, "not preloaded", "shared_preload_libraries");
    }
    told(&refused(&without, settings()).await, ErrorKind::Unavailable, "does not preload", "shared_preload_libraries");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_start_and_work_at_the_same_time() {
    let Some(server) = started(Flavour::Timescale) else { return };
    server.create("telemetry");
    let starts = (0..6).map(|_| open_with(&server, Flavour::Timescale, Policies::default(), Arc::new(SystemClock)));
    let stores: Vec<_> = futures_util::future::join_all(starts).await.into_iter().map(Arc::new).collect();
    let from = days_ago(3);
    let events = spread(from, 2, 6_000);
    let tasks: Vec<_> = stores
        .iter()
        .map(|store| {
            let (store, events) = (store.clone(), events.clone());
            tokio::spawn(async move {
                let mut inserted = 0;
                for events in events.chunks(500) {
                    inserted += store.append(&scope(), events).await.unwrap().inserted;
                    store.work().await.unwrap();
                }
                inserted
            })
        })
        .collect();
    let mut inserted = 0;
    for task in tasks {
        inserted += task.await.unwrap();
    }
    assert_eq!(inserted, 6_000, "each event is stored by one of them");
    let query = by_day(Subject::Organization, from, 2, Measure::Duration);
    for store in &stores {
        assert_eq!(exact(&ask(store, query.clone()).await), model(&events, &query));
    }
    stores[0].work().await.unwrap();
    let rolled_up = ask(&stores[1], query.clone()).await;
    assert_eq!((rolled_up.resolution, exact(&rolled_up)), (Resolution::Day, model(&events, &query)));
}
