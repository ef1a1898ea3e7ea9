//! Pages of tasks.

use super::*;
use chimera_stores::{
    Page, Position, Slice, SortValue,
    episodic::{TaskPageQuery, TaskState},
};

fn query(slice: Slice) -> TaskPageQuery {
    TaskPageQuery { persona_id: None, campaign_id: None, queue: None, states: vec![], slice }
}

fn position(task: &Task) -> Position {
    Position { value: SortValue::Int(task.created_at.timestamp_micros()), id: task.id }
}

async fn page(world: &World<Episodic>, query: TaskPageQuery) -> Page<Task> {
    world.handle.task_pages(&world.scope, &[query]).await.unwrap().remove(0)
}

/// Thirty tasks, three made at a time, of two personas, three campaigns and two queues, in several states; newest first.
async fn thirty(world: &World<Episodic>) -> Vec<Uuid> {
    for three in 0..10 {
        let make = |number: u128| NewTask {
            persona_id: number.is_multiple_of(2).then_some(id(50)),
            campaign_id: Some(id(60 + number % 3)),
            queue: if number.is_multiple_of(5) { "post" } else { "render" }.to_owned(),
            ..task(number)
        };
        let numbers = [three * 3 + 1, three * 3, three * 3 + 2];
        world.enqueue(&numbers.map(make)).await;
        world.clock.advance(TimeDelta::microseconds(1));
    }
    let held = world.reserve(6).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.settle(hold(&held[1]), failed(false)).await.unwrap();
    (0..30).rev().map(id).collect()
}

pub async fn pages_are_newest_first(world: World<Episodic>) {
    let all = thirty(&world).await;
    let first = page(&world, query(Slice::first(100))).await;
    assert_eq!(ids(&first.items), all);
    assert_eq!((first.has_previous, first.has_next), (false, false));
    let exact = page(&world, query(Slice::first(30))).await;
    assert_eq!((exact.items.len(), exact.has_next), (30, false));
    let some = page(&world, query(Slice::first(7))).await;
    assert_eq!((ids(&some.items), some.has_next), (all[..7].to_vec(), true));
    let last = page(&world, query(Slice::last(7))).await;
    assert_eq!((ids(&last.items), last.has_previous, last.has_next), (all[23..].to_vec(), true, false));
}

pub async fn pages_follow_every_filter(world: World<Episodic>) {
    let all = thirty(&world).await;
    let tasks = world.handle.tasks(&world.scope, &all).await.unwrap();
    let tasks: Vec<Task> = tasks.into_iter().map(Option::unwrap).collect();
    let (personas, campaigns) = ([None, Some(id(50)), Some(id(99))], [None, Some(id(61)), Some(id(98))]);
    let queues = [None, Some("post".to_owned()), Some("none".to_owned())];
    let states = [
        vec![],
        vec![TaskState::Ready],
        vec![TaskState::Leased, TaskState::Dead, TaskState::Leased, TaskState::Completed],
        vec![TaskState::Scheduled],
    ];
    let (mut queries, mut expected) = (Vec::new(), Vec::new());
    for persona_id in personas {
        for campaign_id in campaigns {
            for queue in &queues {
                for states in &states {
                    let fits = |task: &&Task| {
                        persona_id.is_none_or(|id| task.persona_id == Some(id))
                            && campaign_id.is_none_or(|id| task.campaign_id == Some(id))
                            && queue.as_ref().is_none_or(|queue| task.queue == *queue)
                            && (states.is_empty() || states.contains(&task.state))
                    };
                    let fitting: Vec<Task> = tasks.iter().filter(fits).cloned().collect();
                    for slice in [Slice::first(50), Slice::first(2), Slice::last(2)] {
                        expected.push(slice.apply(fitting.clone(), true, position));
                        let (queue, states) = (queue.clone(), states.clone());
                        queries.push(TaskPageQuery { persona_id, campaign_id, queue, states, slice });
                    }
                }
            }
        }
    }
    let pages = world.handle.task_pages(&world.scope, &queries).await.unwrap();
    assert!(expected.iter().filter(|page| page.has_next).count() > 10, "the filters leave something to see");
    for ((page, expected), query) in pages.iter().zip(&expected).zip(&queries) {
        assert_eq!(page, expected, "{query:?}");
    }
}

pub async fn paging_both_ways_equals_slicing(world: World<Episodic>) {
    let all = thirty(&world).await;
    for backward in [false, true] {
        for limit in [1, 7, 10, 30] {
            let (mut seen, mut cursor) = (Vec::new(), None::<Position>);
            loop {
                let (after, before) = if backward { (None, cursor) } else { (cursor, None) };
                let next = page(&world, query(Slice { limit, after, before, backward })).await;
                assert!(next.items.len() <= limit as usize);
                let more = if backward { next.has_previous } else { next.has_next };
                let edge = if backward { next.items.first() } else { next.items.last() };
                cursor = edge.map(position);
                let at = if backward { 0 } else { seen.len() };
                seen.splice(at..at, ids(&next.items));
                if !more {
                    break;
                }
            }
            assert_eq!(seen, all, "by {limit}, backward: {backward}");
        }
    }
}

pub async fn pages_stay_put_while_tasks_come(world: World<Episodic>) {
    let all = thirty(&world).await;
    let first = page(&world, query(Slice::first(10))).await;
    world.enqueue(&[task(100), task(101)]).await;
    let after = Some(position(&first.items[9]));
    let second = page(&world, query(Slice { after: after.clone(), ..Slice::first(10) })).await;
    assert_eq!(ids(&second.items), all[10..20]);
    let before = page(&world, query(Slice { before: after, ..Slice::last(100) })).await;
    assert_eq!(before.items.len(), 11, "the two new ones and nine of the first page");
    assert_eq!(ids(&before.items)[..2], [id(101), id(100)]);
    // A cursor stays a place when its task is elsewhere by now.
    let gone = Position { id: Uuid::from_u128(all[9].as_u128()), ..position(&first.items[9]) };
    assert_eq!(ids(&page(&world, query(Slice { after: Some(gone), ..Slice::first(3) })).await.items), all[10..13]);
}

pub async fn a_page_between_cursors_has_only_what_is_between(world: World<Episodic>) {
    let all = thirty(&world).await;
    let tasks = page(&world, query(Slice::first(30))).await.items;
    for (from, to) in [(3, 9), (3, 4), (3, 3), (9, 3)] {
        for backward in [false, true] {
            let (after, before) = (Some(position(&tasks[from])), Some(position(&tasks[to])));
            let found = page(&world, query(Slice { limit: 4, after, before, backward })).await;
            let between: Vec<Uuid> = all[from + 1..to.max(from + 1)].to_vec();
            let skipped = between.len().saturating_sub(4);
            let expected = if backward { &between[skipped..] } else { &between[..between.len() - skipped] };
            assert_eq!(ids(&found.items), expected, "{from} to {to}, backward: {backward}");
        }
    }
}

pub async fn a_wrong_cursor_is_invalid(world: World<Episodic>) {
    thirty(&world).await;
    let forged = Some(Position { value: SortValue::Text("x".to_owned()), id: id(1) });
    for slice in [
        Slice::first(0),
        Slice { after: forged.clone(), ..Slice::first(1) },
        Slice { before: forged, ..Slice::last(1) },
    ] {
        assert_eq!(kind(world.handle.task_pages(&world.scope, &[query(slice)]).await), ErrorKind::Invalid);
    }
}
