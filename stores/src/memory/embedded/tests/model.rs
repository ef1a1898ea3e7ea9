//! The store against naive models: a recall computed from the formulas, and a map of what should be there.

use super::*;
use crate::memory::{embedder::unit_vectors, score::weight};
use proptest::{collection::vec, option, prelude::*};
use std::collections::BTreeMap;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn kinds() -> impl Strategy<Value = MemoryKind> {
    prop_oneof![Just(MemoryKind::Episodic), Just(MemoryKind::Semantic), Just(MemoryKind::Reflection)]
}

prop_compose! {
    fn memories()(
        rows in vec(("[a-e]( [a-e]){0,5}", 0.0..=1.0_f32, kinds(), option::of("[xy]"), vec("[pq]", 0..3), 0..400_i64), 1..60)
    ) -> Vec<MemoryRecord> {
        (1..).zip(rows).map(|(number, (text, importance, kind, source, tags, days))| MemoryRecord {
            importance, kind, source, tags,
            occurred_at: clock().now() - TimeDelta::days(days),
            ..memory(number, 1, &text)
        }).collect()
    }
}

prop_compose! {
    fn filters()(
        kinds in vec(kinds(), 0..3), from in option::of(0..400_i64), to in option::of(0..400_i64),
        min_importance in option::of(0.0..=1.0_f32), source in option::of("[xy]"), tags in vec("[pq]", 0..2),
    ) -> MemoryFilter {
        let at = |days| clock().now() - TimeDelta::days(days);
        MemoryFilter { kinds, from: from.map(at), to: to.map(at), min_importance, source, tags }
    }
}

/// Cosine, BM25 and weight of each memory that passes, from their definitions.
fn naive(all: &[MemoryRecord], query: &RecallQuery) -> Vec<(Uuid, f64, f64, f64)> {
    let embedder = fake();
    let vector = |text: &str| unit_vectors(&embedder.model, 1, vec![embedder.vector(text)]).unwrap().remove(0);
    let asked = vector(&query.query);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mean = all.iter().map(|memory| words(&memory.text).len()).sum::<usize>() as f64 / all.len() as f64;
    let mut terms = words(&query.query);
    terms.sort();
    terms.dedup();
    let having = |term: &String| all.iter().filter(|memory| words(&memory.text).contains(term)).count() as f64;
    let rarities: Vec<f64> = terms
        .iter()
        .map(having)
        .map(|having| (1.0 + (all.len() as f64 - having + 0.5) / (having + 0.5)).ln())
        .collect();
    let bm25 = |text: &str| {
        let own = words(text);
        let term = |(term, rarity): (&String, &f64)| {
            let count = own.iter().filter(|word| *word == term).count() as f64;
            rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * own.len() as f64 / mean))
        };
        terms.iter().zip(&rarities).map(term).sum::<f64>()
    };
    all.iter()
        .filter(|memory| {
            let filter = &query.filter;
            (filter.kinds.is_empty() || filter.kinds.contains(&memory.kind))
                && filter.from.is_none_or(|from| memory.occurred_at >= from)
                && filter.to.is_none_or(|to| memory.occurred_at < to)
                && filter.min_importance.is_none_or(|least| memory.importance >= least)
                && filter.source.as_ref().is_none_or(|source| memory.source.as_ref() == Some(source))
                && filter.tags.iter().all(|tag| memory.tags.contains(tag))
        })
        .map(|memory| {
            let own = vector(&memory.text);
            let cosine = asked.iter().zip(own).map(|(a, b)| f64::from(*a) * f64::from(b)).sum::<f64>();
            (memory.id, cosine, bm25(&memory.text), weight(memory.importance, clock().now() - memory.occurred_at))
        })
        .collect()
}

fn normalise(values: &[f64]) -> Vec<f64> {
    let (min, max) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(*value), max.max(*value)));
    let equal = max - min == 0.0;
    values.iter().map(|value| if equal { f64::from(*value > 0.0) } else { (value - min) / (max - min) }).collect()
}

