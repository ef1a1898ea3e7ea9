//! Changes may come twice, late, and in any order; what is removed stays removed.

use super::*;
use chimera_stores::{
    Slice,
    memory::{InteractionPageQuery, MemoryPageQuery},
};

const SUPERSEDED: Option<ErrorKind> = Some(ErrorKind::Superseded);

fn version(number: u32, version: i64, text: &str) -> MemoryRecord {
    MemoryRecord { version, ..memory(number, text) }
}

async fn interactions(world: &World<Memory>) -> Vec<Interaction> {
    let query = InteractionPageQuery { persona_id: PERSONA, counterparty: None, slice: Slice::first(100) };
    world.handle.interaction_pages(&world.scope, &[query]).await.unwrap().remove(0).items
}

async fn memories(world: &World<Memory>) -> Vec<MemoryRecord> {
    let query = MemoryPageQuery {
        persona_id: PERSONA,
        filter: MemoryFilter::default(),
        slice: Slice::first(1000),
        total: false,
    };
    world.handle.memory_pages(&world.scope, &[query]).await.unwrap().remove(0).items
}

async fn bio(world: &World<Memory>) -> Option<String> {
    let definition = world.handle.definitions(&world.scope, &[PERSONA]).await.unwrap().remove(0);
    definition.map(|definition| definition.bio)
}

pub async fn a_lower_version_is_superseded(world: World<Memory>) {
    let older = Interaction { version: 2, ..interaction(1, "old") };
    let newer = Interaction { version: 3, ..interaction(1, "new") };
    let now = [
        put(&version(1, 5, "new")),
        Change::PutDefinition(definition(5, "new")),
        Change::PutInteraction(newer.clone()),
    ];
    let late = [put(&version(1, 4, "old")), Change::PutDefinition(definition(4, "old")), Change::PutInteraction(older)];
    apply(&world, &now).await;
    assert_eq!(outcomes(&world, &late).await, [SUPERSEDED; 3]);
    assert_eq!(outcomes(&world, &[forget(1, 4), drop_persona(4)]).await, [SUPERSEDED; 2]);
    assert_eq!(look(&world, 1).await.unwrap().text, "new");
    assert_eq!(bio(&world).await.as_deref(), Some("new"));
    assert_eq!(interactions(&world).await, [newer]);
    assert_eq!(found(&world, query("old", RecallMode::Keyword)).await, [0_u128; 0]);
}

pub async fn an_equal_version_is_a_repeat(world: World<Memory>) {
    let changes = [
        put(&version(1, 2, "same")),
        Change::PutDefinition(definition(2, "same")),
        Change::PutInteraction(interaction(1, "same")),
    ];
    apply(&world, &changes).await;
    apply(&world, &changes).await;
    assert_eq!(memories(&world).await, [version(1, 2, "same")]);
    apply(&world, &[forget(1, 3), forget(1, 3), drop_persona(3), drop_persona(3)]).await;
    assert!(memories(&world).await.is_empty());
}

pub async fn changes_of_a_batch_apply_in_order(world: World<Memory>) {
    let changes = [
        put(&version(1, 1, "first")),
        put(&version(1, 3, "third")),
        put(&version(1, 2, "second")),
        put(&version(2, 1, "brief")),
        forget(2, 2),
        Change::PutDefinition(definition(1, "one")),
        Change::PutDefinition(definition(2, "two")),
    ];
    assert_eq!(outcomes(&world, &changes).await, [None, None, SUPERSEDED, None, None, None, None]);
    assert_eq!(memories(&world).await, [version(1, 3, "third")]);
    assert_eq!(bio(&world).await.as_deref(), Some("two"));
    assert_eq!(found(&world, query("first second brief third", RecallMode::Keyword)).await, [1]);
}

