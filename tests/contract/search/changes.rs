//! Changes: versions, removals, batches, concurrency, restarts, tenants.

use super::{counts, feed, found, numbers, owned, post, put, query, remove, search, time};
use crate::World;
use chimera_stores::{
    ErrorKind,
    search::{Document, DocumentType, FacetField, Search, TrendingQuery},
};
use futures_util::future::join_all;
use uuid::Uuid;

pub async fn answers_its_health(world: World<Search>) {
    world.handle.health(&world.scope).await.unwrap();
    let capabilities = world.handle.capabilities();
    assert!(!capabilities.adapter.is_empty() && !capabilities.place.is_empty() && capabilities.max_apply > 0);
}

pub async fn is_found_right_after_apply(world: World<Search>) {
    for number in 1..=20 {
        feed(&world.handle, &world.scope, [post(number, &format!("word{number:03}"))]).await;
        let result = search(&world, query(&format!("word{number:03}"))).await;
        assert_eq!(numbers(&result).first(), Some(&number), "before those that are one typo away");
    }
    let hit = search(&world, query("word007")).await.hits.remove(0);
    assert_eq!((hit.document_type, hit.title.as_str()), (DocumentType::Post, "word007"));
}

pub async fn empty_batches(world: World<Search>) {
    assert!(world.handle.apply(&world.scope, &[]).await.unwrap().is_empty());
    assert!(world.handle.search(&world.scope, &[]).await.unwrap().is_empty());
    assert!(world.handle.trending(&world.scope, &[]).await.unwrap().is_empty());
}

pub async fn an_empty_store_finds_nothing(world: World<Search>) {
    for text in ["", "anything"] {
        let facets = vec![FacetField::Type, FacetField::Tags];
        let result = search(&world, chimera_stores::search::SearchQuery { facets, ..query(text) }).await;
        assert!(result.hits.is_empty() && !result.has_next && result.total == 0);
        assert_eq!(result.facets, [(FacetField::Type, vec![]), (FacetField::Tags, vec![])]);
    }
    let trends =
        world.handle.trending(&world.scope, &[TrendingQuery { window_seconds: 3600, limit: 5 }]).await.unwrap();
    assert_eq!(trends, [vec![]]);
}

pub async fn a_new_version_replaces_the_old(world: World<Search>) {
    feed(&world.handle, &world.scope, [post(1, "caterpillar"), post(2, "bystander")]).await;
    let changed = [put(2, post(1, "butterfly"))];
    world.handle.apply(&world.scope, &changed).await.unwrap().remove(0).unwrap();
    assert_eq!(found(&world, "caterpillar").await, [0_u128; 0]);
    assert_eq!(found(&world, "butterfly").await, [1]);
    assert_eq!(found(&world, "").await, [1, 2]);
}

