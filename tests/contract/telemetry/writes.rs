//! Appends, look-ups, tenancy, time and retention.

use super::*;
use chimera_stores::page::Slice;
use chimera_stores::telemetry::Appended;

async fn found(world: &TelemetryWorld, scope: &Scope, ids: &[u128]) -> Vec<bool> {
    let ids: Vec<Uuid> = ids.iter().copied().map(id).collect();
    world.handle.events(scope, &ids).await.unwrap().iter().map(Option::is_some).collect()
}

pub async fn what_was_appended_is_read(world: TelemetryWorld) {
    let events = [event(1, 0), RenderEvent { campaign_id: None, succeeded: false, ..event(2, 5) }];
    let appended = world.handle.append(&world.scope, &events).await.unwrap();
    assert_eq!(appended, Appended { inserted: 2, duplicates: 0 });
    let read = world.handle.events(&world.scope, &[id(2), id(1)]).await.unwrap();
    assert_eq!(read, [Some(events[1].clone()), Some(events[0].clone())]);
}

pub async fn absent_ids_are_none(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0)]).await.unwrap();
    assert_eq!(found(&world, &world.scope, &[2, 1, 3]).await, [false, true, false]);
}

pub async fn duplicate_ids_in_a_batch_are_answered_each(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0)]).await.unwrap();
    assert_eq!(found(&world, &world.scope, &[1, 2, 1, 2, 1]).await, [true, false, true, false, true]);
}

pub async fn empty_batches_are_fine(world: TelemetryWorld) {
    let appended = world.handle.append(&world.scope, &[]).await.unwrap();
    assert_eq!(appended, Appended { inserted: 0, duplicates: 0 });
    assert!(world.handle.events(&world.scope, &[]).await.unwrap().is_empty());
    assert!(world.handle.event_pages(&world.scope, &[]).await.unwrap().is_empty());
    assert!(world.handle.stats(&world.scope, &[]).await.unwrap().is_empty());
}

pub async fn an_append_is_idempotent(world: TelemetryWorld) {
    let batch = [event(1, 0), event(2, 0), event(1, 0)];
    let first = world.handle.append(&world.scope, &batch).await.unwrap();
    assert_eq!(first, Appended { inserted: 2, duplicates: 1 });
    let again = world.handle.append(&world.scope, &[event(2, 0), event(3, 0)]).await.unwrap();
    assert_eq!(again, Appended { inserted: 1, duplicates: 1 });
    assert_eq!(super::pages::all(&world, Subject::Organization).await.len(), 3);
}

pub async fn the_first_event_of_an_id_stays(world: TelemetryWorld) {
    let first = RenderEvent { duration_ms: 1, ..event(1, 0) };
    let second = RenderEvent { duration_ms: 2, ..event(1, 9) };
    world.handle.append(&world.scope, &[first.clone(), second.clone()]).await.unwrap();
    let appended = world.handle.append(&world.scope, &[second]).await.unwrap();
    assert_eq!(appended.duplicates, 1);
    assert_eq!(world.handle.events(&world.scope, &[id(1)]).await.unwrap(), [Some(first)]);
}

pub async fn an_id_belongs_to_its_organisation(world: TelemetryWorld) {
    let theirs = RenderEvent { frames: 99, ..event(1, 3) };
    world.handle.append(&world.scope, &[event(1, 0)]).await.unwrap();
    let appended = world.handle.append(&world.foreign, std::slice::from_ref(&theirs)).await.unwrap();
    assert_eq!(appended.inserted, 1);
    assert_eq!(world.handle.events(&world.scope, &[id(1)]).await.unwrap(), [Some(event(1, 0))]);
    assert_eq!(world.handle.events(&world.foreign, &[id(1)]).await.unwrap(), [Some(theirs)]);
}

pub async fn another_organisation_sees_nothing(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0), event(2, 1)]).await.unwrap();
    assert_eq!(found(&world, &world.foreign, &[1, 2]).await, [false, false]);
    for subject in [Subject::Organization, Subject::Persona(id(20)), Subject::Campaign(id(30)), Subject::Video(id(10))]
    {
        let query = EventPageQuery { subject, range: None, stages: vec![], slice: Slice::first(10) };
        let pages = world.handle.event_pages(&world.foreign, std::slice::from_ref(&query)).await.unwrap();
        assert!(pages[0].items.is_empty() && !pages[0].has_next && !pages[0].has_previous, "{subject:?}");
        assert_eq!(world.handle.event_pages(&world.scope, &[query]).await.unwrap()[0].items.len(), 2, "{subject:?}");
        let stats = super::statistics::total(&world, &world.foreign, subject).await;
        assert_eq!((stats.total.count, stats.cost_micros), (0, 0), "{subject:?}");
    }
}

