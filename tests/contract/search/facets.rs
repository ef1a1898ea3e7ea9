//! Filters and facet counts.

use super::{counts, feed, found, numbers, owned, post, query, search, time};
use crate::World;
use chimera_stores::search::{Document, DocumentType, FacetField, Search, SearchFilter, SearchQuery};
use std::collections::BTreeMap;
use uuid::Uuid;

const ALL: [FacetField; 5] =
    [FacetField::Type, FacetField::Tags, FacetField::Status, FacetField::Category, FacetField::Platform];

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// Ten posts and two videos: statuses by turns, categories by thirds, one or two tags.
fn documents() -> Vec<Document> {
    (1..=12_u128)
        .map(|number| Document {
            document_type: if number > 10 { DocumentType::Video } else { DocumentType::Post },
            status: some(if number % 2 == 0 { "DRAFT" } else { "LIVE" }),
            category: some(["food", "travel", "Food"][number as usize % 3]),
            platform: (number > 4).then(|| "youtube".to_owned()),
            tags: if number % 4 == 0 { owned(&["a b", "c", "c"]) } else { owned(&["c"]) },
            ..post(number, if number < 9 { "sunrise" } else { "sunset" })
        })
        .collect()
}

fn by(facets: Vec<(FacetField, Vec<String>)>) -> SearchQuery {
    SearchQuery { filter: SearchFilter { facets, ..SearchFilter::default() }, ..query("") }
}

async fn filtered(world: &World<Search>, facets: Vec<(FacetField, Vec<String>)>) -> Vec<u128> {
    let mut uncounted = numbers(&search(world, by(facets.clone())).await);
    let counted = search(world, SearchQuery { facets: ALL.to_vec(), ..by(facets) }).await;
    assert_eq!(counted.total, uncounted.len() as u64);
    assert_eq!(numbers(&counted), uncounted, "counting does not change what is found");
    uncounted.sort_unstable();
    uncounted
}

pub async fn facet_filters_narrow(world: World<Search>) {
    feed(&world.handle, &world.scope, documents()).await;
    let on = |facet, values: &[&str]| (facet, owned(values));
    assert_eq!(filtered(&world, vec![on(FacetField::Status, &["LIVE"])]).await, [1, 3, 5, 7, 9, 11]);
    assert_eq!(filtered(&world, vec![on(FacetField::Tags, &["a b"])]).await, [4, 8, 12]);
    assert_eq!(filtered(&world, vec![on(FacetField::Type, &["VIDEO"])]).await, [11, 12]);
    assert_eq!(filtered(&world, vec![on(FacetField::Category, &["food", "travel"])]).await, [1, 3, 4, 6, 7, 9, 10, 12]);
    assert_eq!(filtered(&world, vec![on(FacetField::Category, &["FOOD"])]).await, [0_u128; 0], "compared as they are");
    assert_eq!(filtered(&world, vec![on(FacetField::Tags, &["a"])]).await, [0_u128; 0], "whole values");
    assert_eq!(
        filtered(&world, vec![on(FacetField::Platform, &["youtube"]), on(FacetField::Status, &["DRAFT"])]).await,
        [6, 8, 10, 12]
    );
    let both = vec![on(FacetField::Tags, &["c"]), on(FacetField::Tags, &["a b", "x"])];
    assert_eq!(filtered(&world, both).await, [4, 8, 12], "two conditions on one field must both hold");
    assert_eq!(filtered(&world, vec![on(FacetField::Status, &[])]).await, [0_u128; 0], "one of no values");
    let with_words = SearchQuery { query: "sunset".to_owned(), ..by(vec![on(FacetField::Status, &["LIVE"])]) };
    assert_eq!(search(&world, with_words).await.total, 2);
}

pub async fn owner_filters_and_types(world: World<Search>) {
    let id = |number: u128| Some(Uuid::from_u128(number));
    let owned_by = |number, persona: Option<Uuid>, campaign| Document {
        persona_id: persona,
        campaign_id: campaign,
        ..post(number, "owned")
    };
    let persona = Document { document_type: DocumentType::Persona, ..post(4, "owned") };
    let documents = [owned_by(1, id(71), id(81)), owned_by(2, id(71), id(82)), owned_by(3, id(72), None), persona];
    feed(&world.handle, &world.scope, documents).await;
    let with = |filter| SearchQuery { filter, ..query("owned") };
    let persona_of = |number| SearchFilter { persona_id: id(number), ..SearchFilter::default() };
    assert_eq!(numbers(&search(&world, with(persona_of(71))).await), [2, 1]);
    assert_eq!(numbers(&search(&world, with(persona_of(99))).await), [0_u128; 0]);
    let both = SearchFilter { campaign_id: id(81), ..persona_of(71) };
    assert_eq!(numbers(&search(&world, with(both)).await), [1]);
    let of_types = |types: &[DocumentType]| SearchQuery { types: types.to_vec(), ..query("owned") };
    assert_eq!(numbers(&search(&world, of_types(&[DocumentType::Persona])).await), [4]);
    assert_eq!(search(&world, of_types(&[DocumentType::Persona, DocumentType::Post])).await.total, 4);
    assert_eq!(search(&world, of_types(&[DocumentType::Topic])).await.total, 0);
}

