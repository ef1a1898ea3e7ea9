//! Aggregates over time: exact values, buckets, gaps, filters.

use super::*;

pub fn query(range: TimeRange) -> StatsQuery {
    StatsQuery {
        subject: Subject::Organization,
        range,
        edges: vec![],
        fill: Fill::None,
        measure: Measure::Duration,
        stages: vec![],
    }
}

/// The total of a subject over all time that these cases use.
pub async fn total(world: &TelemetryWorld, scope: &Scope, subject: Subject) -> Stats {
    let query = StatsQuery { subject, ..query(range(-1_000, 1_000_000)) };
    world.handle.stats(scope, &[query]).await.unwrap().remove(0)
}

pub async fn ask(world: &TelemetryWorld, query: StatsQuery) -> Stats {
    world.handle.stats(&world.scope, &[query]).await.unwrap().remove(0)
}

/// A question with buckets of so many seconds, aligned to the epoch.
fn every(width: u64, query: StatsQuery) -> StatsQuery {
    StatsQuery { edges: edges(&query.range, Cut::Width(Duration::from_secs(width)), Zone::UTC), ..query }
}

pub fn lasting(number: u128, seconds: i64, duration_ms: i64) -> RenderEvent {
    RenderEvent { duration_ms, ..event(number, seconds) }
}

fn starts(stats: &Stats) -> Vec<i64> {
    stats.buckets.iter().map(|bucket| (bucket.start - at(0)).num_seconds()).collect()
}

/// Fails unless the medians are these, as far as percentiles are exact.
fn assert_medians(stats: &Stats, expected: &[Option<f64>], what: impl std::fmt::Debug) {
    let found: Vec<_> = stats.buckets.iter().map(|bucket| bucket.aggregate.p50).collect();
    assert_eq!(found.len(), expected.len(), "{what:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(near(*found, *expected, stats.percentile_error), "{what:?}: {found:?} is not {expected:?}");
    }
}

pub async fn nothing_has_no_statistics(world: TelemetryWorld) {
    let stats = ask(&world, query(range(0, 100))).await;
    assert_eq!((stats.buckets, stats.total, stats.cost_micros), (vec![], Aggregate::default(), 0));
    for fill in [Fill::None, Fill::Null, Fill::Previous, Fill::Linear] {
        let stats = ask(&world, every(50, StatsQuery { fill, ..query(range(0, 100)) })).await;
        assert_eq!(stats.buckets.len(), if fill == Fill::None { 0 } else { 2 });
        assert!(stats.buckets.iter().all(|bucket| bucket.aggregate == Aggregate::default() && !bucket.filled));
    }
}

pub async fn a_total_is_exact(world: TelemetryWorld) {
    let event = |number: i64| RenderEvent { succeeded: number % 4 != 0, ..lasting(number as u128, number, number) };
    let events: Vec<_> = (1..=200).rev().map(event).collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    let stats = ask(&world, query(range(0, 1_000))).await;
    let expected = Aggregate {
        count: 200,
        failed: 50,
        sum: Some(20_100.0),
        avg: Some(100.5),
        min: Some(1.0),
        max: Some(200.0),
        p50: Some(100.0),
        p95: Some(190.0),
        p99: Some(198.0),
    };
    assert_same(&stats.total, &expected, stats.percentile_error, "the total");
    assert_eq!(stats.cost_micros, 1_400);
    assert!(stats.buckets.is_empty());
}

pub async fn every_measure_has_its_values(world: TelemetryWorld) {
    let event = RenderEvent { duration_ms: 3, cost_micros: 5, frames: 8, gpu_seconds: 0.1 + 0.2, ..event(1, 0) };
    world.handle.append(&world.scope, &[event]).await.unwrap();
    let measures =
        [(Measure::Duration, 3.0), (Measure::Cost, 5.0), (Measure::Frames, 8.0), (Measure::GpuSeconds, 0.1 + 0.2)];
    for (measure, value) in measures {
        let stats = ask(&world, StatsQuery { measure, ..query(range(0, 10)) }).await;
        let all = Some(value);
        let expected =
            Aggregate { count: 1, failed: 0, sum: all, avg: all, min: all, max: all, p50: all, p95: all, p99: all };
        assert_same(&stats.total, &expected, stats.percentile_error, measure);
        assert_eq!(stats.cost_micros, 5);
    }
}

