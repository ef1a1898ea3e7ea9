//! What each adapter can do, as `docs/compatibility.md` says it: a "no" there shows in review.

use crate::{examples::pinned_at, support::TestApp};
use serde_json::Value;
use std::fmt::Write;

#[tokio::test]
async fn the_capabilities_are_what_the_documentation_says() {
    let test = TestApp::demo().await;
    let stores = &test.app.shared.stores;
    let to_json = |value: Result<Value, serde_json::Error>| value.unwrap();
    let all = [
        ("relational", to_json(serde_json::to_value(stores.relational.capabilities()))),
        ("memory", to_json(serde_json::to_value(stores.memory().unwrap().capabilities()))),
        ("episodic", to_json(serde_json::to_value(stores.episodic().unwrap().capabilities()))),
        ("telemetry", to_json(serde_json::to_value(stores.telemetry().unwrap().capabilities()))),
        ("ledger", to_json(serde_json::to_value(stores.ledger().unwrap().capabilities()))),
        ("media", to_json(serde_json::to_value(stores.media().unwrap().capabilities()))),
        ("search", to_json(serde_json::to_value(stores.search().unwrap().capabilities()))),
    ];
    let mut text = String::from(
        "# What each adapter can do\n\nGenerated from the adapters' own capabilities, and checked by a test.\n\n",
    );
    text.push_str("| port | adapter | capability | value |\n|---|---|---|---|\n");
    for (port, capabilities) in &all {
        let adapter = capabilities["adapter"].as_str().unwrap();
        for (name, value) in
            capabilities.as_object().unwrap().iter().filter(|(name, _)| !["adapter", "place"].contains(&name.as_str()))
        {
            writeln!(text, "| {port} | {adapter} | `{name}` | {value} |").unwrap();
        }
    }
    pinned_at("docs/compatibility.md", &text);
    test.app.stop().await;
}
