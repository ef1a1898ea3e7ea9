//! What is put is read, by whom it belongs to and nobody else, also after a restart.

use super::*;
use chimera_stores::{
    Slice,
    memory::{InteractionPageQuery, MemoryPageQuery},
};

fn all_memories(persona_id: Uuid) -> MemoryPageQuery {
    MemoryPageQuery { persona_id, filter: MemoryFilter::default(), slice: Slice::first(100), total: true }
}

fn all_interactions(persona_id: Uuid) -> InteractionPageQuery {
    InteractionPageQuery { persona_id, counterparty: None, slice: Slice::first(100) }
}

/// One of everything.
async fn settle(world: &World<Memory>) {
    let changes = [
        Change::PutDefinition(definition(1, "a sailor")),
        put(&memory(1, "sailed round the cape")),
        Change::PutInteraction(interaction(2, "ahoy")),
    ];
    apply(world, &changes).await;
}

pub async fn what_was_put_is_read_at_once(world: World<Memory>) {
    settle(&world).await;
    let (handle, scope) = (&world.handle, &world.scope);
    assert_eq!(handle.definitions(scope, &[PERSONA]).await.unwrap(), [Some(definition(1, "a sailor"))]);
    let mut kept = memory(1, "sailed round the cape");
    assert_eq!(look(&world, 1).await, Some(kept.clone()));
    assert_eq!(handle.memory_pages(scope, &[all_memories(PERSONA)]).await.unwrap()[0].items, [kept.clone()]);
    let page = handle.interaction_pages(scope, &[all_interactions(PERSONA)]).await.unwrap().remove(0);
    assert_eq!(page.items, [interaction(2, "ahoy")]);
    for mode in MODES {
        assert_eq!(recall(&world, query("cape", mode)).await.unwrap()[0].memory, kept, "{mode:?}");
    }
    kept.version = 2;
    kept.kind = MemoryKind::Reflection;
    kept.importance = 0.123_456_79;
    kept.source = Some("https://example.com/?q=1".to_owned());
    kept.tags = vec!["sea".to_owned(), "work".to_owned()];
    kept.occurred_at = start() + TimeDelta::microseconds(1);
    kept.created_at = start() - TimeDelta::microseconds(1);
    apply(&world, &[put(&kept)]).await;
    assert_eq!(look(&world, 1).await, Some(kept));
}

async fn check_absent(world: &World<Memory>, persona: Uuid) {
    let (handle, scope) = (&world.handle, &world.scope);
    assert_eq!(handle.definitions(scope, &[persona]).await.unwrap(), [None]);
    assert_eq!(handle.memories(scope, &[(persona, id(9))]).await.unwrap(), [None]);
    let page = handle.memory_pages(scope, &[all_memories(persona)]).await.unwrap().remove(0);
    assert_eq!((page.items.len(), page.has_next, page.has_previous, page.total), (0, false, false, Some(0)));
    let page = handle.interaction_pages(scope, &[all_interactions(persona)]).await.unwrap().remove(0);
    assert_eq!((page.items.len(), page.has_next, page.has_previous), (0, false, false));
    for mode in MODES {
        let query = RecallQuery { persona_id: persona, ..query("anything", mode) };
        assert!(recall(world, query).await.unwrap().is_empty());
    }
}

pub async fn absent_keys_are_none(world: World<Memory>) {
    check_absent(&world, PERSONA).await;
    settle(&world).await;
    check_absent(&world, OTHER).await;
    assert_eq!(look(&world, 9).await, None);
}

pub async fn duplicate_keys_are_answered_each(world: World<Memory>) {
    settle(&world).await;
    let (handle, scope) = (&world.handle, &world.scope);
    let (here, gone) = ((PERSONA, id(1)), (PERSONA, id(9)));
    let found = handle.memories(scope, &[here, gone, here, gone]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false]);
    let found = handle.definitions(scope, &[PERSONA, OTHER, PERSONA]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let pages = handle.memory_pages(scope, &[all_memories(PERSONA), all_memories(PERSONA)]).await.unwrap();
    assert_eq!((pages[0].items.len(), &pages[0]), (1, &pages[1]));
}

