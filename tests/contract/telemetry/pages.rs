//! Lists of events: order, slices, cursors, filters.

use super::*;
use chimera_stores::{
    Page, SortValue,
    page::{Position, Slice},
};
use proptest::prelude::*;

/// A test's own view of the list order.
fn position(event: &RenderEvent) -> Position {
    Position { value: SortValue::Int(event.at.timestamp_micros()), id: event.id }
}

fn query(subject: Subject, slice: Slice) -> EventPageQuery {
    EventPageQuery { subject, range: None, stages: vec![], slice }
}

async fn page(world: &TelemetryWorld, slice: Slice) -> Page<RenderEvent> {
    let query = query(Subject::Organization, slice);
    world.handle.event_pages(&world.scope, &[query]).await.unwrap().remove(0)
}

/// All events of a subject, in list order.
pub async fn all(world: &TelemetryWorld, subject: Subject) -> Vec<RenderEvent> {
    let query = query(subject, Slice::first(100_000));
    let page = world.handle.event_pages(&world.scope, &[query]).await.unwrap().remove(0);
    assert!(!page.has_next && !page.has_previous);
    page.items
}

/// Stores `count` events, three to a second, and gives them in list order.
async fn some(world: &TelemetryWorld, count: u128) -> Vec<RenderEvent> {
    let mut events: Vec<_> = (0..count).map(|number| event(number * 7919 % 1009, number as i64 / 3)).collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    events.sort_by(|a, b| position(b).compare(&position(a)));
    events
}

pub async fn pages_are_newest_first_then_by_id(world: TelemetryWorld) {
    let events = some(&world, 10).await;
    assert_eq!(all(&world, Subject::Organization).await, events);
}

pub async fn paging_forward_equals_slicing(world: TelemetryWorld) {
    let events = some(&world, 23).await;
    for limit in [1, 2, 5, 22, 23, 24] {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = page(&world, Slice { after: after.clone(), ..Slice::first(limit) }).await;
            assert!(page.items.len() <= limit as usize);
            walked.extend(page.items);
            assert_eq!(page.has_next, walked.len() < events.len());
            if !page.has_next {
                break;
            }
            after = walked.last().map(position);
        }
        assert_eq!(walked, events, "limit {limit}");
    }
}

pub async fn paging_backward_equals_slicing(world: TelemetryWorld) {
    let events = some(&world, 23).await;
    for limit in [1, 2, 5, 22, 23, 24] {
        let (mut walked, mut before) = (Vec::new(), None);
        loop {
            let page = page(&world, Slice { before: before.clone(), ..Slice::last(limit) }).await;
            let more = page.has_previous;
            walked.splice(0..0, page.items);
            assert_eq!(more, walked.len() < events.len());
            if !more {
                break;
            }
            before = walked.first().map(position);
        }
        assert_eq!(walked, events, "limit {limit}");
    }
}

pub async fn pages_between_two_cursors(world: TelemetryWorld) {
    let events = some(&world, 12).await;
    let between = |limit, backward| Slice {
        limit,
        after: Some(position(&events[2])),
        before: Some(position(&events[8])),
        backward,
    };
    assert_eq!(page(&world, between(10, false)).await.items, events[3..8]);
    assert_eq!(page(&world, between(10, true)).await.items, events[3..8]);
    let first = page(&world, between(2, false)).await;
    assert_eq!((first.items, first.has_next), (events[3..5].to_vec(), true));
    let last = page(&world, between(2, true)).await;
    assert_eq!((last.items, last.has_previous), (events[6..8].to_vec(), true));
    let crossed = Slice { after: Some(position(&events[8])), before: Some(position(&events[2])), ..Slice::first(5) };
    assert!(page(&world, crossed).await.items.is_empty());
}

pub async fn a_cursor_is_stable_under_inserts(world: TelemetryWorld) {
    let events = some(&world, 12).await;
    let first = page(&world, Slice::first(5)).await;
    let newer: Vec<_> = (2_000..2_010).map(|number| event(number, 5_000)).collect();
    world.handle.append(&world.scope, &newer).await.unwrap();
    let after = first.items.last().map(position);
    let rest = page(&world, Slice { after, ..Slice::first(50) }).await;
    assert_eq!([first.items, rest.items].concat(), events);
    // The cursor's own event need not exist any more.
    world.handle.retain(&world.scope, events[5].at).await.unwrap();
    let rest = page(&world, Slice { after: Some(position(&events[11])), ..Slice::first(50) }).await;
    assert!(rest.items.is_empty());
}