pub async fn buckets_are_aligned_to_the_epoch(world: TelemetryWorld) {
    // 2025-12-31T00:00:00Z is a multiple of a minute, and is 1 s past a multiple of 7 s.
    assert_eq!(at(0).timestamp() % 7, 1);
    let events = [lasting(1, 0, 1), lasting(2, 5, 2), lasting(3, 6, 4), lasting(4, 59, 8), lasting(5, 62, 16)];
    world.handle.append(&world.scope, &events).await.unwrap();
    let minute = ask(&world, every(60, query(range(0, 120)))).await;
    assert_eq!(starts(&minute), [0, 60]);
    let week = ask(&world, every(7, query(range(0, 120)))).await;
    assert_eq!(starts(&week), [-1, 6, 55, 62]);
    // The first bucket lies before the range, and holds only what is inside it.
    let cut = ask(&world, every(7, StatsQuery { fill: Fill::Null, ..query(range(5, 14)) })).await;
    assert_eq!(starts(&cut), [-1, 6, 13]);
    assert_medians(&cut, &[Some(2.0), Some(4.0), None], "cut");
    // Before the epoch buckets are aligned just the same.
    let old = RenderEvent { at: DateTime::from_timestamp(-1, 0).unwrap(), ..event(9, 0) };
    world.handle.append(&world.scope, &[old]).await.unwrap();
    let around =
        TimeRange { from: DateTime::from_timestamp(-100, 0).unwrap(), to: DateTime::from_timestamp(100, 0).unwrap() };
    let old = ask(&world, every(60, query(around))).await;
    assert_eq!(old.buckets[0].start.timestamp(), -60);
    assert_eq!(old.buckets.len(), 1);
}

pub async fn gaps_are_filled_as_asked(world: TelemetryWorld) {
    let events = [lasting(1, 10, 10), lasting(2, 40, 40), lasting(3, 41, 60)];
    world.handle.append(&world.scope, &events).await.unwrap();
    let ask = |fill| ask(&world, every(10, StatsQuery { fill, ..query(range(0, 60)) }));
    let bare = ask(Fill::None).await;
    assert_eq!(starts(&bare), [10, 40]);
    let cases = [
        (Fill::Null, [None, Some(10.0), None, None, Some(40.0), None]),
        (Fill::Previous, [None, Some(10.0), Some(10.0), Some(10.0), Some(40.0), Some(40.0)]),
        (Fill::Linear, [None, Some(10.0), Some(20.0), Some(30.0), Some(40.0), None]),
    ];
    for (fill, expected) in cases {
        let stats = ask(fill).await;
        assert_eq!(starts(&stats), [0, 10, 20, 30, 40, 50]);
        assert_medians(&stats, &expected, fill);
        let counts: Vec<u64> = stats.buckets.iter().map(|bucket| bucket.aggregate.count).collect();
        assert_eq!(counts, [0, 1, 0, 0, 2, 0]);
        for (bucket, known) in stats.buckets.iter().zip(counts) {
            assert_eq!(bucket.filled, known == 0 && bucket.aggregate.p50.is_some(), "{fill:?}");
        }
        assert_same(&stats.total, &bare.total, stats.percentile_error, fill);
    }
    let linear = ask(Fill::Linear).await;
    assert!(near(linear.buckets[2].aggregate.sum, Some(10.0 + 90.0 / 3.0), 0.0));
}

pub async fn statistics_are_filtered_by_subject_and_stage(world: TelemetryWorld) {
    let events = [
        event(1, 0),
        RenderEvent { video_id: id(11), ..event(2, 1) },
        RenderEvent { persona_id: id(21), stage: Stage::Voice, ..event(3, 2) },
        RenderEvent { campaign_id: None, stage: Stage::Upload, ..event(4, 3) },
    ];
    world.handle.append(&world.scope, &events).await.unwrap();
    let counts = [
        (Subject::Organization, vec![], 4),
        (Subject::Video(id(10)), vec![], 3),
        (Subject::Video(id(99)), vec![], 0),
        (Subject::Persona(id(21)), vec![], 1),
        (Subject::Campaign(id(30)), vec![], 3),
        (Subject::Organization, vec![Stage::Voice, Stage::Upload], 2),
        (Subject::Campaign(id(30)), vec![Stage::Upload], 0),
        (Subject::Organization, Stage::ALL.to_vec(), 4),
    ];
    for (subject, stages, count) in counts {
        let stats = ask(&world, StatsQuery { subject, stages, ..query(range(0, 10)) }).await;
        assert_eq!((stats.total.count, stats.cost_micros), (count, 7 * count as i64), "{subject:?}");
    }
}