pub async fn a_stale_version_is_superseded(world: World<Search>) {
    world.handle.apply(&world.scope, &[put(5, post(1, "current"))]).await.unwrap().remove(0).unwrap();
    let stale = [put(4, post(1, "outdated")), put(1, post(2, "neighbour"))];
    let applied = world.handle.apply(&world.scope, &stale).await.unwrap();
    assert_eq!(applied[0].as_ref().unwrap_err().kind(), ErrorKind::Superseded);
    applied[1].as_ref().unwrap();
    let removed = world.handle.apply(&world.scope, &[remove(4, &post(1, ""))]).await.unwrap().remove(0);
    assert_eq!(removed.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(found(&world, "outdated").await, [0_u128; 0]);
    assert_eq!(found(&world, "").await, [1, 2]);
}

pub async fn the_same_version_again(world: World<Search>) {
    feed(&world.handle, &world.scope, [post(1, "first")]).await;
    // A version says what a document is: whoever repeats it is not listened to, but not refused either.
    feed(&world.handle, &world.scope, [post(1, "second")]).await;
    assert_eq!(found(&world, "first").await, [1]);
    assert_eq!(found(&world, "second").await, [0_u128; 0]);
}

pub async fn a_removal_is_remembered(world: World<Search>) {
    let document = post(1, "gone");
    feed(&world.handle, &world.scope, [document.clone()]).await;
    world.handle.apply(&world.scope, &[remove(3, &document)]).await.unwrap().remove(0).unwrap();
    assert_eq!(found(&world, "").await, [0_u128; 0]);
    let late = world.handle.apply(&world.scope, &[put(2, document.clone())]).await.unwrap().remove(0);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(found(&world, "gone").await, [0_u128; 0]);
    world.handle.apply(&world.scope, &[remove(3, &document)]).await.unwrap().remove(0).unwrap();
    world.handle.apply(&world.scope, &[put(4, document)]).await.unwrap().remove(0).unwrap();
    assert_eq!(found(&world, "gone").await, [1]);
}

pub async fn a_removal_may_come_first(world: World<Search>) {
    let document = post(1, "never");
    world.handle.apply(&world.scope, &[remove(7, &document)]).await.unwrap().remove(0).unwrap();
    let late = world.handle.apply(&world.scope, &[put(6, document)]).await.unwrap().remove(0);
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(found(&world, "").await, [0_u128; 0]);
}

pub async fn a_batch_applies_in_order(world: World<Search>) {
    let changes = [
        put(1, post(1, "one")),
        put(3, post(1, "three")),
        put(2, post(1, "two")),
        put(3, post(1, "again")),
        remove(1, &post(2, "")),
        put(2, post(2, "back")),
        put(1, post(3, "short lived")),
        remove(2, &post(3, "")),
    ];
    let applied = world.handle.apply(&world.scope, &changes).await.unwrap();
    let refused: Vec<usize> =
        applied.iter().enumerate().filter(|(_, result)| result.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [2]);
    assert_eq!(found(&world, "").await, [1, 2]);
    assert_eq!(found(&world, "three").await, [1]);
}

pub async fn a_large_batch(world: World<Search>) {
    let size = world.handle.capabilities().max_apply as u128 + 5;
    feed(&world.handle, &world.scope, (1..=size).map(|number| post(number, "crowd"))).await;
    assert_eq!(search(&world, query("crowd")).await.total, size as u64);
}

pub async fn an_invalid_change_fails_alone(world: World<Search>) {
    let mut of_another = put(1, post(1, "mismatch"));
    of_another.id = Uuid::from_u128(9);
    let mut of_another_type = put(1, post(2, "mismatch"));
    of_another_type.document_type = DocumentType::Video;
    let long = Document { tags: vec!["x".repeat(100_000)], ..post(3, "mismatch") };
    let changes = [of_another, of_another_type, put(1, long), put(1, post(4, "fine"))];
    let applied = world.handle.apply(&world.scope, &changes).await.unwrap();
    for refused in &applied[..3] {
        assert_eq!(refused.as_ref().unwrap_err().kind(), ErrorKind::Invalid);
    }
    applied[3].as_ref().unwrap();
    assert_eq!(found(&world, "").await, [4]);
}

pub async fn types_share_no_ids(world: World<Search>) {
    let video = Document { document_type: DocumentType::Video, ..post(1, "moving") };
    world.handle.apply(&world.scope, &[put(9, post(1, "still")), put(1, video.clone())]).await.unwrap();
    assert_eq!(found(&world, "still").await, [1]);
    assert_eq!(found(&world, "moving").await, [1]);
    world.handle.apply(&world.scope, &[remove(2, &video)]).await.unwrap().remove(0).unwrap();
    assert_eq!(found(&world, "still").await, [1]);
    assert_eq!(found(&world, "moving").await, [0_u128; 0]);
}

pub async fn sixteen_callers(world: World<Search>) {
    let callers = (0..16_u128).map(|caller| {
        let (search, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            for nth in 1..=4 {
                let number = caller * 4 + nth;
                feed(&search, &scope, [post(number, &format!("caller{caller:02} item{number:03}"))]).await;
                let own =
                    search.search(&scope, &[query(&format!("item{number:03} "))]).await.unwrap().remove(0).unwrap();
                assert!(numbers(&own).contains(&number), "a caller reads what was acknowledged to it");
            }
        })
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
    assert_eq!(found(&world, "").await, (1..=64).collect::<Vec<_>>());
}

pub async fn racing_versions(world: World<Search>) {
    let writers = (1..=16).map(|version| {
        let (search, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            let change = put(version, post(1, &format!("version{version:02}")));
            search.apply(&scope, &[change]).await.unwrap().remove(0).map_err(|error| error.kind())
        })
    });
    for written in join_all(writers).await {
        assert!(matches!(written.unwrap(), Ok(()) | Err(ErrorKind::Superseded)));
    }
    let result = search(&world, query("")).await;
    assert_eq!(result.hits.iter().map(|hit| hit.title.as_str()).collect::<Vec<_>>(), ["version16"]);
}

pub async fn everything_survives_a_restart(world: World<Search>) {
    let kept = Document { tags: owned(&["Alps"]), published_at: Some(time(-60)), ..post(1, "mountain") };
    feed(&world.handle, &world.scope, [kept, post(2, "removed")]).await;
    world.handle.apply(&world.scope, &[remove(5, &post(2, "")), put(5, post(3, "valley"))]).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(found(&world, "").await, [1, 3]);
    assert_eq!(found(&world, "mountian").await, [1]);
    let stale = [put(4, post(2, "removed")), put(4, post(3, "stale"))];
    for refused in world.handle.apply(&world.scope, &stale).await.unwrap() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Superseded);
    }
    let trends =
        world.handle.trending(&world.scope, &[TrendingQuery { window_seconds: 3600, limit: 5 }]).await.unwrap();
    assert_eq!(trends[0][0].topic, "Alps");
    world.handle.apply(&world.scope, &[put(6, post(3, "canyon"))]).await.unwrap().remove(0).unwrap();
    let world = world.reopen().await;
    assert_eq!(found(&world, "canyon").await, [3]);
}

