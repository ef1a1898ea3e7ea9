//! Recall by meaning, by words, and by both; what a score is made of.

use super::*;
use chimera_stores::memory::score::{Signals, relevance, weight};

fn in_mode(mode: RecallMode) -> impl Fn(&str) -> RecallQuery {
    move |text| query(text, mode)
}

const REST: &str = "The doctor told me to sleep more";
const ADVICE: &str = "physician advised additional rest";

pub async fn a_paraphrase_is_recalled_by_meaning(world: World<Memory>) {
    let memories = [
        memory(1, "Bought three tickets for the football match"),
        memory(2, REST),
        memory(3, "My neighbour plays the violin at night"),
        memory(4, "The recipe needs two cups of flour"),
    ];
    remember(&world, &memories).await;
    assert_eq!(found(&world, query(ADVICE, RecallMode::Keyword)).await, [0_u128; 0]);
    assert_eq!(found(&world, query(ADVICE, RecallMode::Semantic)).await[0], 2);
    assert_eq!(found(&world, query(ADVICE, RecallMode::Hybrid)).await[0], 2);
    assert_eq!(found(&world, query("instructions for baking", RecallMode::Semantic)).await[0], 4);
    assert_eq!(found(&world, query("noise from next door", RecallMode::Semantic)).await[0], 3);
}

pub async fn words_are_recalled_by_keyword(world: World<Memory>) {
    remember(&world, &[memory(1, "invoice 4711 was paid"), memory(2, "invoice 4712 is open"), memory(3, "lunch")])
        .await;
    let keyword = in_mode(RecallMode::Keyword);
    assert_eq!(found(&world, keyword("4711")).await, [1]);
    assert_eq!(found(&world, keyword("4712 invoice")).await, [2, 1]);
    assert_eq!(found(&world, keyword("471")).await, [0_u128; 0]);
    assert_eq!(found(&world, keyword("?! --")).await, [0_u128; 0]);
    let one = RecallQuery { limit: 1, ..keyword("invoice") };
    assert_eq!(found(&world, one).await.len(), 1);
}

pub async fn keywords_ignore_case_and_accents(world: World<Memory>) {
    remember(&world, &[memory(1, "Crème brûlée at the CAFÉ"), memory(2, "Straße nach Łódź")]).await;
    let keyword = in_mode(RecallMode::Keyword);
    for text in ["creme", "BRÛLÉE", "cafe\u{301}", "Ｃａｆｅ"] {
        assert_eq!(found(&world, keyword(text)).await, [1], "{text}");
    }
    for text in ["strasse", "STRASSE", "lodz"] {
        assert_eq!(found(&world, keyword(text)).await, [2], "{text}");
    }
}

pub async fn a_rare_word_weighs_more(world: World<Memory>) {
    let memories = [
        memory(1, "meeting about budget"),
        memory(2, "meeting about travel"),
        memory(3, "meeting about hiring"),
        memory(4, "walrus about noon"),
    ];
    remember(&world, &memories).await;
    assert_eq!(found(&world, query("walrus meeting", RecallMode::Keyword)).await[0], 4);
    // A text that is mostly the word says more about it than a long one that has it once.
    let long = format!("walrus {}", "and many other things ".repeat(20));
    remember(&world, &[memory(5, &long)]).await;
    assert_eq!(found(&world, query("walrus", RecallMode::Keyword)).await, [4, 5]);
}

pub async fn hybrid_goes_from_words_to_meaning(world: World<Memory>) {
    remember(&world, &[memory(1, REST), memory(2, "rest of the additional invoice"), memory(3, "rainy day")]).await;
    let by_words = RecallQuery { alpha: 0.0, ..query(ADVICE, RecallMode::Hybrid) };
    let by_meaning = RecallQuery { alpha: 1.0, ..query(ADVICE, RecallMode::Hybrid) };
    assert_eq!(found(&world, by_words).await[0], 2);
    let semantic = found(&world, query(ADVICE, RecallMode::Semantic)).await;
    assert_eq!(semantic[0], 1);
    assert_eq!(found(&world, by_meaning).await[0], 1);
    let both = query(ADVICE, RecallMode::Hybrid);
    assert_eq!(found(&world, both).await.len(), 3);
}