pub async fn too_many_events_are_refused(world: TelemetryWorld) {
    let max = world.handle.capabilities().max_append;
    let events: Vec<_> = (0..=max as u128).map(|number| event(number, 0)).collect();
    assert_eq!(kind(world.handle.append(&world.scope, &events).await), ErrorKind::Invalid);
    assert_eq!(found(&world, &world.scope, &[0]).await, [false]);
}

pub async fn events_out_of_bounds_are_named_and_nothing_is_stored(world: TelemetryWorld) {
    let good = || event(2, 0);
    let bad = [
        RenderEvent { duration_ms: -1, ..good() },
        RenderEvent { cost_micros: -1, ..good() },
        RenderEvent { frames: -1, ..good() },
        RenderEvent { gpu_seconds: -0.1, ..good() },
        RenderEvent { gpu_seconds: f64::NAN, ..good() },
        RenderEvent { gpu_seconds: f64::INFINITY, ..good() },
    ];
    for bad in bad {
        let error = world.handle.append(&world.scope, &[event(1, 0), bad.clone()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{bad:?}");
        assert!(error.message().contains("event 1"), "{error}");
        assert_eq!(found(&world, &world.scope, &[1, 2]).await, [false, false]);
    }
}

pub async fn extreme_values_are_kept_exactly(world: TelemetryWorld) {
    let least = RenderEvent { duration_ms: 0, cost_micros: 0, frames: 0, gpu_seconds: 0.0, ..event(1, 0) };
    let most = RenderEvent {
        id: Uuid::max(),
        video_id: Uuid::nil(),
        duration_ms: i64::MAX,
        cost_micros: i64::MAX,
        frames: i64::MAX,
        gpu_seconds: f64::MAX,
        ..event(0, 0)
    };
    let tiny = RenderEvent { gpu_seconds: f64::from_bits(1), ..event(2, 0) };
    let odd = RenderEvent { gpu_seconds: 0.1 + 0.2, ..event(3, 0) };
    let old = RenderEvent { at: DateTime::from_timestamp(-5_000_000_000, 1_000).unwrap(), ..event(4, 0) };
    let events = [least, most, tiny, odd, old];
    world.handle.append(&world.scope, &events).await.unwrap();
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let read = world.handle.events(&world.scope, &ids).await.unwrap();
    assert_eq!(read, events.clone().map(Some));
    for stage in Stage::ALL {
        let event = RenderEvent { stage, ..event(50 + stage as u128, 0) };
        world.handle.append(&world.scope, std::slice::from_ref(&event)).await.unwrap();
        assert_eq!(world.handle.events(&world.scope, &[event.id]).await.unwrap(), [Some(event)]);
    }
}

pub async fn times_are_kept_to_the_microsecond(world: TelemetryWorld) {
    let fine = RenderEvent { at: at(0) + TimeDelta::nanoseconds(123_456_789), ..event(1, 0) };
    world.handle.append(&world.scope, &[fine]).await.unwrap();
    let read = world.handle.events(&world.scope, &[id(1)]).await.unwrap();
    assert_eq!(read[0].as_ref().unwrap().at, at(0) + TimeDelta::microseconds(123_456));
}

pub async fn a_full_append_is_stored(world: TelemetryWorld) {
    let max = world.handle.capabilities().max_append.min(10_000);
    let events: Vec<_> = (0..max as u128).map(|number| event(number, number as i64)).collect();
    let appended = world.handle.append(&world.scope, &events).await.unwrap();
    assert_eq!(appended, Appended { inserted: max as u64, duplicates: 0 });
    let again = world.handle.append(&world.scope, &events).await.unwrap();
    assert_eq!(again, Appended { inserted: 0, duplicates: max as u64 });
    assert_eq!(super::statistics::total(&world, &world.scope, Subject::Video(id(10))).await.total.count, max as u64);
}

pub async fn the_far_future_is_refused_by_the_stores_clock(world: TelemetryWorld) {
    let ahead = |number, hours| RenderEvent { at: world.clock.now() + TimeDelta::hours(hours), ..event(number, 0) };
    world.handle.append(&world.scope, &[ahead(1, 23)]).await.unwrap();
    let error = world.handle.append(&world.scope, &[ahead(2, 0), ahead(3, 25)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("event 1"), "{error}");
    assert_eq!(found(&world, &world.scope, &[1, 2, 3]).await, [true, false, false]);
    let later = ahead(3, 25);
    world.clock.advance(TimeDelta::hours(2));
    world.handle.append(&world.scope, &[later]).await.unwrap();
}

pub async fn late_events_are_welcome(world: TelemetryWorld) {
    let late = RenderEvent { at: world.clock.now() - TimeDelta::days(4_000), ..event(1, 0) };
    world.handle.append(&world.scope, &[event(2, 0)]).await.unwrap();
    world.handle.append(&world.scope, std::slice::from_ref(&late)).await.unwrap();
    let events = super::pages::all(&world, Subject::Organization).await;
    assert_eq!(events, [event(2, 0), late]);
}

pub async fn a_clock_that_jumps_back_loses_nothing(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0)]).await.unwrap();
    world.clock.advance(TimeDelta::days(-400));
    assert_eq!(found(&world, &world.scope, &[1]).await, [true]);
    // The clock now takes the present for the far future.
    assert_eq!(kind(world.handle.append(&world.scope, &[event(2, 0)]).await), ErrorKind::Invalid);
    world.clock.advance(TimeDelta::days(800));
    world.handle.append(&world.scope, &[event(2, 0)]).await.unwrap();
    assert_eq!(found(&world, &world.scope, &[1, 2]).await, [true, true]);
}

