//! Topics on the rise.

use super::{feed, owned, post, put, remove, time};
use crate::World;
use chimera_stores::search::{Document, DocumentType, Search, Trend, TrendingQuery};
use chrono::Duration;

/// A post published `seconds` before the clock's start.
fn published(number: u128, seconds: i64, tags: &[&str]) -> Document {
    Document { tags: owned(tags), published_at: Some(time(-seconds)), ..post(number, "published") }
}

async fn trends(world: &World<Search>, window_seconds: u64) -> Vec<Trend> {
    world.handle.trending(&world.scope, &[TrendingQuery { window_seconds, limit: 10 }]).await.unwrap().remove(0)
}

fn topics(trends: &[Trend]) -> Vec<(&str, u64)> {
    trends.iter().map(|trend| (trend.topic.as_str(), trend.count)).collect()
}

pub async fn trends_decay_with_time(world: World<Search>) {
    let old = (1..=3).map(|number| published(number, 3000, &["old"]));
    feed(&world.handle, &world.scope, old.chain([published(9, 0, &["fresh"])])).await;
    let now = trends(&world, 4000).await;
    assert_eq!(topics(&now), [("fresh", 1), ("old", 3)]);
    // The half-life is 1,000 seconds: three publications, three half-lives ago.
    assert!((now[0].score - 1.0).abs() < 1e-12 && (now[1].score - 3.0 / 8.0).abs() < 1e-12, "{now:?}");
    world.clock.advance(Duration::seconds(500));
    let later = trends(&world, 4000).await;
    for (before, after) in now.iter().zip(&later) {
        assert!((after.score - before.score * 0.5_f64.sqrt()).abs() < 1e-12, "{before:?} {after:?}");
    }
    // In a longer window age matters less, and the three are ahead.
    assert_eq!(topics(&trends(&world, 40_000).await), [("old", 3), ("fresh", 1)]);
}

pub async fn only_the_window(world: World<Search>) {
    let edges = [
        published(1, 100, &["edge"]),
        published(2, 101, &["before"]),
        published(3, -1, &["future"]),
        Document { tags: owned(&["unpublished"]), ..post(4, "draft") },
    ];
    feed(&world.handle, &world.scope, edges).await;
    assert_eq!(topics(&trends(&world, 100).await), [("edge", 1)]);
    assert_eq!(topics(&trends(&world, 0).await), []);
    world.clock.advance(Duration::seconds(1));
    assert_eq!(topics(&trends(&world, 100).await), [("future", 1)]);
    assert_eq!(topics(&trends(&world, 0).await), [("future", 1)], "published at this very moment");
    let ever = trends(&world, u64::MAX).await;
    assert_eq!(ever.len(), 3);
    assert!(ever.iter().all(|trend| trend.score > 0.99 && trend.score <= 1.0), "{ever:?}");
    world.clock.advance(Duration::seconds(-2));
    feed(&world.handle, &world.scope, [published(5, 1, &["this instant"])]).await;
    let instant = trends(&world, 0).await;
    assert_eq!((topics(&instant), instant[0].score), (vec![("this instant", 1)], 1.0));
}

pub async fn posts_and_videos(world: World<Search>) {
    let of = |number, document_type| Document { document_type, ..published(number, 10, &["tag"]) };
    let types =
        [DocumentType::Post, DocumentType::Video, DocumentType::Persona, DocumentType::Campaign, DocumentType::Topic];
    feed(&world.handle, &world.scope, (1..).zip(types).map(|(number, of_type)| of(number, of_type))).await;
    feed(&world.handle, &world.foreign, [of(1, DocumentType::Post)]).await;
    assert_eq!(topics(&trends(&world, 100).await), [("tag", 2)]);
    // One document counts once for a topic, in its newest version, and not at all when removed.
    let twice = Document { tags: owned(&["new", "new"]), ..of(1, DocumentType::Post) };
    world.handle.apply(&world.scope, &[put(2, twice)]).await.unwrap().remove(0).unwrap();
    world.handle.apply(&world.scope, &[remove(2, &of(2, DocumentType::Video))]).await.unwrap().remove(0).unwrap();
    assert_eq!(topics(&trends(&world, 100).await), [("new", 1)]);
}

pub async fn limited_and_sorted(world: World<Search>) {
    let documents = [published(1, 10, &["b", "a"]), published(2, 10, &["a", "c"]), published(3, 5, &["d"])];
    feed(&world.handle, &world.scope, documents).await;
    let ask = |limit| TrendingQuery { window_seconds: 100, limit };
    let answers = world.handle.trending(&world.scope, &[ask(10), ask(2), ask(0), ask(10)]).await.unwrap();
    assert_eq!(topics(&answers[0]), [("a", 2), ("d", 1), ("b", 1), ("c", 1)]);
    assert_eq!(answers[1], answers[0][..2]);
    assert!(answers[2].is_empty());
    assert_eq!(answers[3], answers[0], "the same question twice has the same answer");
}

pub async fn a_clock_that_jumps_back(world: World<Search>) {
    feed(&world.handle, &world.scope, [published(1, 10, &["early"]), published(2, 0, &["late"])]).await;
    assert_eq!(topics(&trends(&world, 100).await), [("late", 1), ("early", 1)]);
    world.clock.advance(Duration::seconds(-5));
    assert_eq!(topics(&trends(&world, 100).await), [("early", 1)], "what lies ahead is not yet published");
    world.clock.advance(Duration::days(-365));
    assert_eq!(topics(&trends(&world, 100).await), []);
    world.clock.advance(Duration::days(365) + Duration::seconds(5));
    assert_eq!(topics(&trends(&world, 100).await).len(), 2);
}
