//! Orders and pages.

use super::{feed, numbers, post, put, query, search};
use crate::World;
use chimera_stores::{
    ErrorKind, Position, Slice, SortValue,
    search::{Document, Hit, Search, SearchOrder, SearchQuery},
};
use uuid::Uuid;

const ORDERS: [SearchOrder; 3] = [SearchOrder::Relevance, SearchOrder::Newest, SearchOrder::Oldest];

/// Scores and times with many ties; fed in batches, so that several segments take part.
async fn feed_ties(world: &World<Search>) {
    let titles = ["lantern", "lanterns", "a lantern in a longer title", "lanten", "lantern lantern"];
    for batch in 0..5_u128 {
        let documents = (1..=5_u128).map(|nth| {
            let number = batch * 5 + nth;
            let same_time = post(number % 4, "").created_at;
            Document { created_at: same_time, ..post(number, titles[(number % 5) as usize]) }
        });
        feed(&world.handle, &world.scope, documents).await;
    }
}

fn ordered(order: SearchOrder, slice: Slice) -> SearchQuery {
    SearchQuery { order, slice, ..query("lantern") }
}

async fn list(world: &World<Search>, order: SearchOrder) -> Vec<Hit> {
    let result = search(world, ordered(order, Slice::first(1000))).await;
    assert_eq!((result.hits.len(), result.total, result.has_next), (25, 25, false));
    result.hits
}

pub async fn orders_break_ties_by_id(world: World<Search>) {
    feed_ties(&world).await;
    for order in ORDERS {
        let hits = list(&world, order).await;
        for pair in hits.windows(2) {
            let way = pair[0].position.compare(&pair[1].position);
            assert_eq!(way.is_lt(), order == SearchOrder::Oldest, "{order:?}");
            assert!(way.is_ne());
        }
        for hit in hits {
            let value = match order {
                SearchOrder::Relevance => SortValue::Float(hit.score),
                _ => SortValue::Int(post(hit.id.as_u128() % 4, "").created_at.timestamp_micros()),
            };
            assert_eq!(hit.position, Position { value, id: hit.id });
        }
    }
}

pub async fn pages_are_slices(world: World<Search>) {
    feed_ties(&world).await;
    for order in ORDERS {
        let all = list(&world, order).await;
        for (after, before) in
            [(None, None), (Some(3), None), (None, Some(20)), (Some(3), Some(9)), (Some(24), None), (Some(9), Some(3))]
        {
            for limit in [1, 4, 25] {
                for backward in [false, true] {
                    let at = |at: Option<usize>| at.map(|at| all[at].position.clone());
                    let slice = Slice { limit, after: at(after), before: at(before), backward };
                    let page = search(&world, ordered(order, slice.clone())).await;
                    let expected = slice.apply(all.clone(), order != SearchOrder::Oldest, |hit| hit.position.clone());
                    assert_eq!(page.hits, expected.items, "{order:?} {slice:?}");
                    assert_eq!(page.has_next, expected.has_next, "{order:?} {slice:?}");
                    assert_eq!(page.total, 25, "of all pages together");
                }
            }
        }
    }
    let refused = world.handle.search(&world.scope, &[ordered(SearchOrder::Newest, Slice::first(0))]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

pub async fn walks_see_every_hit_once(world: World<Search>) {
    feed_ties(&world).await;
    for order in ORDERS {
        let expected: Vec<u128> = list(&world, order).await.iter().map(|hit| hit.id.as_u128()).collect();
        let (mut forwards, mut after) = (Vec::new(), None);
        loop {
            let page = search(&world, ordered(order, Slice { after: after.take(), ..Slice::first(4) })).await;
            forwards.extend(numbers(&page));
            if !page.has_next {
                break;
            }
            after = page.hits.last().map(|hit| hit.position.clone());
        }
        assert_eq!(forwards, expected);
        let (mut backwards, mut before) = (Vec::new(), None);
        loop {
            let page = search(&world, ordered(order, Slice { before: before.take(), ..Slice::last(4) })).await;
            let Some(first) = page.hits.first() else { break };
            before = Some(first.position.clone());
            backwards.splice(0..0, numbers(&page));
        }
        assert_eq!(backwards, expected);
    }
}

pub async fn a_walk_is_not_disturbed(world: World<Search>) {
    feed_ties(&world).await;
    for order in ORDERS {
        let expected = list(&world, order).await;
        let (mut seen, mut after) = (Vec::new(), None);
        for step in 0..25_u128 {
            let page = search(&world, ordered(order, Slice { after: after.take(), ..Slice::first(1) })).await;
            seen.extend(numbers(&page));
            after = page.hits.last().map(|hit| hit.position.clone());
            // Of another query's kind, rewritten again and again: segments come, go and are merged.
            let version = i64::try_from(step).unwrap() + 100 * (order as i64 + 1);
            world
                .handle
                .apply(&world.scope, &[put(version, post(1000 + step % 3, "noise"))])
                .await
                .unwrap()
                .remove(0)
                .unwrap();
        }
        assert_eq!(seen, expected.iter().map(|hit| hit.id.as_u128()).collect::<Vec<_>>(), "{order:?}");
    }
}

pub async fn a_foreign_cursor(world: World<Search>) {
    feed_ties(&world).await;
    let cursor = |value| Slice { after: Some(Position { value, id: Uuid::from_u128(1) }), ..Slice::first(5) };
    let queries = [
        ordered(SearchOrder::Relevance, cursor(SortValue::Int(1))),
        ordered(SearchOrder::Newest, cursor(SortValue::Float(1.0))),
        ordered(SearchOrder::Oldest, cursor(SortValue::Text("x".to_owned()))),
        ordered(SearchOrder::Relevance, cursor(SortValue::Float(f64::NAN))),
        ordered(SearchOrder::Relevance, Slice::first(5)),
    ];
    let answers = world.handle.search(&world.scope, &queries).await.unwrap();
    for refused in &answers[..3] {
        assert_eq!(refused.as_ref().unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(answers[3].as_ref().unwrap().hits.len(), 5, "a forged score is a place like any other");
    assert_eq!(answers[4].as_ref().unwrap().hits.len(), 5);
}