fn naive_scores(all: &[MemoryRecord], query: &RecallQuery) -> BTreeMap<Uuid, f64> {
    let rows = naive(all, query);
    let alpha = f64::from(query.alpha);
    let semantic = normalise(&rows.iter().map(|row| row.1).collect::<Vec<_>>());
    let keyword = normalise(&rows.iter().map(|row| row.2).collect::<Vec<_>>());
    let score = |(at, (id, cosine, bm25, weight)): (usize, &(Uuid, f64, f64, f64))| match query.mode {
        RecallMode::Semantic => Some((*id, cosine.max(0.0) * weight)),
        RecallMode::Keyword => (*bm25 > 0.0).then_some((*id, bm25 * weight)),
        RecallMode::Hybrid => Some((*id, (alpha * semantic[at] + (1.0 - alpha) * keyword[at]) * weight)),
    };
    rows.iter().enumerate().filter_map(score).collect()
}

/// The same memories with the same scores, best first; equal scores (but for rounding) in any order.
fn check(all: &[MemoryRecord], query: &RecallQuery, recalled: &[Recalled]) {
    let expected = naive_scores(all, query);
    let mut best: Vec<f64> = expected.values().copied().collect();
    best.sort_by(|a, b| b.total_cmp(a));
    best.truncate(query.limit as usize);
    assert_eq!(recalled.len(), best.len());
    for (found, best) in recalled.iter().zip(best) {
        let own = expected[&found.memory.id];
        assert!((found.score - own).abs() < 1e-4, "{found:?} should have {own}");
        assert!((found.score - best).abs() < 1e-4, "{found:?} is where {best} should be");
    }
    let order: Vec<_> = recalled.iter().map(|found| (-found.score, found.memory.id)).collect();
    assert!(order.is_sorted_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).is_lt()), "{order:?}");
    let ids: std::collections::BTreeSet<_> = recalled.iter().map(|found| found.memory.id).collect();
    assert_eq!(ids.len(), recalled.len());
}

/// What one step of the model does.
#[derive(Clone, Debug)]
enum Step {
    Put(u128, i64, String),
    Forget(u128, i64),
    Define(i64),
    Drop(i64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..6_u128, 0..6_i64, "[a-d]( [a-d]){0,3}").prop_map(|(id, version, text)| Step::Put(id, version, text)),
        3 => (0..6_u128, 0..6_i64).prop_map(|(id, version)| Step::Forget(id, version)),
        1 => (0..6_i64).prop_map(Step::Define),
        1 => (0..6_i64).prop_map(Step::Drop),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..30)
}

/// Everything the store should know: by id the version and, unless it is gone, the text.
#[derive(Default)]
struct Model {
    persona: Option<(i64, bool)>,
    memories: BTreeMap<u128, (i64, Option<String>)>,
}

impl Model {
    /// Does a step and tells whether it should succeed.
    fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::Put(id, version, text) => {
                if self.persona.is_some_and(|(_, live)| !live) {
                    return false;
                }
                match self.memories.get(id) {
                    Some((stored, Some(_))) if version == stored => true,
                    Some((stored, _)) if version <= stored => false,
                    _ => {
                        self.memories.insert(*id, (*version, Some(text.clone())));
                        true
                    }
                }
            }
            Step::Forget(id, version) => match self.memories.get(id) {
                Some((stored, _)) if version < stored => false,
                _ => {
                    self.memories.insert(*id, (*version, None));
                    true
                }
            },
            Step::Define(version) => match self.persona {
                Some((stored, true)) if *version == stored => true,
                Some((stored, _)) if *version <= stored => false,
                _ => {
                    self.persona = Some((*version, true));
                    true
                }
            },
            Step::Drop(version) => match self.persona {
                Some((stored, _)) if *version < stored => false,
                Some((stored, false)) if *version == stored => true,
                _ => {
                    self.persona = Some((*version, false));
                    self.memories.values_mut().for_each(|(_, text)| *text = None);
                    true
                }
            },
            Step::Reopen => true,
        }
    }
}

