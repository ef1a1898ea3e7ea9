//! Random documents and queries, answered by the store and by a model that reads every document.
//!
//! The model shares nothing with an adapter: distances by the textbook, facets and pages by going over a list.

use super::{facets::values, feed, post, query};
use crate::World;
use chimera_stores::{
    Scope, Slice,
    search::{
        Document, DocumentType, FacetCount, FacetField, Hit, Search, SearchFilter, SearchOrder, SearchQuery,
        SearchResult,
    },
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const FACETS: [FacetField; 5] =
    [FacetField::Type, FacetField::Tags, FacetField::Status, FacetField::Category, FacetField::Platform];

const WORDS: [&str; 12] = [
    "river",
    "rivers",
    "rover",
    "driver",
    "go",
    "goat",
    "mountain",
    "mountains",
    "fountain",
    "montain",
    "lake",
    "late",
];

fn words(most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(&WORDS), 0..=most).prop_map(|words| words.join(" "))
}

fn document() -> impl Strategy<Value = Document> {
    let value = |values: [&'static str; 2]| proptest::option::of(select(values.to_vec()).prop_map(str::to_owned));
    let types = select(vec![DocumentType::Persona, DocumentType::Post, DocumentType::Video]);
    let tags = proptest::collection::vec(select(vec!["red", "green", "lake view"]).prop_map(str::to_owned), 0..3);
    let values = (value(["LIVE", "DRAFT"]), value(["x", "y"]), value(["tv", "web"]));
    let owner = proptest::option::of((1..3_u128).prop_map(Uuid::from_u128));
    (types, words(3), words(4), tags, values, owner, 1..5_u128).prop_map(
        |(document_type, title, text, tags, (status, category, platform), persona_id, second)| Document {
            document_type,
            title,
            text,
            tags,
            status,
            category,
            platform,
            persona_id,
            created_at: post(second, "").created_at,
            ..post(0, "")
        },
    )
}

fn question() -> impl Strategy<Value = SearchQuery> {
    let text = proptest::collection::vec(
        select([&WORDS[..], &["riv", "m", "mountian", "fontain", "gaot", "lak"]].concat()),
        0..3,
    );
    let value = select(vec!["LIVE", "DRAFT", "x", "tv", "red", "lake view", "POST", "VIDEO"]).prop_map(str::to_owned);
    let condition = (select(FACETS.to_vec()), proptest::collection::vec(value, 1..4));
    let conditions = proptest::collection::vec(condition, 0..3);
    let types = proptest::collection::vec(select(vec![DocumentType::Post, DocumentType::Video]), 0..2);
    let owner = proptest::option::weighted(0.3, (1..3_u128).prop_map(Uuid::from_u128));
    let range = (proptest::option::weighted(0.3, 1..5_u128), proptest::option::weighted(0.3, 1..5_u128));
    let order = select(vec![SearchOrder::Relevance, SearchOrder::Newest, SearchOrder::Oldest]);
    let counted = proptest::sample::subsequence(FACETS.to_vec(), 0..=5);
    (text, conditions, types, owner, range, order, counted).prop_map(
        |(text, facets, types, persona_id, (from, to), order, counted)| SearchQuery {
            types,
            filter: SearchFilter {
                facets,
                persona_id,
                campaign_id: None,
                created_from: from.map(|second| post(second, "").created_at),
                created_to: to.map(|second| post(second, "").created_at),
            },
            order,
            facets: counted,
            ..query(&text.join(" "))
        },
    )
}

/// Edits between two words, a swap of neighbours being one (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                change.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                table[i][j] = table[i][j].min(table[i - 2][j - 2] + 1);
            }
        }
    }
    table[a.len()][b.len()]
}

fn word_matches(asked: &str, last: bool, word: &str) -> bool {
    let allowed = match asked.len() {
        0..4 => 0,
        4..8 => 1,
        _ => 2,
    };
    let (asked, word) = (asked.as_bytes(), word.as_bytes());
    if last {
        (0..=word.len()).any(|end| distance(asked, &word[..end]) <= allowed)
    } else {
        distance(asked, word) <= allowed
    }
}

fn text_matches(query: &str, document: &Document) -> bool {
    let all = format!("{} {} {}", document.title, document.text, document.tags.join(" "));
    let asked: Vec<&str> = query.split(' ').filter(|word| !word.is_empty()).collect();
    asked.iter().enumerate().all(|(at, asked_word)| {
        let last = at + 1 == asked.len();
        all.split(' ').filter(|word| !word.is_empty()).any(|word| word_matches(asked_word, last, word))
    })
}