pub async fn the_created_range(world: World<Search>) {
    feed(&world.handle, &world.scope, (1..=5).map(|number| post(number, "dated"))).await;
    let between = |from: Option<i64>, to: Option<i64>| {
        let filter = SearchFilter { created_from: from.map(time), created_to: to.map(time), ..SearchFilter::default() };
        SearchQuery { filter, ..query("dated") }
    };
    assert_eq!(numbers(&search(&world, between(Some(-4), Some(-2))).await), [4, 3]);
    assert_eq!(numbers(&search(&world, between(Some(-2), None)).await), [2, 1]);
    assert_eq!(numbers(&search(&world, between(None, Some(-4))).await), [5]);
    assert_eq!(numbers(&search(&world, between(Some(-2), Some(-4))).await), [0_u128; 0]);
    let facets = vec![FacetField::Type];
    let counted = search(&world, SearchQuery { facets, ..between(Some(-4), Some(-2)) }).await;
    assert_eq!(counts(&counted, FacetField::Type), [("POST", 2)]);
}

/// Counts by reading the documents, one facet at a time, without the facet's own filter.
fn naive_counts(
    documents: &[Document],
    facet: FacetField,
    filters: &[(FacetField, Vec<String>)],
) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for document in documents {
        let holds =
            |(of, wanted): &(FacetField, Vec<String>)| values(document, *of).iter().any(|value| wanted.contains(value));
        if filters.iter().filter(|(of, _)| *of != facet).all(holds) {
            for value in values(document, facet) {
                *counts.entry(value).or_default() += 1;
            }
        }
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The values a document counts for.
pub fn values(document: &Document, facet: FacetField) -> Vec<String> {
    let mut values: Vec<String> = match facet {
        FacetField::Type => vec![serde_json::to_value(document.document_type).unwrap().as_str().unwrap().to_owned()],
        FacetField::Tags => document.tags.clone(),
        FacetField::Status => document.status.iter().cloned().collect(),
        FacetField::Category => document.category.iter().cloned().collect(),
        FacetField::Platform => document.platform.iter().cloned().collect(),
    };
    values.sort();
    values.dedup();
    values
}

pub async fn disjunctive_counts(world: World<Search>) {
    let documents = documents();
    feed(&world.handle, &world.scope, documents.clone()).await;
    feed(&world.handle, &world.foreign, documents.clone()).await;
    let on = |facet, values: &[&str]| (facet, owned(values));
    for filters in [
        vec![],
        vec![on(FacetField::Status, &["LIVE"])],
        vec![on(FacetField::Status, &["LIVE"]), on(FacetField::Category, &["food", "Food"])],
        vec![on(FacetField::Tags, &["a b"]), on(FacetField::Type, &["POST"]), on(FacetField::Platform, &["youtube"])],
        vec![on(FacetField::Tags, &["unknown"])],
        vec![on(FacetField::Tags, &["unknown"]), on(FacetField::Status, &["unknown"])],
    ] {
        let result = search(&world, SearchQuery { facets: ALL.to_vec(), ..by(filters.clone()) }).await;
        for facet in ALL {
            let expected = naive_counts(&documents, facet, &filters);
            let expected: Vec<(&str, u64)> = expected.iter().map(|(value, count)| (value.as_str(), *count)).collect();
            assert_eq!(counts(&result, facet), expected, "{facet:?} under {filters:?}");
        }
        // A filter on a facet that is not counted applies to the counts of the others all the same.
        let alone = search(&world, SearchQuery { facets: vec![FacetField::Category], ..by(filters.clone()) }).await;
        assert_eq!(counts(&alone, FacetField::Category), counts(&result, FacetField::Category), "{filters:?}");
        assert_eq!(alone.total, result.total);
    }
    let narrowed = SearchQuery { types: vec![DocumentType::Video], facets: vec![FacetField::Type], ..query("") };
    assert_eq!(
        counts(&search(&world, narrowed).await, FacetField::Type),
        [("VIDEO", 2)],
        "types narrow the search itself"
    );
    assert_eq!(found(&world, "sunset").await, [9, 10, 11, 12]);
}

pub async fn sorted_and_limited(world: World<Search>) {
    let tagged = |number, tags: &[&str]| Document { tags: owned(tags), ..post(number, "tagged") };
    let documents = [tagged(1, &["b", "z"]), tagged(2, &["b", "a"]), tagged(3, &["é", "a", "b"]), tagged(4, &["Z"])];
    feed(&world.handle, &world.scope, documents).await;
    let limited = |facet_limit| SearchQuery {
        facets: vec![FacetField::Tags, FacetField::Status, FacetField::Tags],
        facet_limit,
        ..query("tagged")
    };
    let result = search(&world, limited(100)).await;
    assert_eq!(counts(&result, FacetField::Tags), [("b", 3), ("a", 2), ("Z", 1), ("z", 1), ("é", 1)]);
    assert_eq!(
        result.facets.iter().map(|(facet, _)| *facet).collect::<Vec<_>>(),
        [FacetField::Tags, FacetField::Status, FacetField::Tags]
    );
    assert_eq!(result.facets[0], result.facets[2]);
    assert_eq!(counts(&search(&world, limited(2)).await, FacetField::Tags), [("b", 3), ("a", 2)]);
    assert_eq!(counts(&search(&world, limited(0)).await, FacetField::Tags), []);
}
