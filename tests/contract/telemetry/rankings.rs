//! Who or what has most: order, ties, limits, filters, tenancy.

use super::{statistics::lasting, *};

fn ranking(by: RankBy, order: RankOrder) -> RankingQuery {
    RankingQuery {
        subject: Subject::Organization,
        range: range(0, 1_000),
        by,
        measure: Measure::Duration,
        order,
        stages: vec![],
        limit: 10,
    }
}

async fn ask(world: &TelemetryWorld, query: RankingQuery) -> Ranking {
    world.handle.rankings(&world.scope, &[query]).await.unwrap().remove(0)
}

fn keys(ranking: &Ranking) -> Vec<RankKey> {
    ranking.entries.iter().map(|(key, _)| *key).collect()
}

fn personas(numbers: &[u128]) -> Vec<RankKey> {
    numbers.iter().map(|number| RankKey::Persona(id(*number))).collect()
}

/// An event of a persona in its stage: the persona's number tells the campaign, and 4 has none.
fn of(persona: u128, number: u128, duration_ms: i64) -> RenderEvent {
    RenderEvent {
        persona_id: id(persona),
        campaign_id: (persona != 4).then_some(id(30 + persona % 2)),
        stage: if persona == 2 { Stage::Voice } else { Stage::Render },
        succeeded: persona != 3,
        ..lasting(number, number as i64, duration_ms)
    }
}

/// Four personas: 1 has many short events, 2 a long one and short ones, 3 middling failures, 4 one middling event.
async fn some(world: &TelemetryWorld) {
    let mut events: Vec<_> = (0..6).map(|number| of(1, number, 100)).collect();
    events.extend([of(2, 10, 5_000), of(2, 11, 10), of(2, 12, 10)]);
    events.extend([of(3, 20, 2_000), of(3, 21, 2_000)]);
    events.push(of(4, 30, 3_000));
    world.handle.append(&world.scope, &events).await.unwrap();
}

pub async fn nothing_has_no_ranking(world: TelemetryWorld) {
    for by in [RankBy::Persona, RankBy::Campaign, RankBy::Stage] {
        assert_eq!(ask(&world, ranking(by, RankOrder::Sum)).await.entries, []);
    }
}

pub async fn rankings_are_in_order_of_merit(world: TelemetryWorld) {
    some(&world).await;
    let orders = [
        (RankOrder::Count, [1, 2, 3, 4]),
        (RankOrder::Sum, [2, 3, 4, 1]),
        (RankOrder::Avg, [4, 3, 2, 1]),
        (RankOrder::Max, [2, 4, 3, 1]),
        (RankOrder::P95, [2, 4, 3, 1]),
        (RankOrder::Failed, [3, 1, 2, 4]),
    ];
    for (order, expected) in orders {
        let found = ask(&world, ranking(RankBy::Persona, order)).await;
        assert_eq!(keys(&found), personas(&expected), "{order:?}");
    }
    let found = ask(&world, ranking(RankBy::Persona, RankOrder::Sum)).await;
    let second = &found.entries[0].1;
    assert_eq!((second.count, second.failed), (3, 0));
    assert_eq!((second.sum, second.min, second.max), (Some(5_020.0), Some(10.0), Some(5_000.0)));
    assert!(near(second.p50, Some(10.0), found.percentile_error));
    assert_eq!(found.entries[1].1.failed, 2);
    let campaigns = ask(&world, ranking(RankBy::Campaign, RankOrder::Count)).await;
    let counts: Vec<_> = campaigns.entries.iter().map(|(key, aggregate)| (*key, aggregate.count)).collect();
    assert_eq!(counts, [(RankKey::Campaign(id(31)), 8), (RankKey::Campaign(id(30)), 3)]);
    let stages = ask(&world, ranking(RankBy::Stage, RankOrder::Count)).await;
    assert_eq!(keys(&stages), [RankKey::Stage(Stage::Render), RankKey::Stage(Stage::Voice)]);
    let cost = ask(&world, RankingQuery { measure: Measure::Cost, ..ranking(RankBy::Persona, RankOrder::Sum) }).await;
    assert_eq!((keys(&cost), cost.entries[0].1.sum), (personas(&[1, 2, 3, 4]), Some(42.0)));
}

pub async fn ties_are_by_key_and_the_limit_holds(world: TelemetryWorld) {
    let events: Vec<_> =
        [9, 3, 7, 1, 5].iter().map(|number| RenderEvent { persona_id: id(*number), ..event(*number, 0) }).collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    for order in [RankOrder::Count, RankOrder::Sum, RankOrder::Avg, RankOrder::Failed, RankOrder::P95] {
        for limit in [1, 3, 5, 1_000] {
            let found = ask(&world, RankingQuery { limit, ..ranking(RankBy::Persona, order) }).await;
            let expected = personas(&[1, 3, 5, 7, 9]);
            assert_eq!(keys(&found), expected[..expected.len().min(limit as usize)], "{order:?} {limit}");
        }
    }
    let stages = [Stage::Upload, Stage::Script, Stage::Encode];
    let events = stages.map(|stage| RenderEvent { stage, ..event(100 + stage as u128, 500) });
    world.handle.append(&world.scope, &events).await.unwrap();
    let query = RankingQuery { range: range(500, 501), ..ranking(RankBy::Stage, RankOrder::Count) };
    let expected = [Stage::Script, Stage::Encode, Stage::Upload].map(RankKey::Stage);
    assert_eq!(keys(&ask(&world, query).await), expected);
}