fn change(step: &Step) -> Option<Change> {
    let definition = |version| Definition {
        persona_id: PERSONA,
        version,
        bio: version.to_string(),
        voice: String::new(),
        traits: Vec::new(),
        directives: Vec::new(),
        updated_at: DateTime::UNIX_EPOCH,
    };
    match step {
        Step::Put(id, version, text) => Some(put(*id, *version, text)),
        Step::Forget(id, version) => {
            Some(Change::ForgetMemory { persona_id: PERSONA, id: Uuid::from_u128(*id), version: *version })
        }
        Step::Define(version) => Some(Change::PutDefinition(definition(*version))),
        Step::Drop(version) => Some(Change::DropPersona { persona_id: PERSONA, version: *version }),
        Step::Reopen => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn recall_is_what_the_formulas_say(
        all in memories(), text in "[a-f]( [a-f]){0,3}", filter in filters(), limit in 1..20_u32, alpha in 0.0..=1.0_f32,
    ) {
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let store = reopen(folder.path(), &fake()).unwrap();
            let changes: Vec<Change> = all.iter().cloned().map(Change::PutMemory).collect();
            apply(&store, &changes).await;
            let queries: Vec<RecallQuery> = [RecallMode::Semantic, RecallMode::Keyword, RecallMode::Hybrid]
                .into_iter()
                .flat_map(|mode| [filter.clone(), MemoryFilter::default()].map(|filter| (mode, filter)))
                .map(|(mode, filter)| RecallQuery { filter, limit, alpha, ..query(&text, mode) })
                .collect();
            let results = store.recall(&scope(), &queries).await.unwrap();
            for (query, recalled) in queries.iter().zip(results) {
                check(&all, query, &recalled.unwrap());
            }
        });
    }

    #[test]
    fn any_changes_leave_what_the_model_says(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let embedder = fake();
            let mut store = reopen(folder.path(), &embedder).unwrap();
            let mut model = Model::default();
            for step in &steps {
                let expected = model.step(step);
                match change(step) {
                    Some(change) => {
                        let result = store.apply(&scope(), &[change]).await.unwrap().remove(0);
                        assert_eq!(result.is_ok(), expected, "{step:?}: {result:?}");
                        assert!(result.err().is_none_or(|error| error.kind() == ErrorKind::Superseded));
                    }
                    None => {
                        drop(store);
                        store = reopen(folder.path(), &embedder).unwrap();
                    }
                }
            }
            let keys: Vec<_> = (0..6).map(|id| (PERSONA, Uuid::from_u128(id))).collect();
            let found = store.memories(&scope(), &keys).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|found| found.map(|memory| (memory.version, memory.text))).collect();
            let expected: Vec<_> = (0..6)
                .map(|id| model.memories.get(&id).and_then(|(version, text)| Some((*version, text.clone()?))))
                .collect();
            assert_eq!(found, expected);
            let live: Vec<MemoryRecord> = (0..6)
                .filter_map(|id| expected[id as usize].as_ref().map(|(version, text)| memory(id, *version, text)))
                .collect();
            for mode in [RecallMode::Semantic, RecallMode::Keyword, RecallMode::Hybrid] {
                let query = query("a c d", mode);
                let recalled = store.recall(&scope(), std::slice::from_ref(&query)).await.unwrap().remove(0).unwrap();
                match live.is_empty() {
                    true => assert!(recalled.is_empty()),
                    false => check(&live, &query, &recalled),
                }
            }
            let definition = store.definitions(&scope(), &[PERSONA]).await.unwrap().remove(0);
            let expected = model.persona.filter(|(_, live)| *live).map(|(version, _)| version);
            assert_eq!(definition.map(|definition| definition.version), expected);
        });
    }
}

#[tokio::test]
async fn a_large_persona_is_scanned_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let store = reopen(folder.path(), &fake()).unwrap();
    let words = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch"];
    let text = |number: usize| [number % 7, number / 7 % 7, number / 49 % 7].map(|at| words[at]).join(" ");
    let all: Vec<MemoryRecord> = (0..3 * INLINE_ROWS).map(|number| memory(number as u128, 1, &text(number))).collect();
    let changes: Vec<Change> = all.iter().cloned().map(Change::PutMemory).collect();
    apply(&store, &changes).await;
    for mode in [RecallMode::Semantic, RecallMode::Keyword, RecallMode::Hybrid] {
        let query = query("elm larch", mode);
        let recalled = store.recall(&scope(), std::slice::from_ref(&query)).await.unwrap().remove(0).unwrap();
        check(&all, &query, &recalled);
    }
}
