//! The cases of the memory port, and the adapters they run on.
//!
//! Cases look for meaning only where the paraphrase has no word in common with the memory, and never at a cosine's
//! value: those differ between models.

mod context;
mod pages;
mod recall;
mod tenancy;
mod versions;

use crate::{Adapter, Case, World};
use chimera_stores::{
    ErrorKind, Guard, ManualClock, Result, Store,
    guard::{FaultPlan, GuardSettings, StoreMetrics},
    memory::{
        Change, Definition, Interaction, Memory, MemoryFilter, MemoryKind, MemoryRecord, RecallMode, RecallQuery,
        Recalled, embedded::EmbeddedMemory, embedder::BundledEmbedder,
    },
};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use futures_util::future::BoxFuture;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Memory>] = &[Adapter { name: "embedded", found: || true, open: open_embedded }];

fn open_embedded(folder: PathBuf, clock: Arc<ManualClock>) -> BoxFuture<'static, Memory> {
    Box::pin(async move {
        let embedder = Arc::new(BundledEmbedder::new());
        embedder.warm().await.unwrap();
        let started = Instant::now();
        let adapter = loop {
            match EmbeddedMemory::open(&folder, embedder.clone(), clock.clone()) {
                Ok(adapter) => break adapter,
                // The store before a reopening lets go of its file a moment after it is dropped.
                Err(error) if error.kind() == ErrorKind::Unavailable && started.elapsed().as_secs() < 10 => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        // Embedding is slow in a build without optimisation, and the machine may be busy.
        let settings = GuardSettings { deadline: Duration::from_secs(60), ..GuardSettings::default() };
        let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
        Memory::new(Guard::new(Store::Memory, settings, metrics, FaultPlan::default()), Arc::new(adapter))
    })
}

macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        /// Every case of the port.
        pub const CASES: &[Case<Memory>] =
            &[$($((stringify!($name), |world| Box::pin($module::$name(world)))),*),*];
    };
}

cases! {
    tenancy:
        what_was_put_is_read_at_once absent_keys_are_none duplicate_keys_are_answered_each empty_batches_are_empty
        another_organization_sees_nothing another_organization_changes_nothing personas_are_apart
        what_was_acknowledged_survives_a_restart text_of_any_script_comes_back_unchanged
        the_largest_text_is_taken_and_a_larger_one_refused a_bad_change_fails_alone the_store_is_healthy;
    versions:
        a_lower_version_is_superseded an_equal_version_is_a_repeat changes_of_a_batch_apply_in_order
        a_forgotten_memory_stays_forgotten a_forgotten_memory_returns_with_a_higher_version
        forgetting_the_unknown_refuses_a_late_put a_dropped_persona_leaves_nothing
        a_dropped_persona_returns_empty a_removal_wins_a_tie the_order_of_delivery_does_not_matter
        tombstones_survive_a_restart concurrent_writers_of_one_memory concurrent_writers_of_many_memories;
    pages:
        memory_pages_are_slices_of_the_list interaction_pages_are_slices_of_the_list pages_stand_still_under_inserts
        a_changed_date_moves_a_memory filters_and_totals_of_pages a_page_without_rows_is_refused
        a_forged_cursor_is_harmless;
    recall:
        a_paraphrase_is_recalled_by_meaning words_are_recalled_by_keyword keywords_ignore_case_and_accents
        a_rare_word_weighs_more hybrid_goes_from_words_to_meaning filters_hold_in_every_mode
        explained_scores_add_up importance_and_recency_decide_between_equals the_clock_may_jump
        equal_scores_are_ordered_by_id a_changed_text_is_found_by_its_new_words a_bad_query_fails_alone
        a_batch_of_recalls_answers_in_order;
    context:
        a_context_keeps_its_budget a_context_is_in_the_order_of_time a_context_leaves_out_repeats
        a_bad_context_query_fails_alone contexts_cost_one_recall contexts_keep_to_their_persona;
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The persona most cases are about.
const PERSONA: Uuid = Uuid::from_u128(100);
const OTHER: Uuid = Uuid::from_u128(200);

/// Where the clock of a world starts.
fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()
}

/// A memory of [`PERSONA`], version 1, that happened `number` hours before the start.
fn memory(number: u32, text: &str) -> MemoryRecord {
    let occurred_at = start() - TimeDelta::hours(i64::from(number));
    MemoryRecord {
        id: id(u128::from(number)),
        persona_id: PERSONA,
        version: 1,
        kind: MemoryKind::Episodic,
        text: text.to_owned(),
        importance: 0.5,
        source: None,
        tags: Vec::new(),
        occurred_at,
        created_at: start(),
    }
}

fn definition(version: i64, bio: &str) -> Definition {
    Definition {
        persona_id: PERSONA,
        version,
        bio: bio.to_owned(),
        voice: "warm".to_owned(),
        traits: vec!["curious".to_owned()],
        directives: vec!["be kind".to_owned()],
        updated_at: start(),
    }
}

fn interaction(number: u32, text: &str) -> Interaction {
    Interaction {
        id: id(u128::from(number)),
        persona_id: PERSONA,
        version: 1,
        channel: "instagram".to_owned(),
        counterparty: if number.is_multiple_of(2) { "ada" } else { "ben" }.to_owned(),
        outbound: number.is_multiple_of(3),
        text: text.to_owned(),
        occurred_at: start() - TimeDelta::hours(i64::from(number)),
    }
}

fn forget(number: u32, version: i64) -> Change {
    Change::ForgetMemory { persona_id: PERSONA, id: id(u128::from(number)), version }
}

fn drop_persona(version: i64) -> Change {
    Change::DropPersona { persona_id: PERSONA, version }
}

fn put(memory: &MemoryRecord) -> Change {
    Change::PutMemory(memory.clone())
}

/// Applies and answers the kinds of error, `None` for success.
async fn outcomes(world: &World<Memory>, changes: &[Change]) -> Vec<Option<ErrorKind>> {
    let results = world.handle.apply(&world.scope, changes).await.unwrap();
    results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
}

/// Applies what must all succeed.
async fn apply(world: &World<Memory>, changes: &[Change]) {
    assert_eq!(outcomes(world, changes).await, vec![None; changes.len()]);
}

async fn remember(world: &World<Memory>, memories: &[MemoryRecord]) {
    apply(world, &memories.iter().map(put).collect::<Vec<_>>()).await;
}

/// The memory as the store has it now.
async fn look(world: &World<Memory>, number: u32) -> Option<MemoryRecord> {
    let key = (PERSONA, id(u128::from(number)));
    world.handle.memories(&world.scope, &[key]).await.unwrap().remove(0)
}

fn query(text: &str, mode: RecallMode) -> RecallQuery {
    let filter = MemoryFilter::default();
    RecallQuery { persona_id: PERSONA, query: text.to_owned(), mode, filter, limit: 10, alpha: 0.5 }
}

async fn recall(world: &World<Memory>, query: RecallQuery) -> Result<Vec<Recalled>> {
    world.handle.recall(&world.scope, &[query]).await.unwrap().remove(0)
}

/// The numbers of the memories recalled, best first.
async fn found(world: &World<Memory>, query: RecallQuery) -> Vec<u128> {
    recall(world, query).await.unwrap().iter().map(|found| found.memory.id.as_u128()).collect()
}

const MODES: [RecallMode; 3] = [RecallMode::Semantic, RecallMode::Keyword, RecallMode::Hybrid];
