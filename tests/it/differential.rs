//! The example documents give the same answers on real servers as on the embedded stores. How many store calls they
//! take is pinned for the embedded stores: which of two lists comes first decides whether their children share a batch,
//! and that differs with the stores' speed.

use crate::{
    examples::answers,
    support::{TestApp, servers::Servers},
};
use serde_json::Value;

/// What may differ: which adapter answers, and how it came by its numbers.
const OF_THE_ADAPTER: [&str; 5] = ["adapter", "telemetryStorage", "resolution", "freshTo", "percentileError"];
/// Percentiles from roll-ups are right to one per cent.
const PERCENTILES: [&str; 3] = ["p50", "p95", "p99"];

/// The paths at which two answers differ.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => {
            for (name, value) in left.iter().filter(|(name, _)| !OF_THE_ADAPTER.contains(&name.as_str())) {
                differences(&format!("{path}.{name}"), value, &right[name], found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}.{index}"), left, right, found);
            }
        }
        (Value::Number(left), Value::Number(right)) if left != right => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            let percentile = PERCENTILES.iter().any(|name| path.ends_with(name));
            // Sums of floats depend on their order in the last digits.
            let bound = if percentile { 0.0101 } else { 1e-12 };
            if (left - right).abs() > bound * left.abs() {
                found.push(format!("{path}: {left} and {right}"));
            }
        }
        _ if one != other => found.push(format!("{path}: {one} and {other}")),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_answer_alike_on_real_servers() {
    let Some(servers) = Servers::start() else { return };
    let embedded = TestApp::demo().await;
    let served = TestApp::with(&servers.settings()).await;
    let ((one, _), (other, _)) = (answers(&embedded).await, answers(&served).await);
    let mut found = Vec::new();
    for (name, answer) in &one {
        differences(name, answer, &other[name], &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    embedded.app.stop().await;
    served.app.stop().await;
}

#[test]
fn a_difference_is_seen() {
    let mut found = Vec::new();
    let one = serde_json::json!({ "a": [1, { "p50": 100.0, "adapter": "x" }], "sum": 2.0 });
    let other = serde_json::json!({ "a": [1, { "p50": 100.5, "adapter": "y" }], "sum": 2.1 });
    differences("", &one, &other, &mut found);
    assert_eq!(found, [".sum: 2 and 2.1"]);
}