pub async fn a_forgotten_memory_stays_forgotten(world: World<Memory>) {
    remember(&world, &[memory(1, "a secret garden"), memory(2, "a public garden")]).await;
    apply(&world, &[forget(1, 2)]).await;
    assert_eq!(look(&world, 1).await, None);
    assert_eq!(outcomes(&world, &[put(&memory(1, "a secret garden"))]).await, [SUPERSEDED]);
    assert_eq!(look(&world, 1).await, None);
    assert_eq!(memories(&world).await.len(), 1);
    for mode in MODES {
        assert_eq!(found(&world, query("secret garden", mode)).await, [2], "{mode:?}");
    }
}

pub async fn a_forgotten_memory_returns_with_a_higher_version(world: World<Memory>) {
    remember(&world, &[memory(1, "a secret garden")]).await;
    apply(&world, &[forget(1, 2), put(&version(1, 3, "a secret garden"))]).await;
    assert_eq!(look(&world, 1).await.unwrap().version, 3);
    for mode in MODES {
        assert_eq!(found(&world, query("secret garden", mode)).await, [1], "{mode:?}");
    }
}

pub async fn forgetting_the_unknown_refuses_a_late_put(world: World<Memory>) {
    apply(&world, &[forget(1, 2)]).await;
    assert_eq!(outcomes(&world, &[put(&version(1, 1, "late"))]).await, [SUPERSEDED]);
    assert_eq!(look(&world, 1).await, None);
    apply(&world, &[drop_persona(2)]).await;
    assert_eq!(outcomes(&world, &[Change::PutDefinition(definition(1, "late"))]).await, [SUPERSEDED]);
    assert_eq!(bio(&world).await, None);
}

/// A persona with one of everything, dropped with version 2.
async fn dropped(world: &World<Memory>) -> [Change; 3] {
    let changes = [
        Change::PutDefinition(definition(1, "first life")),
        put(&memory(1, "from the first life")),
        Change::PutInteraction(interaction(1, "from the first life")),
    ];
    apply(world, &changes).await;
    apply(world, &[drop_persona(2)]).await;
    changes
}

pub async fn a_dropped_persona_leaves_nothing(world: World<Memory>) {
    let replays = dropped(&world).await;
    for _ in 0..2 {
        assert_eq!(bio(&world).await, None);
        assert_eq!(look(&world, 1).await, None);
        assert!(memories(&world).await.is_empty() && interactions(&world).await.is_empty());
        for mode in MODES {
            assert!(found(&world, query("first life", mode)).await.is_empty());
        }
        assert_eq!(outcomes(&world, &replays).await, [SUPERSEDED; 3]);
    }
    let unseen = [put(&version(7, 9, "never seen before")), Change::PutInteraction(interaction(7, "never"))];
    assert_eq!(outcomes(&world, &unseen).await, [SUPERSEDED; 2]);
}

pub async fn a_dropped_persona_returns_empty(world: World<Memory>) {
    let replays = dropped(&world).await;
    apply(&world, &[Change::PutDefinition(definition(3, "second life"))]).await;
    assert_eq!(outcomes(&world, &replays).await, [SUPERSEDED; 3]);
    assert_eq!(bio(&world).await.as_deref(), Some("second life"));
    assert!(memories(&world).await.is_empty() && interactions(&world).await.is_empty());
    remember(&world, &[memory(2, "from the second life")]).await;
    assert_eq!(found(&world, query("life", RecallMode::Keyword)).await, [2]);
}

pub async fn a_removal_wins_a_tie(world: World<Memory>) {
    apply(&world, &[put(&version(1, 2, "here")), forget(1, 2)]).await;
    assert_eq!(look(&world, 1).await, None);
    apply(&world, &[forget(2, 2)]).await;
    assert_eq!(outcomes(&world, &[put(&version(2, 2, "here"))]).await, [SUPERSEDED]);
    apply(&world, &[Change::PutDefinition(definition(2, "here")), drop_persona(2)]).await;
    assert_eq!(outcomes(&world, &[Change::PutDefinition(definition(2, "here"))]).await, [SUPERSEDED]);
    assert_eq!(bio(&world).await, None);
}

