//! Statistics and rankings against their definitions, on any events.

use super::{
    statistics::{ask, lasting, query},
    *,
};
use proptest::prelude::*;

/// The aggregates of some events by definition, slowly.
fn aggregate(events: &[&RenderEvent]) -> Aggregate {
    let mut values: Vec<f64> = events.iter().map(|event| event.duration_ms as f64).collect();
    values.sort_by(f64::total_cmp);
    let rank = |percent: f64| values.get(((values.len() as f64 * percent).ceil() as usize).max(1) - 1).copied();
    let some = |value: f64| (!values.is_empty()).then_some(value);
    Aggregate {
        count: values.len() as u64,
        failed: events.iter().filter(|event| !event.succeeded).count() as u64,
        sum: some(values.iter().sum()),
        avg: some(values.iter().sum::<f64>() / values.len() as f64),
        min: values.first().copied(),
        max: values.last().copied(),
        p50: rank(0.50),
        p95: rank(0.95),
        p99: rank(0.99),
    }
}

fn inside<'a>(events: &'a [RenderEvent], range: TimeRange, stages: &[Stage]) -> Vec<&'a RenderEvent> {
    let within = events.iter().filter(|event| range.from <= event.at && event.at < range.to);
    within.filter(|event| stages.is_empty() || stages.contains(&event.stage)).collect()
}

/// Events of any time, length and outcome, in any stage and of some personas.
fn events() -> impl Strategy<Value = Vec<RenderEvent>> {
    let one = (0_i64..600, 0_i64..50, any::<bool>(), 0_usize..5, 0_u128..4);
    prop::collection::vec(one, 0..60).prop_map(|rows| {
        let event = |(index, (at, duration, succeeded, stage, persona)): (usize, _)| RenderEvent {
            succeeded,
            stage: Stage::ALL[stage],
            persona_id: id(20 + persona),
            campaign_id: (persona != 3).then_some(id(30 + persona / 2)),
            ..lasting(index as u128, at, duration)
        };
        rows.into_iter().enumerate().map(event).collect()
    })
}

fn ranges() -> impl Strategy<Value = TimeRange> {
    (0_i64..300, 1_i64..400).prop_map(|(from, length)| range(from, from + length))
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    prop::collection::vec(prop::sample::select(Stage::ALL.to_vec()), 0..3)
}

/// Runs a question of a property test, which cannot wait.
fn wait<T>(asked: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked))
}

/// An organisation of its own for every round.
fn another() -> Scope {
    Scope::system(Uuid::now_v7())
}

pub async fn statistics_equal_the_model(world: TelemetryWorld) {
    // Buckets of one width, and buckets of any widths.
    let cuts = prop_oneof![(1_u64..90).prop_map(|width| vec![width]), prop::collection::vec(1_u64..90, 2..9)];
    let mut runner = runner(48);
    let ran = runner.run(&(events(), ranges(), stages(), cuts, 0_i64..9), |(events, range, stages, widths, before)| {
        let edges = match widths.as_slice() {
            [width] => edges(&range, Cut::Width(Duration::from_secs(*width)), Zone::UTC),
            widths => {
                let first = range.from - TimeDelta::seconds(before);
                let next = |edge: &mut DateTime<Utc>, width: &u64| {
                    *edge += Duration::from_secs(*width);
                    Some(*edge)
                };
                let rest = widths.iter().scan(first, next).filter(|edge| *edge < range.to);
                std::iter::once(first).chain(rest).collect()
            }
        };
        let scope = another();
        let query = StatsQuery { edges: edges.clone(), stages: stages.clone(), ..query(range) };
        let found = wait(async {
            world.handle.append(&scope, &events).await.unwrap();
            world.handle.stats(&scope, std::slice::from_ref(&query)).await.unwrap().remove(0)
        });
        let inside = inside(&events, range, &stages);
        prop_assert_eq!(found.cost_micros, 7 * inside.len() as i64);
        assert_same(&found.total, &aggregate(&inside), found.percentile_error, "total");
        let of = |event: &RenderEvent| edges.iter().rposition(|edge| *edge <= event.at);
        let mut starts: Vec<usize> = inside.iter().filter_map(|event| of(event)).collect();
        starts.sort_unstable();
        starts.dedup();
        prop_assert_eq!(found.buckets.len(), starts.len());
        for (bucket, index) in found.buckets.iter().zip(starts) {
            let held: Vec<&RenderEvent> = inside.iter().copied().filter(|event| of(event) == Some(index)).collect();
            prop_assert_eq!(bucket.start, edges[index]);
            assert_same(&bucket.aggregate, &aggregate(&held), found.percentile_error, bucket.start);
        }
        Ok(())
    });
    ran.unwrap();
    let nothing = ask(&world, query(range(0, 1_000))).await;
    assert_eq!(nothing.total.count, 0, "every round has an organisation of its own");
}

pub async fn rankings_equal_the_model(world: TelemetryWorld) {
    let by = prop::sample::select(vec![RankBy::Persona, RankBy::Campaign, RankBy::Stage]);
    let subject =
        prop::sample::select(vec![Subject::Organization, Subject::Persona(id(21)), Subject::Campaign(id(30))]);
    // Orders of whole numbers, which no adapter may round.
    let order = prop::sample::select(vec![RankOrder::Count, RankOrder::Failed, RankOrder::Sum, RankOrder::Max]);
    let mut runner = runner(48);
    let strategy = (events(), ranges(), stages(), (by, subject, order), 1_u32..5);
    let ran = runner.run(&strategy, |(events, range, stages, (by, subject, order), limit)| {
        let measure = Measure::Duration;
        let query = RankingQuery { subject, range, by, measure, order, stages: stages.clone(), limit };
        let scope = another();
        let found = wait(async {
            world.handle.append(&scope, &events).await.unwrap();
            world.handle.rankings(&scope, std::slice::from_ref(&query)).await.unwrap().remove(0)
        });
        let key = |event: &RenderEvent| match by {
            RankBy::Persona => Some(RankKey::Persona(event.persona_id)),
            RankBy::Campaign => event.campaign_id.map(RankKey::Campaign),
            RankBy::Stage => Some(RankKey::Stage(event.stage)),
        };
        let mut inside = inside(&events, range, &stages);
        inside.retain(|event| match subject {
            Subject::Persona(id) => event.persona_id == id,
            Subject::Campaign(id) => event.campaign_id == Some(id),
            _ => true,
        });
        let mut keys: Vec<RankKey> = inside.iter().filter_map(|event| key(event)).collect();
        keys.sort_unstable();
        keys.dedup();
        let of =
            |ranked: RankKey| inside.iter().copied().filter(|event| key(event) == Some(ranked)).collect::<Vec<_>>();
        let mut expected: Vec<_> = keys.into_iter().map(|key| (key, aggregate(&of(key)))).collect();
        let merit = |aggregate: &Aggregate| match order {
            RankOrder::Failed => aggregate.failed as f64,
            RankOrder::Sum => aggregate.sum.unwrap(),
            RankOrder::Max => aggregate.max.unwrap(),
            _ => aggregate.count as f64,
        };
        // A stable sort keeps ties in the order of their keys.
        expected.sort_by(|(_, a), (_, b)| merit(b).total_cmp(&merit(a)));
        expected.truncate(limit as usize);
        prop_assert_eq!(found.entries.len(), expected.len());
        for ((key, found_here), (expected_key, expected)) in found.entries.iter().zip(&expected) {
            prop_assert_eq!(key, expected_key);
            assert_same(found_here, expected, found.percentile_error, key);
        }
        Ok(())
    });
    ran.unwrap();
}
