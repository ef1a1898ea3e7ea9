//! The cases of the search port, and the adapters they run on.

mod changes;
mod facets;
mod model;
mod pages;
mod trending;
mod words;

use crate::{Adapter, Case, World};
use chimera_stores::{
    Guard, Scope, Slice, Store,
    guard::{FaultPlan, GuardSettings, StoreMetrics},
    search::{
        Change, Document, DocumentType, FacetField, Search, SearchFilter, SearchOrder, SearchQuery, SearchResult,
        embedded::EmbeddedSearch,
    },
};
use chrono::{DateTime, TimeZone, Utc};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Search>] = &[Adapter {
    name: "embedded",
    found: || true,
    open: |folder, clock| {
        Box::pin(async move {
            let adapter = EmbeddedSearch::open(&folder, clock).unwrap();
            Search::new(patient_guard(), Arc::new(adapter))
        })
    },
}];

/// A deadline that a loaded machine and a build without optimisation meet: these cases are about answers.
fn patient_guard() -> Guard {
    let settings = GuardSettings { deadline: Duration::from_secs(30), ..GuardSettings::default() };
    let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
    Guard::new(Store::Search, settings, metrics, FaultPlan::default())
}

/// Every case of the port.
pub const CASES: &[Case<Search>] = &[
    ("answers_its_health", |world| Box::pin(changes::answers_its_health(world))),
    ("a_document_is_found_right_after_apply", |world| Box::pin(changes::is_found_right_after_apply(world))),
    ("empty_batches_answer_nothing", |world| Box::pin(changes::empty_batches(world))),
    ("an_empty_store_finds_nothing", |world| Box::pin(changes::an_empty_store_finds_nothing(world))),
    ("a_new_version_replaces_the_old", |world| Box::pin(changes::a_new_version_replaces_the_old(world))),
    ("a_stale_version_is_superseded", |world| Box::pin(changes::a_stale_version_is_superseded(world))),
    ("the_same_version_again_changes_nothing", |world| Box::pin(changes::the_same_version_again(world))),
    ("a_removal_hides_and_is_remembered", |world| Box::pin(changes::a_removal_is_remembered(world))),
    ("a_removal_may_come_first", |world| Box::pin(changes::a_removal_may_come_first(world))),
    ("a_batch_applies_in_order", |world| Box::pin(changes::a_batch_applies_in_order(world))),
    ("a_batch_may_be_larger_than_the_adapters_limit", |world| Box::pin(changes::a_large_batch(world))),
    ("an_invalid_change_fails_alone", |world| Box::pin(changes::an_invalid_change_fails_alone(world))),
    ("types_share_no_ids", |world| Box::pin(changes::types_share_no_ids(world))),
    ("sixteen_callers_apply_at_once", |world| Box::pin(changes::sixteen_callers(world))),
    ("racing_versions_end_at_the_highest", |world| Box::pin(changes::racing_versions(world))),
    ("everything_survives_a_restart", |world| Box::pin(changes::everything_survives_a_restart(world))),
    ("another_organisation_sees_nothing", |world| Box::pin(changes::another_organisation_sees_nothing(world))),
    ("empty_huge_and_strange_texts_are_kept", |world| Box::pin(changes::strange_texts(world))),
    ("a_typo_finds_the_title", |world| Box::pin(words::a_typo_finds_the_title(world))),
    ("short_words_have_no_typos", |world| Box::pin(words::short_words_have_no_typos(world))),
    ("the_last_word_is_a_prefix", |world| Box::pin(words::the_last_word_is_a_prefix(world))),
    ("case_and_accents_do_not_matter", |world| Box::pin(words::case_and_accents(world))),
    ("every_word_must_match_in_any_field", |world| Box::pin(words::every_word_must_match(world))),
    ("better_matches_come_first", |world| Box::pin(words::better_matches_come_first(world))),
    ("a_blank_query_matches_everything", |world| Box::pin(words::a_blank_query(world))),
    ("there_is_no_query_syntax", |world| Box::pin(words::there_is_no_query_syntax(world))),
    ("scripts_without_spaces_and_emoji_are_found", |world| Box::pin(words::unspaced_scripts_and_emoji(world))),
    ("long_queries_are_answered_or_refused", |world| Box::pin(words::long_queries(world))),
    ("no_query_can_break_the_store", |world| Box::pin(words::no_query_can_break_the_store(world))),
    ("a_batch_answers_each_query", |world| Box::pin(words::a_batch_answers_each_query(world))),
    ("highlights_cover_what_matched", |world| Box::pin(words::highlights_cover_what_matched(world))),
    ("highlights_lie_on_characters", |world| Box::pin(words::highlights_lie_on_characters(world))),
    ("facet_filters_narrow", |world| Box::pin(facets::facet_filters_narrow(world))),
    ("owner_filters_and_types_narrow", |world| Box::pin(facets::owner_filters_and_types(world))),
    ("the_created_range_is_half_open", |world| Box::pin(facets::the_created_range(world))),
    ("a_facets_own_filter_does_not_apply_to_its_counts", |world| Box::pin(facets::disjunctive_counts(world))),
    ("facet_values_are_sorted_and_limited", |world| Box::pin(facets::sorted_and_limited(world))),
    ("orders_break_ties_by_id", |world| Box::pin(pages::orders_break_ties_by_id(world))),
    ("pages_are_slices_of_the_list", |world| Box::pin(pages::pages_are_slices(world))),
    ("walks_see_every_hit_once", |world| Box::pin(pages::walks_see_every_hit_once(world))),
    ("a_walk_is_not_disturbed_by_inserts", |world| Box::pin(pages::a_walk_is_not_disturbed(world))),
    ("a_cursor_of_another_order_fails_alone", |world| Box::pin(pages::a_foreign_cursor(world))),
    ("searches_equal_a_naive_model", |world| Box::pin(model::searches_equal_a_naive_model(world))),
    ("trends_decay_with_time", |world| Box::pin(trending::trends_decay_with_time(world))),
    ("trends_see_only_the_window", |world| Box::pin(trending::only_the_window(world))),
    ("trends_count_posts_and_videos", |world| Box::pin(trending::posts_and_videos(world))),
    ("trends_are_limited_and_sorted", |world| Box::pin(trending::limited_and_sorted(world))),
    ("trends_follow_a_clock_that_jumps_back", |world| Box::pin(trending::a_clock_that_jumps_back(world))),
];