pub async fn pages_are_filtered_by_subject_stage_and_range(world: TelemetryWorld) {
    let events = [
        event(1, 0),
        RenderEvent { video_id: id(11), ..event(2, 1) },
        RenderEvent { persona_id: id(21), stage: Stage::Voice, ..event(3, 2) },
        RenderEvent { campaign_id: None, stage: Stage::Upload, ..event(4, 3) },
        RenderEvent { campaign_id: Some(id(31)), ..event(5, 4) },
    ];
    world.handle.append(&world.scope, &events).await.unwrap();
    let ask = |subject, range, stages: &[Stage]| EventPageQuery {
        subject,
        range,
        stages: stages.to_vec(),
        slice: Slice::first(10),
    };
    let organization = Subject::Organization;
    let expected: [(EventPageQuery, &[u128]); 12] = [
        (ask(organization, None, &[]), &[5, 4, 3, 2, 1]),
        (ask(Subject::Video(id(10)), None, &[]), &[5, 4, 3, 1]),
        (ask(Subject::Video(id(12)), None, &[]), &[]),
        (ask(Subject::Persona(id(20)), None, &[]), &[5, 4, 2, 1]),
        (ask(Subject::Persona(id(21)), None, &[]), &[3]),
        (ask(Subject::Campaign(id(30)), None, &[]), &[3, 2, 1]),
        (ask(Subject::Campaign(Uuid::nil()), None, &[]), &[]),
        (ask(organization, None, &[Stage::Voice, Stage::Upload, Stage::Voice]), &[4, 3]),
        (ask(Subject::Persona(id(20)), None, &[Stage::Voice]), &[]),
        (ask(organization, Some(range(1, 3)), &[]), &[3, 2]),
        (ask(Subject::Video(id(10)), Some(range(1, 4)), &[Stage::Upload]), &[4]),
        (ask(organization, Some(range(100, 200)), &[]), &[]),
    ];
    let queries: Vec<_> = expected.iter().map(|(query, _)| query.clone()).collect();
    let pages = world.handle.event_pages(&world.scope, &queries).await.unwrap();
    for (page, (query, ids)) in pages.iter().zip(expected) {
        let found: Vec<Uuid> = page.items.iter().map(|event| event.id).collect();
        assert_eq!(found, ids.iter().copied().map(id).collect::<Vec<_>>(), "{query:?}");
    }
}

pub async fn many_pages_come_in_one_batch(world: TelemetryWorld) {
    let videos = 200_u128;
    let events: Vec<_> = (0..videos * 5)
        .map(|number| RenderEvent { video_id: id(number % videos), ..event(number, number as i64) })
        .collect();
    world.handle.append(&world.scope, &events).await.unwrap();
    // Every video, one that has no events, and one twice.
    let numbers: Vec<u128> = (0..=videos).chain([3]).collect();
    let queries: Vec<_> = numbers.iter().map(|number| query(Subject::Video(id(*number)), Slice::first(3))).collect();
    let pages = world.handle.event_pages(&world.scope, &queries).await.unwrap();
    assert_eq!(pages.len(), numbers.len());
    for (page, number) in pages.iter().zip(&numbers) {
        let found: Vec<Uuid> = page.items.iter().map(|event| event.id).collect();
        let expected = [4, 3, 2].map(|round| id(round * videos + number));
        assert_eq!(found, if *number == videos { &[][..] } else { &expected[..] });
        assert_eq!(page.has_next, *number != videos);
    }
}

pub async fn page_arguments_out_of_bounds_are_refused(world: TelemetryWorld) {
    let ask = |query| async { kind(world.handle.event_pages(&world.scope, &[query]).await) };
    assert_eq!(ask(query(Subject::Organization, Slice::first(0))).await, ErrorKind::Invalid);
    for range in [range(5, 5), range(6, 5)] {
        let query = EventPageQuery { range: Some(range), ..query(Subject::Organization, Slice::first(1)) };
        assert_eq!(ask(query).await, ErrorKind::Invalid);
    }
    for value in [SortValue::Text("a".to_owned()), SortValue::Float(1.0)] {
        let after = Some(Position { value, id: id(1) });
        assert_eq!(ask(query(Subject::Organization, Slice { after, ..Slice::first(1) })).await, ErrorKind::Invalid);
    }
    // The widest that the types allow.
    let widest = TimeRange { from: DateTime::<Utc>::MIN_UTC, to: DateTime::<Utc>::MAX_UTC };
    let query = EventPageQuery { range: Some(widest), ..query(Subject::Organization, Slice::first(u32::MAX)) };
    assert!(world.handle.event_pages(&world.scope, &[query]).await.unwrap()[0].items.is_empty());
}

pub async fn any_slice_equals_the_model(world: TelemetryWorld) {
    let events = some(&world, 30).await;
    let index = || prop::option::of(0..events.len());
    let strategy = (1_u32..12, index(), index(), any::<bool>(), prop::option::of((0_i64..10, 1_i64..10)));
    let mut runner = runner(64);
    let ran = runner.run(&strategy, |(limit, after, before, backward, within)| {
        let place = |index: Option<usize>| index.map(|index| position(&events[index]));
        let slice = Slice { limit, after: place(after), before: place(before), backward };
        let range = within.map(|(from, length)| range(from, from + length));
        let query = EventPageQuery { range, ..query(Subject::Organization, slice.clone()) };
        let asked = world.handle.event_pages(&world.scope, std::slice::from_ref(&query));
        let found =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked)).unwrap().remove(0);
        let inside = |event: &&RenderEvent| range.is_none_or(|range| range.from <= event.at && event.at < range.to);
        let model = slice.apply(events.iter().filter(inside).cloned(), true, position);
        prop_assert_eq!(found.items, model.items);
        // On a side with a cursor an adapter may answer from the cursor alone.
        prop_assert!(found.has_previous == model.has_previous || after.is_some());
        prop_assert!(found.has_next == model.has_next || before.is_some());
        Ok(())
    });
    ran.unwrap();
}