pub async fn filters_hold_in_every_mode(world: World<Memory>) {
    let list = [
        MemoryRecord { kind: MemoryKind::Semantic, importance: 0.1, ..memory(1, "coffee in the morning") },
        MemoryRecord { kind: MemoryKind::Procedural, importance: 0.6, ..memory(2, "how to brew coffee") },
        MemoryRecord { source: Some("twitter".to_owned()), importance: 0.9, ..memory(3, "coffee is overrated") },
        MemoryRecord { tags: vec!["food".to_owned(), "home".to_owned()], ..memory(4, "coffee and cake") },
        MemoryRecord { tags: vec!["food".to_owned()], ..memory(5, "coffee to go") },
    ];
    remember(&world, &list).await;
    let hours = |hours| Some(start() - TimeDelta::hours(hours));
    let none = MemoryFilter::default;
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    for (filter, expected) in [
        (none(), vec![1, 2, 3, 4, 5]),
        (MemoryFilter { kinds: vec![MemoryKind::Semantic, MemoryKind::Procedural], ..none() }, vec![1, 2]),
        (MemoryFilter { kinds: vec![MemoryKind::Reflection], ..none() }, vec![]),
        (MemoryFilter { from: hours(4), to: hours(2), ..none() }, vec![3, 4]),
        (MemoryFilter { from: hours(2), to: hours(4), ..none() }, vec![]),
        (MemoryFilter { min_importance: Some(0.6), ..none() }, vec![2, 3]),
        (MemoryFilter { source: Some("twitter".to_owned()), ..none() }, vec![3]),
        (MemoryFilter { source: Some("twit".to_owned()), ..none() }, vec![]),
        (MemoryFilter { tags: tags(&["food"]), ..none() }, vec![4, 5]),
        (MemoryFilter { tags: tags(&["food", "home"]), ..none() }, vec![4]),
        (MemoryFilter { tags: tags(&["food"]), from: hours(4), ..none() }, vec![4]),
    ] {
        for mode in MODES {
            let mut found = found(&world, RecallQuery { filter: filter.clone(), ..query("coffee", mode) }).await;
            found.sort_unstable();
            assert_eq!(found, expected, "{mode:?} {filter:?}");
        }
    }
}

pub async fn explained_scores_add_up(world: World<Memory>) {
    let list = [
        MemoryRecord { importance: 1.0, ..memory(1, "The doctor told me to sleep more") },
        MemoryRecord { importance: 0.0, ..memory(2_000, "physician visit next week") },
        memory(300, "additional rest is what I need"),
        memory(4, "the printer is out of paper"),
    ];
    remember(&world, &list).await;
    for mode in MODES {
        let recalled = recall(&world, RecallQuery { alpha: 0.3, ..query(ADVICE, mode) }).await.unwrap();
        assert_eq!(recalled.len(), if mode == RecallMode::Keyword { 2 } else { 4 });
        let signals: Vec<Signals> =
            recalled.iter().map(|found| Signals { semantic: found.semantic, keyword: found.keyword }).collect();
        for (found, relevance) in recalled.iter().zip(relevance(mode, &signals, 0.3)) {
            let expected = weight(found.memory.importance, start() - found.memory.occurred_at);
            assert!((found.weight - expected).abs() < 1e-9, "{found:?}");
            assert!((found.score - relevance * expected).abs() < 1e-6, "{found:?}: {relevance} × {expected}");
            assert_eq!(found.semantic.is_some(), mode != RecallMode::Keyword);
            assert_eq!(found.keyword.is_some(), mode != RecallMode::Semantic);
            assert!(found.semantic.is_none_or(|cosine| (-1.0..=1.0).contains(&cosine)));
        }
        assert!(recalled.is_sorted_by(|a, b| a.score >= b.score));
    }
}

pub async fn importance_and_recency_decide_between_equals(world: World<Memory>) {
    let list = [
        memory(1, "the same words"),
        MemoryRecord { importance: 0.9, ..memory(2, "the same words") },
        MemoryRecord { occurred_at: start() - TimeDelta::days(90), ..memory(3, "the same words") },
    ];
    remember(&world, &list).await;
    for mode in MODES {
        assert_eq!(found(&world, query("same words", mode)).await, [2, 1, 3], "{mode:?}");
    }
}

async fn weight_now(world: &World<Memory>) -> f64 {
    recall(world, query("day", RecallMode::Keyword)).await.unwrap()[0].weight
}

