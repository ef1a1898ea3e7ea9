//! Context for a prompt: within its budget, without repeats, each line with its source.

use super::*;
use chimera_stores::{
    guard::CallCounter,
    memory::context::{Context, ContextQuery, estimate_tokens},
};

fn wish(text: &str, max_tokens: u32, mode: RecallMode) -> ContextQuery {
    let filter = MemoryFilter::default();
    ContextQuery { persona_id: PERSONA, query: text.to_owned(), max_tokens, mode, filter }
}

async fn context(world: &World<Memory>, wish: ContextQuery) -> Context {
    world.handle.contexts(&world.scope, &[wish]).await.unwrap().remove(0).unwrap()
}

fn numbers(context: &Context) -> Vec<u128> {
    context.citations.iter().map(|cited| cited.memory.id.as_u128()).collect()
}

pub async fn a_context_keeps_its_budget(world: World<Memory>) {
    let list: Vec<MemoryRecord> = ["red", "blue", "green", "black"]
        .iter()
        .zip(1..)
        .map(|(colour, number)| memory(number, &format!("walked the {colour} dog number {number} home at dusk")))
        .collect();
    remember(&world, &list).await;
    let mut counts = Vec::new();
    for budget in [1, 20, 40, 60, 1000] {
        let context = context(&world, wish("dog", budget, RecallMode::Keyword)).await;
        assert!(context.tokens <= budget, "{} of {budget}", context.tokens);
        assert_eq!(context.tokens, estimate_tokens(&context.text));
        assert_eq!(context.citations.len() + context.omitted as usize, 4);
        assert_eq!(context.text.lines().count(), context.citations.len());
        counts.push(context.citations.len());
    }
    assert!(counts.is_sorted() && counts[0] == 0 && counts[4] == 4, "{counts:?}");
    assert!(counts.contains(&1) || counts.contains(&2), "{counts:?}");
}

pub async fn a_context_is_in_the_order_of_time(world: World<Memory>) {
    let list = [
        memory(48, "The doctor told me to sleep more"),
        memory(2, "bought a new\nmattress for\tbetter sleep"),
        memory(24, "slept ten hours"),
    ];
    remember(&world, &list).await;
    let context = context(&world, wish("physician advised rest", 1000, RecallMode::Hybrid)).await;
    assert_eq!(
        context.text,
        "[1] 2025-12-30: The doctor told me to sleep more\n[2] 2025-12-31: slept ten hours\n\
         [3] 2025-12-31: bought a new mattress for better sleep"
    );
    assert_eq!(context.citations.iter().map(|cited| cited.marker).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(numbers(&context), [48, 24, 2]);
    assert_eq!(context.citations[2].memory, list[1]);
    let best = context.citations.iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
    assert_eq!(best.memory.id, id(48));
}

pub async fn a_context_leaves_out_repeats(world: World<Memory>) {
    let list = [
        MemoryRecord { importance: 1.0, ..memory(1, "Lunch with Ada at the harbour") },
        memory(2, "lunch with ada, at the harbour!"),
        memory(3, "Lunch with Ben at the station"),
    ];
    remember(&world, &list).await;
    for mode in MODES {
        let context = context(&world, wish("lunch", 1000, mode)).await;
        assert_eq!(numbers(&context), [3, 1], "{mode:?}");
        assert_eq!(context.omitted, 1);
    }
}

pub async fn a_bad_context_query_fails_alone(world: World<Memory>) {
    remember(&world, &[memory(1, "needle")]).await;
    let wishes = [
        wish("needle", 0, RecallMode::Keyword),
        wish("", 100, RecallMode::Keyword),
        wish("needle", 100, RecallMode::Keyword),
        wish("absent", 100, RecallMode::Keyword),
    ];
    let results = world.handle.contexts(&world.scope, &wishes).await.unwrap();
    let kinds: Vec<_> = results.iter().map(|result| result.as_ref().err().map(|error| error.kind())).collect();
    assert_eq!(kinds, [Some(ErrorKind::Invalid), Some(ErrorKind::Invalid), None, None]);
    assert_eq!(numbers(results[2].as_ref().unwrap()), [1]);
    let nothing = results[3].as_ref().unwrap();
    assert_eq!((nothing.text.as_str(), nothing.tokens, nothing.omitted), ("", 0, 0));
}

pub async fn contexts_cost_one_recall(world: World<Memory>) {
    remember(&world, &[memory(1, "needle")]).await;
    let calls = Arc::new(CallCounter::default());
    let scope = world.scope.for_request(Instant::now() + Duration::from_secs(60), calls.clone());
    let wishes: Vec<ContextQuery> = (1..9).map(|budget| wish("needle", budget * 10, RecallMode::Hybrid)).collect();
    assert_eq!(world.handle.contexts(&scope, &wishes).await.unwrap().len(), 8);
    assert_eq!(calls.snapshot().into_iter().collect::<Vec<_>>(), [((Store::Memory, "recall"), 1)]);
}

pub async fn contexts_keep_to_their_persona(world: World<Memory>) {
    let other = MemoryRecord { persona_id: OTHER, ..memory(2, "needle of another") };
    let tagged = MemoryRecord { tags: vec!["sewing".to_owned()], ..memory(3, "needle and thread") };
    remember(&world, &[memory(1, "needle"), other, tagged]).await;
    let tags = vec!["sewing".to_owned()];
    let wishes = [
        wish("needle", 100, RecallMode::Keyword),
        ContextQuery { persona_id: OTHER, ..wish("needle", 100, RecallMode::Keyword) },
        ContextQuery {
            filter: MemoryFilter { tags, ..MemoryFilter::default() },
            ..wish("needle", 100, RecallMode::Keyword)
        },
    ];
    let contexts = world.handle.contexts(&world.scope, &wishes).await.unwrap();
    let found: Vec<_> = contexts.iter().map(|context| numbers(context.as_ref().unwrap())).collect();
    assert_eq!(found, [vec![3, 1], vec![2], vec![3]]);
    let foreign = world.handle.contexts(&world.foreign, &wishes).await.unwrap();
    assert!(foreign.iter().all(|context| context.as_ref().unwrap().citations.is_empty()));
}
