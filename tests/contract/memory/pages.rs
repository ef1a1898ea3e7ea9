//! Pages: slices of one list, newest first, that stand still while others write.

use super::*;
use chimera_stores::{
    Page, Position, Slice, SortValue,
    memory::{InteractionPageQuery, MemoryPageQuery},
};
use std::fmt::Debug;

fn place(at: DateTime<Utc>, id: Uuid) -> Position {
    Position { value: SortValue::Int(at.timestamp_micros()), id }
}

async fn memory_page(world: &World<Memory>, filter: MemoryFilter, slice: Slice) -> Page<MemoryRecord> {
    let query = MemoryPageQuery { persona_id: PERSONA, filter, slice, total: true };
    world.handle.memory_pages(&world.scope, &[query]).await.unwrap().remove(0)
}

/// Walks a list of pages of three in both directions and holds it against the whole list.
async fn walk<T: Clone + PartialEq + Debug>(
    list: &[T],
    position: impl Fn(&T) -> Position,
    page: impl Fn(Slice) -> BoxFuture<'static, Page<T>>,
) {
    let (mut forward, mut after) = (Vec::new(), None);
    loop {
        let slice = Slice { after: after.clone(), ..Slice::first(3) };
        let page = page(slice.clone()).await;
        assert_eq!(page.items, slice.apply(list.to_vec(), true, &position).items);
        after = page.items.last().map(&position);
        forward.extend(page.items);
        assert_eq!(page.has_next, forward.len() < list.len());
        if !page.has_next {
            break;
        }
    }
    assert_eq!(forward, list);
    let (mut backward, mut before) = (Vec::new(), None);
    loop {
        let slice = Slice { before: before.clone(), ..Slice::last(3) };
        let mut page = page(slice.clone()).await;
        assert_eq!(page.items, slice.apply(list.to_vec(), true, &position).items);
        before = page.items.first().map(&position);
        page.items.extend(std::mem::take(&mut backward));
        backward = page.items;
        assert_eq!(page.has_previous, backward.len() < list.len());
        if !page.has_previous {
            break;
        }
    }
    assert_eq!(backward, list);
    let within = Slice { after: Some(position(&list[1])), before: Some(position(&list[5])), ..Slice::first(100) };
    assert_eq!(page(within.clone()).await.items, list[2..5]);
    assert_eq!(page(Slice { limit: 2, backward: true, ..within }).await.items, list[3..5]);
    let crossed = Slice { after: Some(position(&list[5])), before: Some(position(&list[1])), ..Slice::first(100) };
    assert!(page(crossed).await.items.is_empty());
}

/// Ten memories of one text, newest first, three of them at the same moment.
fn ten() -> Vec<MemoryRecord> {
    let mut memories: Vec<MemoryRecord> = (0..10)
        .map(|number| {
            let moment = if (4..7).contains(&number) { 4 } else { number };
            MemoryRecord { occurred_at: memory(moment, "").occurred_at, ..memory(number, "again and again") }
        })
        .collect();
    memories.sort_by_key(|memory| std::cmp::Reverse((memory.occurred_at, memory.id)));
    memories
}

pub async fn memory_pages_are_slices_of_the_list(world: World<Memory>) {
    let list = ten();
    remember(&world, &list).await;
    let page = |slice| -> BoxFuture<'static, _> {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        let query = MemoryPageQuery { persona_id: PERSONA, filter: MemoryFilter::default(), slice, total: true };
        Box::pin(async move { handle.memory_pages(&scope, &[query]).await.unwrap().remove(0) })
    };
    walk(&list, |memory| place(memory.occurred_at, memory.id), page).await;
}

pub async fn interaction_pages_are_slices_of_the_list(world: World<Memory>) {
    let list: Vec<Interaction> = (0..14).map(|number| interaction(number, "hello")).collect();
    apply(&world, &list.iter().cloned().map(Change::PutInteraction).collect::<Vec<_>>()).await;
    for counterparty in [None, Some("ada"), Some("ben")] {
        let expected: Vec<Interaction> =
            list.iter().filter(|one| counterparty.is_none_or(|name| one.counterparty == name)).cloned().collect();
        let page = |slice| -> BoxFuture<'static, _> {
            let (handle, scope) = (world.handle.clone(), world.scope.clone());
            let counterparty = counterparty.map(str::to_owned);
            let query = InteractionPageQuery { persona_id: PERSONA, counterparty, slice };
            Box::pin(async move { handle.interaction_pages(&scope, &[query]).await.unwrap().remove(0) })
        };
        walk(&expected, |one| place(one.occurred_at, one.id), page).await;
    }
}