fn time(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap() + chrono::Duration::seconds(seconds)
}

/// A post without anything but a title, made `number` seconds before the clock's start.
fn post(number: u128, title: &str) -> Document {
    Document {
        document_type: DocumentType::Post,
        id: Uuid::from_u128(number),
        title: title.to_owned(),
        handle: None,
        text: String::new(),
        tags: Vec::new(),
        status: None,
        category: None,
        platform: None,
        persona_id: None,
        campaign_id: None,
        created_at: time(-i64::try_from(number).unwrap()),
        published_at: None,
    }
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn put(version: i64, document: Document) -> Change {
    Change { document_type: document.document_type, id: document.id, version, document: Some(document) }
}

fn remove(version: i64, document: &Document) -> Change {
    Change { document_type: document.document_type, id: document.id, version, document: None }
}

/// Applies first versions.
async fn feed(search: &Search, scope: &Scope, documents: impl IntoIterator<Item = Document>) {
    let changes: Vec<Change> = documents.into_iter().map(|document| put(1, document)).collect();
    for applied in search.apply(scope, &changes).await.unwrap() {
        applied.unwrap();
    }
}

/// Looks for `text` by relevance, a hundred hits at most.
fn query(text: &str) -> SearchQuery {
    SearchQuery {
        query: text.to_owned(),
        types: Vec::new(),
        filter: SearchFilter::default(),
        facets: Vec::new(),
        facet_limit: 100,
        order: SearchOrder::Relevance,
        slice: Slice::first(100),
        highlights: false,
    }
}

async fn search(world: &World<Search>, query: SearchQuery) -> SearchResult {
    world.handle.search(&world.scope, &[query]).await.unwrap().remove(0).unwrap()
}

/// The numbers of the ids of the hits.
fn numbers(result: &SearchResult) -> Vec<u128> {
    result.hits.iter().map(|hit| hit.id.as_u128()).collect()
}

/// The numbers that `text` finds, ascending.
async fn found(world: &World<Search>, text: &str) -> Vec<u128> {
    let result = search(world, query(text)).await;
    let mut numbers = numbers(&result);
    assert_eq!(result.total, numbers.len() as u64, "{text:?}");
    numbers.sort_unstable();
    numbers
}

/// The counts of one facet of an answer.
fn counts(result: &SearchResult, facet: FacetField) -> Vec<(&str, u64)> {
    let (_, counts) = result.facets.iter().find(|(of, _)| *of == facet).unwrap();
    counts.iter().map(|count| (count.value.as_str(), count.count)).collect()
}