pub async fn another_organisation_is_not_ranked(world: TelemetryWorld) {
    some(&world).await;
    world.handle.append(&world.foreign, &[of(1, 1, 9_000), of(7, 2, 1)]).await.unwrap();
    let query = ranking(RankBy::Persona, RankOrder::Sum);
    assert_eq!(keys(&ask(&world, query.clone()).await), personas(&[2, 3, 4, 1]));
    let foreign = world.handle.rankings(&world.foreign, &[query]).await.unwrap().remove(0);
    assert_eq!(keys(&foreign), personas(&[1, 7]));
    assert_eq!(foreign.entries[0].1.sum, Some(9_000.0));
}

pub async fn rankings_are_filtered_by_subject_stage_and_range(world: TelemetryWorld) {
    some(&world).await;
    let query = ranking(RankBy::Persona, RankOrder::Count);
    let cases = [
        (RankingQuery { stages: vec![Stage::Voice], ..query.clone() }, personas(&[2])),
        (RankingQuery { stages: vec![Stage::Voice, Stage::Render], ..query.clone() }, personas(&[1, 2, 3, 4])),
        (RankingQuery { stages: vec![Stage::Upload], ..query.clone() }, vec![]),
        (RankingQuery { subject: Subject::Campaign(id(31)), ..query.clone() }, personas(&[1, 3])),
        (RankingQuery { subject: Subject::Persona(id(2)), ..query.clone() }, personas(&[2])),
        (RankingQuery { subject: Subject::Video(id(10)), ..query.clone() }, personas(&[1, 2, 3, 4])),
        (RankingQuery { subject: Subject::Persona(id(9)), ..query.clone() }, vec![]),
        (RankingQuery { range: range(5, 20), ..query.clone() }, personas(&[2, 1])),
        (RankingQuery { range: range(6, 10), ..query.clone() }, vec![]),
        (RankingQuery { subject: Subject::Persona(id(4)), by: RankBy::Campaign, ..query }, vec![]),
    ];
    let queries: Vec<_> = cases.iter().map(|(query, _)| query.clone()).collect();
    let found = world.handle.rankings(&world.scope, &queries).await.unwrap();
    assert_eq!(found.len(), cases.len());
    for (found, (query, expected)) in found.iter().zip(cases) {
        assert_eq!(keys(found), expected, "{query:?}");
    }
}

pub async fn many_rankings_come_in_one_batch(world: TelemetryWorld) {
    // Persona n has n events, a tenth of them in another stage.
    let mut events = Vec::new();
    for persona in 1..=40_u128 {
        events.extend((0..persona).map(|number| RenderEvent {
            persona_id: id(persona),
            stage: if number % 10 == 9 { Stage::Upload } else { Stage::Render },
            ..event(persona * 100 + number, 0)
        }));
    }
    world.handle.append(&world.scope, &events).await.unwrap();
    let by_stage =
        |persona| RankingQuery { subject: Subject::Persona(id(persona)), ..ranking(RankBy::Stage, RankOrder::Count) };
    // Every persona, one without events, one twice, and one question of another kind.
    let mut queries: Vec<_> = (1..=41).chain([40]).map(by_stage).collect();
    queries.push(RankingQuery { limit: 3, ..ranking(RankBy::Persona, RankOrder::Count) });
    queries.push(RankingQuery { order: RankOrder::Failed, limit: 2, ..queries[42].clone() });
    let found = world.handle.rankings(&world.scope, &queries).await.unwrap();
    assert_eq!(found.len(), queries.len());
    let counts = |index: usize| found[index].entries.iter().map(|(_, aggregate)| aggregate.count).collect::<Vec<_>>();
    assert_eq!((counts(0), counts(8), counts(9)), (vec![1], vec![9], vec![9, 1]));
    assert_eq!((counts(39), counts(40), counts(41)), (vec![36, 4], vec![], vec![36, 4]));
    assert_eq!(keys(&found[42]), personas(&[40, 39, 38]));
    assert_eq!(keys(&found[43]), personas(&[1, 2]));
    assert!(world.handle.rankings(&world.scope, &[]).await.unwrap().is_empty());
}

pub async fn ranking_arguments_out_of_bounds_are_refused(world: TelemetryWorld) {
    let query = ranking(RankBy::Stage, RankOrder::Sum);
    let refused = [
        RankingQuery { limit: 0, ..query.clone() },
        RankingQuery { limit: 1_001, ..query.clone() },
        RankingQuery { range: range(5, 5), ..query.clone() },
        RankingQuery { range: range(6, 5), ..query.clone() },
    ];
    for bad in refused {
        let result = world.handle.rankings(&world.scope, &[query.clone(), bad.clone()]).await;
        assert_eq!(kind(result), ErrorKind::Invalid, "{bad:?}");
    }
    // The widest that the types allow.
    let always = TimeRange { from: DateTime::<Utc>::MIN_UTC, to: DateTime::<Utc>::MAX_UTC };
    assert!(ask(&world, RankingQuery { range: always, ..query }).await.entries.is_empty());
}
