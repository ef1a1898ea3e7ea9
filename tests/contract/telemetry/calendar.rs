//! Statistics by the calendar of a place, of the period before, and how fresh answers are.

use super::{
    statistics::{ask, lasting, query},
    *,
};

const BERLIN: Zone = Zone::Europe__Berlin;

fn instant(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn between(from: &str, to: &str) -> TimeRange {
    TimeRange { from: instant(from), to: instant(to) }
}

fn cut(range: TimeRange, cut: Cut, zone: Zone) -> StatsQuery {
    StatsQuery { edges: edges(&range, cut, zone), ..query(range) }
}

fn hours(hours: u64) -> Cut {
    Cut::Width(Duration::from_secs(hours * 3_600))
}

/// One event at half past every hour of the range, once the clock has passed it.
async fn every_hour(world: &TelemetryWorld, range: TimeRange, first: u128) {
    world.clock.advance((range.to - world.clock.now()).max(TimeDelta::zero()));
    let count = (range.to - range.from).num_hours();
    let event = |hour: i64| RenderEvent {
        at: range.from + TimeDelta::minutes(60 * hour + 30),
        ..lasting(first + u128::from(hour.cast_unsigned()), 0, hour)
    };
    let events: Vec<_> = (0..count).map(event).collect();
    world.handle.append(&world.scope, &events).await.unwrap();
}

fn counts(stats: &Stats) -> Vec<u64> {
    stats.buckets.iter().map(|bucket| bucket.aggregate.count).collect()
}

pub async fn a_day_of_daylight_saving_has_23_or_25_hours(world: TelemetryWorld) {
    let spring = between("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z");
    let autumn = between("2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z");
    for (range, long) in [(spring, 23), (autumn, 25)] {
        let world = &world;
        every_hour(world, range, u128::from(long) * 1_000).await;
        let days = ask(world, cut(range, Cut::Unit(Unit::Day), BERLIN)).await;
        assert_eq!(counts(&days), [24, long, 24]);
        assert_eq!(days.buckets[1].start, range.from + TimeDelta::days(1));
        assert_eq!(days.buckets[2].start, range.from + TimeDelta::hours(24 + long.cast_signed()));
        assert_eq!(days.buckets[1].aggregate.min, Some(24.0));
        assert_eq!(days.buckets[1].aggregate.max, Some(23.0 + long as f64));
        assert_eq!(days.total.count, 48 + long);
        // The day alone, by its hours and by its quarters.
        let day = TimeRange { from: days.buckets[1].start, to: days.buckets[2].start };
        assert_eq!(counts(&ask(world, cut(day, hours(1), BERLIN)).await), vec![1; long as usize]);
        assert_eq!(counts(&ask(world, cut(day, hours(6), BERLIN)).await), [long - 18, 6, 6, 6]);
        // In UTC the same range has four days, two of them cut.
        let utc = counts(&ask(world, cut(range, Cut::Unit(Unit::Day), Zone::UTC)).await);
        assert_eq!((utc.len(), utc.iter().sum::<u64>()), (4, 48 + long));
    }
}

pub async fn gaps_of_uneven_buckets_are_filled_by_time(world: TelemetryWorld) {
    // Days of 24, 23, 24 hours: the second begins after 24 of the 47 hours between the first and the third.
    let range = between("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z");
    world.clock.advance(range.to - world.clock.now());
    let first = RenderEvent { at: range.from, duration_ms: 0, ..event(1, 0) };
    let last = RenderEvent { at: instant("2026-03-29T23:00:00Z"), duration_ms: 4_700, ..event(2, 0) };
    world.handle.append(&world.scope, &[first, last]).await.unwrap();
    let filled = |fill| StatsQuery { fill, ..cut(range, Cut::Unit(Unit::Day), BERLIN) };
    let linear = ask(&world, filled(Fill::Linear)).await;
    assert_eq!(counts(&linear), [1, 0, 1]);
    assert!(linear.buckets[1].filled);
    assert!(near(linear.buckets[1].aggregate.avg, Some(2_400.0), 0.0), "{:?}", linear.buckets);
    let previous = ask(&world, filled(Fill::Previous)).await;
    assert_eq!((counts(&previous), previous.buckets[1].aggregate.max), (vec![1, 0, 1], Some(0.0)));
    let null = ask(&world, filled(Fill::Null)).await;
    assert_eq!((null.buckets.len(), null.buckets[1].aggregate.max), (3, None));
    assert_eq!(ask(&world, filled(Fill::None)).await.buckets.len(), 2);
}

pub async fn weeks_and_months_are_those_of_the_calendar(world: TelemetryWorld) {
    let year = between("2024-12-31T23:00:00Z", "2025-12-31T23:00:00Z");
    let event = |day: i64| RenderEvent {
        at: year.from + TimeDelta::hours(24 * day + 12),
        ..event(u128::from(day.cast_unsigned()), 0)
    };
    let events: Vec<_> = (0..365).map(event).collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    let months = ask(&world, cut(year, Cut::Unit(Unit::Month), BERLIN)).await;
    assert_eq!(counts(&months), [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
    let weeks = counts(&ask(&world, cut(year, Cut::Unit(Unit::Week), BERLIN)).await);
    // 2025 began on a Wednesday and ended on one.
    assert_eq!((weeks.len(), weeks[0], weeks[52]), (53, 5, 3));
    assert!(weeks[1..52].iter().all(|count| *count == 7));
    let round = ask(&world, StatsQuery { fill: Fill::Null, ..cut(year, Cut::AtMost(20), BERLIN) }).await;
    assert_eq!(counts(&round), counts(&months));
}

pub async fn a_period_is_asked_with_the_one_before(world: TelemetryWorld) {
    every_hour(&world, between("2025-10-31T23:00:00Z", "2025-12-31T23:00:00Z"), 0).await;
    let december = between("2025-11-30T23:00:00Z", "2025-12-31T23:00:00Z");
    let steps = Steps::new(&december, Cut::Unit(Unit::Month), BERLIN).unwrap();
    let november = steps.previous(&december).unwrap();
    assert_eq!(november, between("2025-10-31T23:00:00Z", "2025-11-30T23:00:00Z"));
    let question = |range: &TimeRange| StatsQuery { edges: steps.edges(range).unwrap(), ..query(*range) };
    let both = [question(&december), question(&november)];
    let found = world.handle.stats(&world.scope, &both).await.unwrap();
    assert_eq!((counts(&found[0]), counts(&found[1])), (vec![31 * 24], vec![30 * 24]));
    assert_eq!((found[0].total.min, found[1].total.max), (Some(720.0), Some(719.0)));
}

pub async fn what_is_fresh_is_counted(world: TelemetryWorld) {
    let now = world.clock.now();
    let ago = |number, age: TimeDelta| RenderEvent { at: now - age, ..event(number, 0) };
    let range = TimeRange { from: now - TimeDelta::days(800), to: now + TimeDelta::days(1) };
    let ages = [TimeDelta::microseconds(1), TimeDelta::minutes(90), TimeDelta::days(2), TimeDelta::days(500)];
    // The second round is late: whatever was rolled up meanwhile does not hold it.
    for round in 1..=2_u128 {
        let events: Vec<_> = ages.iter().zip(1..).map(|(age, number)| ago(round * 10 + number, *age)).collect();
        world.handle.append(&world.scope, &events).await.unwrap();
        for width in [None, Some(hours(1)), Some(hours(24)), Some(Cut::Unit(Unit::Month))] {
            let from = if width == Some(hours(1)) { now - TimeDelta::days(100) } else { range.from };
            let range = TimeRange { from, ..range };
            let stats = ask(&world, cut(range, width.unwrap_or(Cut::Whole), Zone::UTC)).await;
            let last = now - ages[0];
            assert!((last..=now).contains(&stats.fresh_to), "{width:?}: {} for {now}", stats.fresh_to);
            let in_range = ages.iter().filter(|age| from <= now - **age && now - **age < stats.fresh_to).count() as u64;
            let most = round as u64 * ages.len() as u64;
            assert!((round as u64 * in_range..=most).contains(&stats.total.count), "{width:?}: {stats:?}");
            let held: u64 = counts(&stats).iter().sum();
            assert!(width.is_none() || held == stats.total.count, "{width:?}: {held} of {}", stats.total.count);
        }
        let by = RankBy::Stage;
        let ranking = RankingQuery {
            subject: Subject::Organization,
            range,
            by,
            measure: Measure::Cost,
            order: RankOrder::Count,
            stages: vec![],
            limit: 1,
        };
        let ranking = world.handle.rankings(&world.scope, &[ranking]).await.unwrap().remove(0);
        assert!((now - ages[0]..=now).contains(&ranking.fresh_to));
        assert_eq!(ranking.available_from, range.from);
    }
    // An answer about the past is complete at its end, and nothing is fresher than the range.
    let past = TimeRange { from: now - TimeDelta::days(3), to: now - TimeDelta::days(1) };
    let stats = ask(&world, query(past)).await;
    assert!(stats.fresh_to <= past.to);
    assert_eq!(stats.available_from, past.from, "nothing is dropped where no retention is set");
}

pub async fn an_answer_tells_its_error(world: TelemetryWorld) {
    let events: Vec<_> =
        (0..1_000_i64).map(|number| lasting(number.unsigned_abs().into(), number, number * 37)).collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    let bound = world.handle.capabilities().percentile_error;
    for query in [query(range(0, 1_000)), cut(range(0, 1_000), hours(1), Zone::UTC)] {
        let stats = ask(&world, query).await;
        assert!((0.0..=bound).contains(&stats.percentile_error), "{} of {bound}", stats.percentile_error);
        for (found, exact) in [(stats.total.p50, 499), (stats.total.p95, 949), (stats.total.p99, 989)] {
            assert!(near(found, Some(f64::from(exact * 37)), stats.percentile_error), "{found:?}");
        }
    }
}

pub async fn storage_is_told(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0)]).await.unwrap();
    let storage = world.handle.storage(&world.scope).await.unwrap();
    assert!(storage.bytes.is_none_or(|bytes| bytes > 0));
    assert_eq!(storage.policies.retain_raw.is_some(), world.handle.capabilities().retention);
    assert!(storage.roll_ups.is_sorted_by(|a, b| a.resolution < b.resolution));
    assert!(storage.jobs.iter().all(|job| !job.name.is_empty() && job.failures.unwrap_or_default() == 0));
}