pub async fn pages_stand_still_under_inserts(world: World<Memory>) {
    let list = ten();
    remember(&world, &list[2..]).await;
    let none = MemoryFilter::default;
    let first = memory_page(&world, none(), Slice::first(3)).await;
    let last = first.items.last().unwrap();
    let next = Slice { after: Some(place(last.occurred_at, last.id)), ..Slice::first(3) };
    remember(&world, &list[..2]).await;
    let after_insert = memory_page(&world, none(), next.clone()).await;
    assert_eq!(after_insert.items, list[5..8]);
    assert_eq!(after_insert.total, Some(10));
    // Also when the very memory that the cursor names is gone.
    apply(&world, &[Change::ForgetMemory { persona_id: PERSONA, id: last.id, version: 2 }]).await;
    assert_eq!(memory_page(&world, none(), next).await.items, list[5..8]);
}

pub async fn a_changed_date_moves_a_memory(world: World<Memory>) {
    remember(&world, &[memory(1, "again"), memory(2, "again"), memory(3, "again")]).await;
    let moved = MemoryRecord { version: 2, occurred_at: start(), ..memory(3, "again") };
    remember(&world, std::slice::from_ref(&moved)).await;
    let page = memory_page(&world, MemoryFilter::default(), Slice::first(10)).await;
    assert_eq!(page.items, [moved, memory(1, "again"), memory(2, "again")]);
    let earlier = Interaction { version: 2, occurred_at: start() - TimeDelta::days(9), ..interaction(1, "hi") };
    let changes = [interaction(1, "hi"), interaction(2, "hi"), earlier.clone()].map(Change::PutInteraction);
    apply(&world, &changes).await;
    let query = InteractionPageQuery { persona_id: PERSONA, counterparty: None, slice: Slice::first(10) };
    let page = world.handle.interaction_pages(&world.scope, &[query]).await.unwrap().remove(0);
    assert_eq!(page.items, [interaction(2, "hi"), earlier]);
}

pub async fn filters_and_totals_of_pages(world: World<Memory>) {
    let mut list = ten();
    for (at, memory) in list.iter_mut().enumerate() {
        memory.importance = at as f32 / 10.0;
        memory.tags = if at % 2 == 0 { vec!["even".to_owned()] } else { Vec::new() };
    }
    remember(&world, &list).await;
    let filter = MemoryFilter { min_importance: Some(0.3), tags: vec!["even".to_owned()], ..MemoryFilter::default() };
    let page = memory_page(&world, filter.clone(), Slice::first(2)).await;
    assert_eq!(page.items, [list[4].clone(), list[6].clone()]);
    assert_eq!((page.total, page.has_next, page.has_previous), (Some(3), true, false));
    let page = memory_page(&world, filter.clone(), Slice::last(2)).await;
    assert_eq!(page.items, [list[6].clone(), list[8].clone()]);
    assert_eq!((page.total, page.has_next, page.has_previous), (Some(3), false, true));
    let without = MemoryPageQuery { persona_id: PERSONA, filter, slice: Slice::first(2), total: false };
    assert_eq!(world.handle.memory_pages(&world.scope, &[without]).await.unwrap()[0].total, None);
}

pub async fn a_page_without_rows_is_refused(world: World<Memory>) {
    let slice = Slice::first(0);
    let query =
        MemoryPageQuery { persona_id: PERSONA, filter: MemoryFilter::default(), slice: slice.clone(), total: false };
    let error = world.handle.memory_pages(&world.scope, &[query]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let query = InteractionPageQuery { persona_id: PERSONA, counterparty: None, slice };
    let error = world.handle.interaction_pages(&world.scope, &[query]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

pub async fn a_forged_cursor_is_harmless(world: World<Memory>) {
    let list = ten();
    remember(&world, &list).await;
    for value in [SortValue::Float(f64::NAN), SortValue::Text("zzz".to_owned()), SortValue::Int(i64::MIN)] {
        for backward in [false, true] {
            let forged = Some(Position { value: value.clone(), id: id(1) });
            let after = Slice { after: forged.clone(), backward, ..Slice::first(4) };
            let before = Slice { before: forged, backward, ..Slice::first(4) };
            for slice in [after, before] {
                let expected = slice.apply(list.clone(), true, |memory| place(memory.occurred_at, memory.id));
                assert_eq!(memory_page(&world, MemoryFilter::default(), slice.clone()).await.items, expected.items);
            }
        }
    }
}