pub async fn retain_removes_what_is_older_everywhere(world: TelemetryWorld) {
    for scope in [&world.scope, &world.foreign] {
        world.handle.append(scope, &[event(1, 0), event(2, 9), event(3, 10), event(4, 11)]).await.unwrap();
    }
    assert_eq!(world.handle.retain(&world.scope, at(10)).await.unwrap(), 4);
    assert_eq!(world.handle.retain(&world.scope, at(10)).await.unwrap(), 0);
    for scope in [&world.scope, &world.foreign] {
        assert_eq!(found(&world, scope, &[1, 2, 3, 4]).await, [false, false, true, true]);
        assert_eq!(super::statistics::total(&world, scope, Subject::Organization).await.total.count, 2);
    }
    // An id that was removed may be appended again.
    let appended = world.handle.append(&world.scope, &[event(1, 20)]).await.unwrap();
    assert_eq!(appended.inserted, 1);
}

pub async fn concurrent_writers_lose_nothing(world: TelemetryWorld) {
    let writers = (0..8_u128).map(|writer| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            for round in 0..5_u128 {
                let first = writer * 1_000 + round * 10;
                let events: Vec<_> = (first..first + 10).map(|number| event(number, number as i64)).collect();
                handle.append(&scope, &events).await.unwrap();
                assert_eq!(handle.events(&scope, &[id(first)]).await.unwrap(), [Some(events[0].clone())]);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(super::pages::all(&world, Subject::Organization).await.len(), 400);
}

pub async fn concurrent_writers_of_one_id_store_it_once(world: TelemetryWorld) {
    let writers = (0..8_i64).map(|writer| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move { handle.append(&scope, &[event(1, writer), event(2, writer)]).await.unwrap() })
    });
    let (mut inserted, mut duplicates) = (0, 0);
    for writer in writers.collect::<Vec<_>>() {
        let appended = writer.await.unwrap();
        inserted += appended.inserted;
        duplicates += appended.duplicates;
    }
    assert_eq!((inserted, duplicates), (2, 14));
    let events = super::pages::all(&world, Subject::Organization).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].at, events[1].at, "both events of a batch are stored or none");
}

pub async fn what_was_acknowledged_is_there_after_a_restart(world: TelemetryWorld) {
    world.handle.append(&world.scope, &[event(1, 0), event(2, 1)]).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(super::pages::all(&world, Subject::Persona(id(20))).await, [event(2, 1), event(1, 0)]);
    let again = world.handle.append(&world.scope, &[event(1, 0), event(3, 2)]).await.unwrap();
    assert_eq!(again, Appended { inserted: 1, duplicates: 1 });
}

pub async fn an_abandoned_append_leaves_the_store_usable(world: TelemetryWorld) {
    for round in 0..20_u128 {
        let events: Vec<_> = (0..200).map(|number| event(round * 1_000 + number, 0)).collect();
        let append = world.handle.append(&world.scope, &events);
        let _ = tokio::time::timeout(Duration::from_micros(u64::try_from(round).unwrap() * 300), append).await;
    }
    world.handle.append(&world.scope, &[event(1_000_000, 0)]).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(found(&world, &world.scope, &[1_000_000]).await, [true]);
    let count = super::statistics::total(&world, &world.scope, Subject::Organization).await.total.count;
    assert_eq!(count % 200, 1, "an abandoned append is stored as a whole or not at all");
}

pub async fn health_and_capabilities_are_told(world: TelemetryWorld) {
    world.handle.health(&world.scope).await.unwrap();
    let capabilities = world.handle.capabilities();
    assert!(capabilities.max_append >= 1_000 && capabilities.durable);
    assert!((0.0..0.1).contains(&capabilities.percentile_error));
}
