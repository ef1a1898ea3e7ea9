//! A search index that was lost is filled again from the relational store at the next start.

use crate::{faults::open_again, support::TestApp};
use serde_json::json;
use std::time::Duration;

const FIND: &str = "{ search(query: \"\", first: 1, facets: [TYPE]) { totalCount facets { counts { value count } } } }";

#[tokio::test]
async fn a_lost_index_is_filled_again() {
    let test = TestApp::demo().await;
    let before = test.ask(FIND, json!({})).await.data().clone();
    let TestApp { app, api, clock, settings, folder } = test;
    app.stop().await;
    std::fs::remove_dir_all(folder.path().join("search")).unwrap();
    let app = open_again(&settings, clock.clone()).await;
    let test = TestApp { app, api, clock, settings, folder };
    for _ in 0..200 {
        if test.ask(FIND, json!({})).await.data() == &before {
            assert!(before["search"]["totalCount"].as_u64().unwrap() > 10);
            return test.app.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the index was not filled: {:#}", test.ask(FIND, json!({})).await.body);
}
