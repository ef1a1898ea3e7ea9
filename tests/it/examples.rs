//! Every example document answers without errors on the demo data, the same every time, and with a number of store
//! calls that is pinned.

use crate::support::TestApp;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The documents of `docs/queries`, by name.
pub fn documents() -> BTreeMap<String, String> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.extension()? == "graphql")
            .then(|| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
    };
    fs::read_dir(folder("docs/queries")).unwrap().filter_map(read).collect()
}

/// What differs between two runs of the same document: signed addresses, random keys, hashes of them.
fn stable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    "url" | "endCursor" | "startCursor" | "cursor" | "hash" if value.is_string() => *value = json!("…"),
                    // Scores of meaning differ in their last digits between processors.
                    "score" | "semantic" | "keyword" | "weight" if value.is_f64() => {
                        *value = json!((value.as_f64().unwrap() * 1000.0).round() / 1000.0);
                    }
                    _ => stable(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(stable),
        _ => {}
    }
}

/// Compares with a committed file; `UPDATE_SNAPSHOTS=1` writes it instead.
fn pinned(name: &str, text: &str) {
    pinned_at(&format!("tests/it/snapshots/{name}"), text);
}

/// The same for any file of the project.
pub fn pinned_at(name: &str, text: &str) {
    let path = folder(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{name} differs from the committed snapshot; look at the difference, then run with UPDATE_SNAPSHOTS=1\n--- committed\n{expected}\n--- now\n{text}"
    );
}

#[tokio::test]
async fn every_example_answers_and_its_store_calls_are_pinned() {
    let test = TestApp::demo().await;
    let (answers, calls) = answers(&test).await;
    for (name, data) in answers {
        pinned(&format!("{name}.json"), &format!("{}\n", serde_json::to_string_pretty(&data).unwrap()));
    }
    pinned("store-calls.txt", &calls);
    test.app.stop().await;
}

/// What each example document answers, and the store calls of all of them.
pub async fn answers(test: &TestApp) -> (BTreeMap<String, Value>, String) {
    let (mut answers, mut calls) = (BTreeMap::new(), String::new());
    for (name, document) in documents() {
        let answer = test.ask(&document, json!({})).await;
        let mut data = answer.data().clone();
        stable(&mut data);
        writeln!(calls, "{name}: {} calls", answer.calls.values().sum::<u32>()).unwrap();
        for ((store, operation), count) in &answer.calls {
            writeln!(calls, "  {store} {operation}: {count}").unwrap();
        }
        answers.insert(name, data);
    }
    (answers, calls)
}

#[tokio::test]
async fn calls_grow_with_levels_and_not_with_rows() {
    let test = TestApp::demo().await;
    let document = "query($rows: Int!) { personas(first: $rows) { nodes { handle definition { bio } avatar { kind }
        videos(first: 5) { nodes { title persona { handle campaigns(first: 3) { nodes { name posts(first: 3) { nodes { text persona { name } } } } } } } }
        wallets(first: 3) { nodes { balances { amount } } } tasks(first: 3) { nodes { kind } }
        renderStats(args: { range: { from: \"2025-01-01T00:00:00Z\", to: \"2027-01-01T00:00:00Z\" } }) { total { count } } } } }";
    let one = test.ask(document, json!({ "rows": 1 })).await;
    let all = test.ask(document, json!({ "rows": 100 })).await;
    assert_eq!(one.data()["personas"]["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(all.data()["personas"]["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(one.calls, all.calls);
    test.app.stop().await;
}

#[tokio::test]
async fn the_first_example_touches_all_seven_stores() {
    let test = TestApp::demo().await;
    let answer = test.ask(&documents()["overview"], json!({})).await;
    answer.data();
    let stores: std::collections::BTreeSet<_> = answer.calls.keys().map(|(store, _)| store.name()).collect();
    assert_eq!(stores.len(), 7, "{stores:?}");
    test.app.stop().await;
}

#[tokio::test]
async fn only_what_is_selected_is_read() {
    let test = TestApp::demo().await;
    let answer =
        test.ask("{ personas(first: 3) { nodes { handle } } service { version } viewer { role } }", json!({})).await;
    answer.data();
    assert_eq!(answer.calls.values().sum::<u32>(), 1, "{:?}", answer.calls);
    test.app.stop().await;
}