pub async fn another_organisation_sees_nothing(world: World<Search>) {
    let tagged =
        |number, title| Document { tags: owned(&["secret"]), published_at: Some(time(-1)), ..post(number, title) };
    feed(&world.handle, &world.foreign, [tagged(1, "treasure"), tagged(2, "treasure map")]).await;
    let everything = || {
        let facets = vec![FacetField::Type, FacetField::Tags];
        chimera_stores::search::SearchQuery { facets, highlights: true, ..query("") }
    };
    let trend = TrendingQuery { window_seconds: 3600, limit: 5 };
    for text in ["", "treasure", "tresure", "secret"] {
        let result =
            search(&world, chimera_stores::search::SearchQuery { query: text.to_owned(), ..everything() }).await;
        assert!(result.hits.is_empty() && result.total == 0, "{text:?}");
        assert!(result.facets.iter().all(|(_, counts)| counts.is_empty()), "{text:?}");
    }
    assert_eq!(world.handle.trending(&world.scope, std::slice::from_ref(&trend)).await.unwrap(), [vec![]]);
    // The same ids are other documents here, and changing them changes nothing there.
    feed(&world.handle, &world.scope, [tagged(1, "mine")]).await;
    world.handle.apply(&world.scope, &[remove(9, &post(2, ""))]).await.unwrap().remove(0).unwrap();
    assert_eq!(found(&world, "").await, [1]);
    let result = search(&world, everything()).await;
    assert_eq!(counts(&result, FacetField::Tags), [("secret", 1)]);
    assert_eq!(world.handle.trending(&world.scope, &[trend]).await.unwrap()[0][0].count, 1);
    let theirs = world.handle.search(&world.foreign, &[query("treasure")]).await.unwrap().remove(0).unwrap();
    assert_eq!(theirs.total, 2);
    let before: Vec<f64> = theirs.hits.iter().map(|hit| hit.score).collect();
    feed(&world.handle, &world.scope, (10..40).map(|number| post(number, "treasure"))).await;
    let theirs = world.handle.search(&world.foreign, &[query("treasure")]).await.unwrap().remove(0).unwrap();
    assert_eq!(theirs.hits.iter().map(|hit| hit.score).collect::<Vec<_>>(), before, "not even scores tell");
}

pub async fn strange_texts(world: World<Search>) {
    let huge = format!("{} needle {}", "hay ".repeat(200_000), "x".repeat(200_000));
    let documents = [
        Document { text: huge, ..post(1, "huge") },
        Document { tags: owned(&["", "  "]), status: Some(String::new()), ..post(2, "") },
        Document { handle: Some("\u{202e}\u{0}\u{feff}".to_owned()), ..post(3, "\u{1f469}\u{200d}\u{1f680} \u{fffd}") },
        Document { text: "Zalgo t\u{0336}\u{0322}e\u{0300}\u{0301}xt".to_owned(), ..post(4, "\u{10ffff}") },
    ];
    let titles: Vec<String> = documents.iter().map(|document| document.title.clone()).collect();
    feed(&world.handle, &world.scope, documents).await;
    assert_eq!(found(&world, "needle").await, [1]);
    assert_eq!(found(&world, "zalgo text").await, [4]);
    assert_eq!(found(&world, "\u{1f680}").await, [3]);
    let result = search(
        &world,
        chimera_stores::search::SearchQuery {
            facets: vec![FacetField::Tags, FacetField::Status],
            highlights: true,
            ..query("")
        },
    )
    .await;
    let mut stored: Vec<(u128, String)> = result.hits.iter().map(|hit| (hit.id.as_u128(), hit.title.clone())).collect();
    stored.sort();
    assert_eq!(stored.into_iter().map(|(_, title)| title).collect::<Vec<_>>(), titles);
    assert_eq!(counts(&result, FacetField::Tags), [("", 1), ("  ", 1)]);
    assert_eq!(counts(&result, FacetField::Status), [("", 1)]);
}