pub async fn many_statistics_come_in_one_batch(world: TelemetryWorld) {
    let events: Vec<_> = (0..300_u128)
        .map(|number| RenderEvent { persona_id: id(number % 100), ..lasting(number, number as i64, number as i64) })
        .collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    let persona = |number| StatsQuery { subject: Subject::Persona(id(number)), ..query(range(0, 1_000)) };
    let mut queries: Vec<_> = (0..100).map(persona).collect();
    queries.push(every(100, StatsQuery { fill: Fill::Linear, ..persona(5) }));
    queries.push(every(100, StatsQuery { fill: Fill::None, ..persona(5) }));
    queries.push(persona(1_000));
    queries.push(StatsQuery { measure: Measure::Frames, ..persona(5) });
    queries.push(persona(5));
    let batch = world.handle.stats(&world.scope, &queries).await.unwrap();
    assert_eq!(batch.len(), queries.len());
    for (number, stats) in batch.iter().take(100).enumerate() {
        assert_eq!(stats.total.sum, Some((3 * number + 300) as f64), "persona {number}");
    }
    for (query, stats) in queries.iter().zip(&batch) {
        let alone = ask(&world, query.clone()).await;
        assert_same(&alone.total, &stats.total, stats.percentile_error, query);
        assert_eq!((alone.cost_micros, starts(&alone)), (stats.cost_micros, starts(stats)), "{query:?}");
    }
    assert_eq!(batch[100].buckets.len(), 10);
    assert_eq!(batch[101].buckets.len(), 3);
    assert_eq!(batch[102].total.count, 0);
}

pub async fn costs_are_exact_beyond_floats(world: TelemetryWorld) {
    let costing = |number, cost_micros| RenderEvent { cost_micros, ..event(number, 0) };
    let odd = (1_i64 << 53) + 1;
    world.handle.append(&world.scope, &[costing(1, odd), costing(2, odd), costing(3, 1)]).await.unwrap();
    assert_eq!(ask(&world, query(range(0, 10))).await.cost_micros, 2 * odd + 1);
    // A sum beyond what the type can hold is the most it can.
    world.handle.append(&world.scope, &[costing(4, i64::MAX), costing(5, i64::MAX)]).await.unwrap();
    let stats = ask(&world, StatsQuery { measure: Measure::Cost, ..query(range(0, 10)) }).await;
    assert_eq!(stats.cost_micros, i64::MAX);
    assert!(stats.total.sum.unwrap() > i64::MAX as f64);
    let vast = RenderEvent { gpu_seconds: f64::MAX, ..event(6, 0) };
    world.handle.append(&world.scope, &[vast.clone(), RenderEvent { id: id(7), ..vast }]).await.unwrap();
    let stats = ask(&world, StatsQuery { measure: Measure::GpuSeconds, ..query(range(0, 10)) }).await;
    assert!(stats.total.sum.unwrap().is_finite() && stats.total.avg.unwrap().is_finite());
}

pub async fn a_range_is_half_open(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0), event(2, 5), event(3, 10)]).await.unwrap();
    let world = &world;
    let count = |range| async move { ask(world, query(range)).await.total.count };
    assert_eq!(count(range(0, 10)).await, 2);
    assert_eq!(count(range(0, 11)).await, 3);
    assert_eq!(count(range(1, 10)).await, 1);
    let fine = |from: i64, to: i64| TimeRange {
        from: at(5) + TimeDelta::nanoseconds(from),
        to: at(5) + TimeDelta::nanoseconds(to),
    };
    assert_eq!(count(fine(0, 1)).await, 1);
    assert_eq!(count(fine(1, 2_000)).await, 0);
    assert_eq!(count(fine(-1, 0)).await, 0);
}

pub async fn arguments_out_of_bounds_are_refused(world: TelemetryWorld) {
    let cut = |edges: Vec<DateTime<Utc>>, to| StatsQuery { edges, ..query(range(0, to)) };
    let refused = [
        query(range(5, 5)),
        query(range(6, 5)),
        cut(vec![at(1)], 5),
        cut(vec![at(0), at(5)], 5),
        cut(vec![at(0), at(2), at(2)], 5),
        cut(vec![at(0), at(3), at(2)], 5),
        cut(vec![at(0), at(2) + TimeDelta::nanoseconds(1)], 5),
        cut((-1..=10_000).map(at).collect(), 10_001),
    ];
    for query in refused {
        let result = world.handle.stats(&world.scope, &[self::query(range(0, 5)), query.clone()]).await;
        assert_eq!(kind(result), ErrorKind::Invalid, "{:?} with {} edges", query.range, query.edges.len());
    }
    world.handle.append(&world.scope, &[event(1, 0)]).await.unwrap();
    let most = every(1, StatsQuery { fill: Fill::Null, ..query(range(0, 10_000)) });
    assert_eq!(ask(&world, most).await.buckets.len(), 10_000);
    // The widest that the types allow.
    let always = TimeRange { from: DateTime::<Utc>::MIN_UTC, to: DateTime::<Utc>::MAX_UTC };
    let edges = edges(&always, Cut::Width(Duration::MAX), Zone::UTC);
    let widest = ask(&world, StatsQuery { edges, fill: Fill::Linear, ..query(always) }).await;
    assert_eq!(widest.total.count, 1);
    assert!(widest.buckets.iter().any(|bucket| bucket.aggregate.count == 1));
}