pub async fn the_clock_may_jump(world: World<Memory>) {
    remember(&world, &[memory(0, "a day to remember")]).await;
    let fresh = weight_now(&world).await;
    assert!((fresh - 1.125).abs() < 1e-9, "{fresh}");
    world.clock.advance(TimeDelta::days(30));
    assert!((weight_now(&world).await - 1.0).abs() < 1e-9);
    world.clock.advance(TimeDelta::days(400_000));
    assert!((weight_now(&world).await - 0.875).abs() < 1e-9);
    // Back before the memory: it counts as new, not as better than new.
    world.clock.advance(TimeDelta::days(-500_000));
    assert_eq!(weight_now(&world).await, fresh);
}

pub async fn equal_scores_are_ordered_by_id(world: World<Memory>) {
    let list: Vec<MemoryRecord> =
        [7, 3, 9, 1, 5].map(|number| MemoryRecord { occurred_at: start(), ..memory(number, "twins") }).into();
    remember(&world, &list).await;
    for mode in MODES {
        assert_eq!(found(&world, query("twins", mode)).await, [1, 3, 5, 7, 9], "{mode:?}");
        assert_eq!(found(&world, RecallQuery { limit: 2, ..query("twins", mode) }).await, [1, 3], "{mode:?}");
    }
}

pub async fn a_changed_text_is_found_by_its_new_words(world: World<Memory>) {
    remember(&world, &[memory(1, "I live in Oslo"), memory(2, "a ladder")]).await;
    remember(&world, &[MemoryRecord { version: 2, ..memory(1, REST) }]).await;
    assert_eq!(found(&world, query("Oslo", RecallMode::Keyword)).await, [0_u128; 0]);
    assert_eq!(found(&world, query("doctor", RecallMode::Keyword)).await, [1]);
    assert_eq!(found(&world, query(ADVICE, RecallMode::Semantic)).await[0], 1);
    // The same text with other properties.
    remember(&world, &[MemoryRecord { version: 3, importance: 1.0, ..memory(1, REST) }]).await;
    assert_eq!(recall(&world, query(ADVICE, RecallMode::Semantic)).await.unwrap()[0].memory.importance, 1.0);
}

pub async fn a_bad_query_fails_alone(world: World<Memory>) {
    remember(&world, &[memory(1, "needle")]).await;
    let keyword = in_mode(RecallMode::Keyword);
    let queries = [
        keyword(""),
        keyword("needle"),
        keyword("  \n"),
        keyword(&"x".repeat(4097)),
        RecallQuery { limit: 0, ..keyword("needle") },
        RecallQuery { limit: 101, ..keyword("needle") },
        RecallQuery { alpha: 1.5, ..keyword("needle") },
        RecallQuery { alpha: f32::NAN, ..keyword("needle") },
        RecallQuery { limit: 100, ..keyword(&format!("needle {}", "x".repeat(4089))) },
    ];
    let results = world.handle.recall(&world.scope, &queries).await.unwrap();
    for (at, result) in results.iter().enumerate() {
        match at {
            1 | 8 => assert_eq!(result.as_ref().unwrap().len(), 1),
            _ => assert_eq!(result.as_ref().unwrap_err().kind(), ErrorKind::Invalid, "{at}"),
        }
    }
    let results = world.handle.recall(&world.scope, &queries[..1]).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
}

pub async fn a_batch_of_recalls_answers_in_order(world: World<Memory>) {
    let other = MemoryRecord { persona_id: OTHER, ..memory(3, "a boat") };
    remember(&world, &[memory(1, "an apple"), memory(2, "a boat"), other]).await;
    let keyword = in_mode(RecallMode::Keyword);
    let semantic = in_mode(RecallMode::Semantic);
    let queries = [
        keyword("boat"),
        semantic("a fruit"),
        RecallQuery { persona_id: OTHER, ..semantic("a fruit") },
        semantic("a fruit"),
        RecallQuery { persona_id: id(999), ..semantic("a fruit") },
        semantic("a ship"),
    ];
    let results = world.handle.recall(&world.scope, &queries).await.unwrap();
    let first: Vec<Option<u128>> =
        results.iter().map(|result| result.as_ref().unwrap().first().map(|found| found.memory.id.as_u128())).collect();
    assert_eq!(first, [Some(2), Some(1), Some(3), Some(1), None, Some(2)]);
    assert_eq!(results[1].as_ref().unwrap(), results[3].as_ref().unwrap());
}