pub async fn empty_batches_are_empty(world: World<Memory>) {
    let (handle, scope) = (&world.handle, &world.scope);
    assert!(handle.apply(scope, &[]).await.unwrap().is_empty());
    assert!(handle.definitions(scope, &[]).await.unwrap().is_empty());
    assert!(handle.memories(scope, &[]).await.unwrap().is_empty());
    assert!(handle.memory_pages(scope, &[]).await.unwrap().is_empty());
    assert!(handle.interaction_pages(scope, &[]).await.unwrap().is_empty());
    assert!(handle.recall(scope, &[]).await.unwrap().is_empty());
    assert!(handle.contexts(scope, &[]).await.unwrap().is_empty());
}

pub async fn another_organization_sees_nothing(world: World<Memory>) {
    settle(&world).await;
    let (handle, foreign) = (&world.handle, &world.foreign);
    assert_eq!(handle.definitions(foreign, &[PERSONA]).await.unwrap(), [None]);
    assert_eq!(handle.memories(foreign, &[(PERSONA, id(1))]).await.unwrap(), [None]);
    let page = handle.memory_pages(foreign, &[all_memories(PERSONA)]).await.unwrap().remove(0);
    assert_eq!((page.items.len(), page.total), (0, Some(0)));
    assert!(handle.interaction_pages(foreign, &[all_interactions(PERSONA)]).await.unwrap()[0].items.is_empty());
    for mode in MODES {
        let found = handle.recall(foreign, &[query("cape", mode)]).await.unwrap().remove(0);
        assert!(found.unwrap().is_empty(), "{mode:?}");
    }
}

pub async fn another_organization_changes_nothing(world: World<Memory>) {
    settle(&world).await;
    let strange = MemoryRecord { version: 9, ..memory(1, "never sailed at all") };
    let foreign = [put(&strange), Change::PutDefinition(definition(9, "an impostor")), forget(1, 10), drop_persona(10)];
    for change in &foreign {
        let results = world.handle.apply(&world.foreign, std::slice::from_ref(change)).await.unwrap();
        assert!(results[0].is_ok());
        assert_eq!(look(&world, 1).await.unwrap().text, "sailed round the cape");
        let kept = world.handle.definitions(&world.scope, &[PERSONA]).await.unwrap().remove(0);
        assert_eq!(kept.unwrap().bio, "a sailor");
    }
    apply(&world, &[put(&MemoryRecord { version: 2, ..memory(1, "sailed twice") })]).await;
}

pub async fn personas_are_apart(world: World<Memory>) {
    let other = MemoryRecord { persona_id: OTHER, ..memory(1, "baked bread") };
    remember(&world, &[memory(1, "sailed round the cape"), other.clone()]).await;
    assert_eq!(look(&world, 1).await.unwrap().text, "sailed round the cape");
    assert_eq!(world.handle.memories(&world.scope, &[(OTHER, id(1))]).await.unwrap(), [Some(other)]);
    for mode in MODES {
        assert!(found(&world, query("bread", mode)).await.len() <= 1);
        let texts = recall(&world, query("cape bread", mode)).await.unwrap();
        assert_eq!(texts.iter().map(|found| found.memory.persona_id).collect::<Vec<_>>(), [PERSONA]);
    }
    apply(&world, &[drop_persona(1)]).await;
    assert_eq!(look(&world, 1).await, None);
    assert_eq!(world.handle.memory_pages(&world.scope, &[all_memories(OTHER)]).await.unwrap()[0].total, Some(1));
}