pub async fn the_order_of_delivery_does_not_matter(world: World<Memory>) {
    // All 24 orders of four changes, each on a memory of its own.
    let orders = (0..256_u32)
        .map(|code| [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6])
        .filter(|order| (0..4).all(|step| order.contains(&step)));
    let mut all = Vec::new();
    for (number, order) in (1..).zip(orders) {
        let steps = [
            put(&version(number, 1, "one")),
            put(&version(number, 2, "two")),
            forget(number, 3),
            put(&version(number, 4, "four")),
        ];
        all.extend(order.map(|step| steps[step as usize].clone()));
    }
    assert_eq!(all.len(), 24 * 4);
    for outcome in outcomes(&world, &all).await {
        assert!(outcome.is_none() || outcome == SUPERSEDED, "{outcome:?}");
    }
    let kept = memories(&world).await;
    assert_eq!(kept.len(), 24);
    assert!(kept.iter().all(|memory| memory.text == "four" && memory.version == 4));
}

pub async fn tombstones_survive_a_restart(world: World<Memory>) {
    remember(&world, &[memory(8, "forgotten before")]).await;
    apply(&world, &[forget(8, 2)]).await;
    let world = world.reopen().await;
    assert_eq!(outcomes(&world, &[put(&memory(8, "forgotten before"))]).await, [SUPERSEDED]);
    let replays = dropped(&world).await;
    let world = world.reopen().await;
    assert_eq!(outcomes(&world, &replays).await, [SUPERSEDED; 3]);
    apply(&world, &[Change::PutDefinition(definition(3, "second life"))]).await;
    let world = world.reopen().await;
    assert_eq!(outcomes(&world, &replays).await, [SUPERSEDED; 3]);
    assert!(memories(&world).await.is_empty() && interactions(&world).await.is_empty());
}

pub async fn concurrent_writers_of_one_memory(world: World<Memory>) {
    let writers: Vec<_> = (1..=16)
        .map(|number| {
            let (handle, scope) = (world.handle.clone(), world.scope.clone());
            // Few texts, so that the order is not that of the embedder.
            let change = put(&version(1, number, ["even", "odd"][number as usize % 2]));
            tokio::spawn(async move {
                let result = handle.apply(&scope, &[change]).await.unwrap().remove(0);
                let seen = handle.memories(&scope, &[(PERSONA, id(1))]).await.unwrap().remove(0);
                let seen = seen.unwrap().version;
                match result {
                    Ok(()) => assert!(seen >= number, "{number} was acknowledged, {seen} was read"),
                    Err(error) => assert!(error.kind() == ErrorKind::Superseded && seen > number, "{error:?}"),
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(look(&world, 1).await.unwrap(), version(1, 16, "even"));
    let world = world.reopen().await;
    assert_eq!(look(&world, 1).await.unwrap(), version(1, 16, "even"));
}

pub async fn concurrent_writers_of_many_memories(world: World<Memory>) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (handle, scope) = (world.handle.clone(), world.scope.clone());
            let batch: Vec<Change> = (0..10).map(|at| put(&memory(writer * 10 + at, "the same text"))).collect();
            tokio::spawn(async move { handle.apply(&scope, &batch).await.unwrap() })
        })
        .collect();
    for writer in writers {
        assert!(writer.await.unwrap().iter().all(Result::is_ok));
    }
    let kept = memories(&world).await;
    assert_eq!(kept.iter().map(|memory| memory.id.as_u128()).collect::<Vec<_>>(), (0..80).collect::<Vec<_>>());
    let all = RecallQuery { limit: 100, ..query("same", RecallMode::Keyword) };
    assert_eq!(found(&world, all.clone()).await.len(), 80);
    let world = world.reopen().await;
    assert_eq!(found(&world, all).await.len(), 80);
}