fn holds(document: &Document, query: &SearchQuery, without: Option<FacetField>) -> bool {
    let filter = &query.filter;
    let admits = |(facet, wanted): &(FacetField, Vec<String>)| {
        Some(*facet) == without || values(document, *facet).iter().any(|value| wanted.contains(value))
    };
    text_matches(&query.query, document)
        && (query.types.is_empty() || query.types.contains(&document.document_type))
        && filter.facets.iter().all(admits)
        && filter.persona_id.is_none_or(|id| document.persona_id == Some(id))
        && filter.created_from.is_none_or(|from| document.created_at >= from)
        && filter.created_to.is_none_or(|to| document.created_at < to)
}

fn counts(documents: &[Document], query: &SearchQuery, facet: FacetField) -> Vec<FacetCount> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for document in documents.iter().filter(|document| holds(document, query, Some(facet))) {
        for value in values(document, facet) {
            *counts.entry(value).or_default() += 1;
        }
    }
    let mut counts: Vec<FacetCount> = counts.into_iter().map(|(value, count)| FacetCount { value, count }).collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.count));
    counts
}

fn check(documents: &[Document], query: &SearchQuery, result: &SearchResult) -> Result<(), TestCaseError> {
    let matching = documents.iter().filter(|document| holds(document, query, None));
    let expected: BTreeSet<Uuid> = matching.map(|document| document.id).collect();
    let found: BTreeSet<Uuid> = result.hits.iter().map(|hit| hit.id).collect();
    prop_assert_eq!(&found, &expected);
    prop_assert_eq!(result.total, expected.len() as u64);
    prop_assert_eq!(result.hits.len(), expected.len());
    for (facet, counted) in &result.facets {
        prop_assert_eq!(counted, &counts(documents, query, *facet), "{:?}", facet);
    }
    let descending = query.order != SearchOrder::Oldest;
    for pair in result.hits.windows(2) {
        let way = pair[0].position.compare(&pair[1].position);
        prop_assert_eq!(way.is_gt(), descending);
        prop_assert!(way.is_ne());
    }
    Ok(())
}

async fn ask(search: &Search, scope: &Scope, query: SearchQuery) -> SearchResult {
    search.search(scope, &[query]).await.unwrap().remove(0).unwrap()
}

/// The list by pages of `limit`, from the front or from the end.
async fn walk(search: &Search, scope: &Scope, query: &SearchQuery, limit: u32, backward: bool) -> Vec<Hit> {
    let (mut hits, mut slice) = (Vec::new(), Slice { backward, ..Slice::first(limit) });
    loop {
        let page = ask(search, scope, SearchQuery { slice: slice.clone(), ..query.clone() }).await;
        let (Some(first), Some(last)) = (page.hits.first(), page.hits.last()) else { return hits };
        if backward {
            slice.before = Some(first.position.clone());
            hits.splice(0..0, page.hits);
        } else {
            slice.after = Some(last.position.clone());
            hits.extend(page.hits);
        }
    }
}

pub async fn searches_equal_a_naive_model(world: World<Search>) {
    let strategy = (proptest::collection::vec(document(), 0..14), proptest::collection::vec(question(), 6), 1..5_u32);
    // Each round is an organisation of its own in one store, so that the rounds are also each other's strangers.
    let mut round = 100;
    let rounds = std::cell::RefCell::new(&mut round);
    let outcome = TestRunner::new(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })
        .run(&strategy, |(mut documents, questions, limit)| {
            **rounds.borrow_mut() += 1;
            let scope = Scope::system(Uuid::from_u128(**rounds.borrow()));
            for (number, document) in (1..).zip(&mut documents) {
                document.id = Uuid::from_u128(number);
            }
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    feed(&world.handle, &scope, documents.clone()).await;
                    for question in questions {
                        let result = ask(&world.handle, &scope, question.clone()).await;
                        check(&documents, &question, &result)?;
                        for backward in [false, true] {
                            let walked = walk(&world.handle, &scope, &question, limit, backward).await;
                            prop_assert_eq!(&walked, &result.hits);
                        }
                    }
                    Ok(())
                })
            })
        });
    outcome.unwrap();
}