pub async fn what_was_acknowledged_survives_a_restart(world: World<Memory>) {
    settle(&world).await;
    remember(&world, &[memory(3, "The doctor told me to sleep more")]).await;
    let before = recall(&world, query("physician advised additional rest", RecallMode::Hybrid)).await.unwrap();
    let world = world.reopen().await;
    let (handle, scope) = (&world.handle, &world.scope);
    assert_eq!(handle.definitions(scope, &[PERSONA]).await.unwrap(), [Some(definition(1, "a sailor"))]);
    assert_eq!(look(&world, 1).await, Some(memory(1, "sailed round the cape")));
    let page = handle.interaction_pages(scope, &[all_interactions(PERSONA)]).await.unwrap().remove(0);
    assert_eq!(page.items, [interaction(2, "ahoy")]);
    let after = recall(&world, query("physician advised additional rest", RecallMode::Hybrid)).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(found(&world, query("doctor", RecallMode::Keyword)).await, [3]);
}

pub async fn text_of_any_script_comes_back_unchanged(world: World<Memory>) {
    let texts =
        ["日本の東京タワー", "हिन्दी में याद", "مرحبا بالعالم", "🎉 👩‍👩‍👧", "tab\tline\nnul\0end", "e\u{301}\u{202e}x"];
    let memories: Vec<MemoryRecord> = (1..).zip(texts).map(|(number, text)| memory(number, text)).collect();
    remember(&world, &memories).await;
    for kept in &memories {
        let number = kept.id.as_u128() as u32;
        assert_eq!(look(&world, number).await.as_ref(), Some(kept));
    }
    assert_eq!(found(&world, query("東京", RecallMode::Keyword)).await, [1]);
    assert_eq!(found(&world, query("हिन्दी", RecallMode::Keyword)).await, [2]);
    assert_eq!(found(&world, query("🎉 …", RecallMode::Keyword)).await, [0_u128; 0]);
    assert_eq!(found(&world, query("🎉", RecallMode::Semantic)).await.len(), texts.len());
}

pub async fn the_largest_text_is_taken_and_a_larger_one_refused(world: World<Memory>) {
    let filler = "filler ".repeat(2400);
    let largest = memory(1, &format!("{} needle", &filler[..16_384 - 7]));
    assert_eq!(largest.text.len(), 16_384);
    let too_large = memory(2, &format!("{}x", largest.text));
    assert_eq!(outcomes(&world, &[put(&largest), put(&too_large)]).await, [None, Some(ErrorKind::Invalid)]);
    assert_eq!(look(&world, 1).await, Some(largest));
    assert_eq!(look(&world, 2).await, None);
    // Also the words that no vector covers any more.
    assert_eq!(found(&world, query("needle", RecallMode::Keyword)).await, [1]);
    let world = world.reopen().await;
    assert_eq!(found(&world, query("needle", RecallMode::Hybrid)).await, [1]);
}

pub async fn a_bad_change_fails_alone(world: World<Memory>) {
    let good = memory(1, "good");
    let changes = [
        put(&memory(2, "")),
        put(&memory(3, " \n ")),
        put(&good),
        put(&MemoryRecord { importance: 1.5, ..memory(4, "too important") }),
        put(&MemoryRecord { importance: f32::NAN, ..memory(5, "not a number") }),
        Change::PutDefinition(definition(1, "")),
    ];
    let invalid = Some(ErrorKind::Invalid);
    assert_eq!(outcomes(&world, &changes).await, [invalid, invalid, None, invalid, invalid, None]);
    assert_eq!(outcomes(&world, &changes[..2]).await, [invalid, invalid]);
    let page = world.handle.memory_pages(&world.scope, &[all_memories(PERSONA)]).await.unwrap().remove(0);
    assert_eq!(page.items, [good]);
}

pub async fn the_store_is_healthy(world: World<Memory>) {
    world.handle.health(&world.scope).await.unwrap();
    let capabilities = world.handle.capabilities();
    assert!(!capabilities.adapter.is_empty() && !capabilities.model.is_empty());
    assert!(capabilities.dimensions > 0 && capabilities.exact_up_to > 0);
    settle(&world).await;
    world.handle.health(&world.scope).await.unwrap();
}
