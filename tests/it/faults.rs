//! Seven stores × five ways to fail: the request answers inside its budget, every field of the healthy stores equals
//! the run without the fault, and each lost path has one coded error that shows no internals.

use crate::{examples::documents, support::TestApp};
use chimera_stores::{Store, guard::Fault};
use serde_json::{Value, json};
use std::time::Duration;

/// What `fault` becomes for a client. A slow store is slower than its deadline.
fn codes(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Refuse => &["STORE_UNAVAILABLE"],
        // Once the breaker is open, the store is not asked any more.
        Fault::Hang | Fault::Slow(_) => &["STORE_TIMEOUT", "STORE_UNAVAILABLE"],
        Fault::Fail => &["INTERNAL_ERROR", "STORE_UNAVAILABLE"],
        Fault::Nonsense => &["STORE_BAD_RESPONSE", "STORE_UNAVAILABLE"],
    }
}

/// Whether `partial` is `whole` with some fields null.
fn agrees(whole: &Value, partial: &Value, path: &str) {
    match (whole, partial) {
        (_, Value::Null) => {}
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (name, value) in a {
                // Signed addresses carry the time of signing and fresh randomness.
                if name != "url" {
                    agrees(value, &b[name], &format!("{path}.{name}"));
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                agrees(a, b, &format!("{path}.{index}"));
            }
        }
        (a, b) => assert_eq!(a, b, "{path}"),
    }
}

/// Paths at which a value was lost: null where the whole answer is not.
fn lost(whole: &Value, partial: &Value, path: &str, into: &mut Vec<String>) {
    match (whole, partial) {
        (Value::Null, Value::Null) => {}
        (_, Value::Null) => into.push(path.trim_start_matches('.').to_owned()),
        (Value::Object(a), Value::Object(b)) => {
            a.iter().for_each(|(name, value)| lost(value, &b[name], &format!("{path}.{name}"), into))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.iter().zip(b).enumerate().for_each(|(index, (a, b))| lost(a, b, &format!("{path}.{index}"), into));
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_store_that_fails_costs_its_own_fields_and_nothing_else() {
    let deadline = Duration::from_millis(400);
    let test =
        TestApp::with(&[("guard.deadline", "20s"), ("guard.breaker_failures", "3"), ("guard.breaker_open", "1ms")])
            .await;
    let document = &documents()["overview"];
    let whole = test.ask(document, json!({})).await.data().clone();
    test.app.stop().await;

    // The same folder with a short deadline: the data are the same, and a hanging store is given up soon.
    let mut ran = 0;
    let settings = crate::support::settings(
        test.folder.path(),
        &[("guard.deadline", "400ms"), ("guard.breaker_failures", "3"), ("guard.breaker_open", "1ms")],
    );
    let app = open_again(&settings, test.clock.clone()).await;
    let test = TestApp { app, api: test.api, clock: test.clock, settings, folder: test.folder };
    // The first answer loads the embedding model, which is no fault of a store.
    while test.ask(document, json!({})).await.body.get("errors").is_some() {}
    for store in Store::ALL {
        for fault in [Fault::Refuse, Fault::Hang, Fault::Slow(deadline * 10), Fault::Fail, Fault::Nonsense] {
            test.app.faults.set(store, Some(fault));
            let answer = test.ask(document, json!({})).await;
            test.app.faults.set(store, None);
            let context = format!("{store} {fault:?}: {:#}", answer.body);
            assert!(answer.elapsed < test.settings.limits.request_timeout, "{context}");
            // Levels that wait for a failing store wait one deadline each at the most, and few depend on one another.
            assert!(answer.elapsed < deadline * 4 + Duration::from_millis(500), "{:?} {context}", answer.elapsed);
            let data = &answer.body["data"];
            assert!(data.is_object(), "{context}");
            agrees(&whole, data, "data");
            let errors = answer.errors();
            assert!(!errors.is_empty(), "{context}");
            for (path, code) in &errors {
                assert!(codes(fault).contains(&code.as_str()), "{path} {code}: {context}");
            }
            let mut paths = Vec::new();
            lost(&whole, data, "", &mut paths);
            paths.sort();
            let errors: Vec<String> = errors.into_iter().map(|(path, _)| path).collect();
            assert_eq!(paths, errors, "each lost path has exactly one error: {context}");
            for error in answer.body["errors"].as_array().unwrap() {
                assert_eq!(error["extensions"]["store"], store.name(), "{context}");
                let message = error["message"].as_str().unwrap().to_lowercase();
                for internal in ["sqlite", "redb", "tantivy", "panick", ".rs", "/tmp", "select ", "sqlx"] {
                    assert!(!message.contains(internal), "{message}");
                }
            }
            heal(&test, document, &whole).await;
            ran += 1;
        }
    }
    assert_eq!(ran, 35);
    println!("fault matrix: {ran} of 35 combinations");
    test.app.stop().await;
}

/// Waits until the breaker has let a probe through.
async fn heal(test: &TestApp, document: &str, whole: &Value) {
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let answer = test.ask(document, json!({})).await;
        if answer.body.get("errors").is_none() {
            agrees(whole, &answer.body["data"], "data");
            return;
        }
    }
    panic!("the store did not heal");
}

pub async fn open_again(
    settings: &chimera::config::Settings,
    clock: std::sync::Arc<chimera_stores::ManualClock>,
) -> chimera::app::App {
    for _ in 0..200 {
        match chimera::app::App::open(settings, clock.clone()).await {
            Ok(mut app) => {
                app.start_jobs(None);
                return app;
            }
            // The writer threads of the first installation let go a moment after it is dropped.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("the folder cannot be opened again");
}

#[tokio::test]
async fn an_absent_store_costs_its_own_fields_and_nothing_else() {
    let test = TestApp::with(&[("search.url", "off"), ("ledger.url", "off"), ("outbox.wait", "50ms")]).await;
    let answer = test.ask("{ personas(first: 1) { nodes { handle ledgerEntries(first: 1) { nodes { kind } } } } search(query: \"x\") { totalCount } }", json!({})).await;
    assert_eq!(answer.body["data"]["personas"]["nodes"].as_array().unwrap().len(), 1);
    let errors = answer.errors();
    assert_eq!(
        errors,
        [
            ("personas.nodes.0.ledgerEntries".to_owned(), "STORE_UNAVAILABLE".to_owned()),
            ("search".to_owned(), "STORE_UNAVAILABLE".to_owned()),
        ]
    );
    test.app.stop().await;
}
