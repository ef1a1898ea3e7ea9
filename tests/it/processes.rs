//! Two processes on one PostgreSQL database: what one commits, the other's relay hears of and carries.
//!
//! Each has a search index of its own here, which an installation of several processes has not: it shows who carried.

use crate::support::TestApp;
use chimera::{relay::Relay, write::UnitOfWork};
use chimera_stores::{Scope, relational::Relational};
use serde_json::json;
use std::time::{Duration, Instant};
use test_servers::{Flavour, Postgres, have};
use uuid::Uuid;

fn server() -> Option<Postgres> {
    have("postgres", Postgres::found(Flavour::Plain)).then(|| Postgres::start(Flavour::Plain))
}

async fn process(url: &str) -> TestApp {
    TestApp::with(&[("relational.url", url)]).await
}

/// The same, but its relay never runs.
async fn silent_process(url: &str) -> TestApp {
    TestApp::without_jobs(&[("relational.url", url)]).await
}

async fn left(relational: &Relational) -> u64 {
    relational.outbox_depth(&Scope::system(Uuid::nil())).await.unwrap().values().sum()
}

fn persona(test: &TestApp, handle: &str) -> entity::persona::Model {
    let (created_at, updated_at) = (test.app.shared.clock.now(), test.app.shared.clock.now());
    entity::persona::Model {
        id: Uuid::now_v7(),
        organization_id: test.scope().organization_id(),
        external_id: None,
        handle: handle.to_owned(),
        name: format!("Persona {handle}"),
        status: entity::persona::Status::Active,
        avatar_asset_id: None,
        created_at,
        updated_at,
        version: 1,
    }
}

#[tokio::test]
async fn a_relay_that_does_not_look_by_itself_carries_what_another_process_wrote() {
    let Some(server) = server() else { return };
    let url = server.owned("heard");
    let (carries, writes) = (silent_process(&url).await, silent_process(&url).await);
    let shared = &carries.app.shared;
    // It would not look by itself before this test is over.
    let relay = Relay::polling_every(Duration::from_secs(3600), shared.stores.clone(), shared.clock.clone());
    let jobs = relay.run();
    for number in 0..10 {
        let mut work = UnitOfWork::new("createPersona", None);
        work.insert(&persona(&writes, &format!("heard-{number}")));
        work.commit(&writes.app.shared.stores, &writes.scope()).await.unwrap();
        let began = Instant::now();
        while left(&writes.app.shared.stores.relational).await > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "nobody told the relay");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let document = "{ search(query: \"heard\", types: [PERSONA], first: 50) { totalCount } }";
    let found = carries.ask(document, json!({})).await.data()["search"]["totalCount"].clone();
    assert_eq!(found, 10, "they are in the index of the process that carried them");
    jobs.iter().for_each(tokio::task::JoinHandle::abort);
    writes.app.stop().await;
    carries.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_waits_for_its_entries_whoever_carries_them() {
    let Some(server) = server() else { return };
    let url = server.owned("shared");
    let (one, other) = (process(&url).await, process(&url).await);
    let document = "mutation($input: UpdatePersonaInput!) { updatePersona(input: $input)
        { persona { version } userErrors { code } pendingStores } }";
    let id = async |test: &TestApp, handle: &str| {
        let document = "query($handle: String!) { persona(handle: $handle) { id } }";
        test.ask(document, json!({ "handle": handle })).await.data()["persona"]["id"].clone()
    };
    let (luna, marlo) = (id(&one, "luna.vega").await, id(&other, "chef.marlo").await);
    for round in 0..10 {
        let rename = async |test: &TestApp, id: &serde_json::Value| {
            let input = json!({ "input": { "id": id, "name": format!("Round {round}") } });
            let answer = test.ask(document, input).await;
            let payload = &answer.data()["updatePersona"];
            assert_eq!((&payload["userErrors"], &payload["pendingStores"]), (&json!([]), &json!([])), "{round}");
            // It was told by then, and did not wait out the whole budget of ten seconds.
            assert!(answer.elapsed < Duration::from_secs(8), "{:?}", answer.elapsed);
        };
        tokio::join!(rename(&one, &luna), rename(&other, &marlo));
    }
    assert_eq!(left(&one.app.shared.stores.relational).await, 0);
    other.app.stop().await;
    one.app.stop().await;
}

#[tokio::test]
async fn entries_of_a_process_that_died_are_carried_by_another() {
    let Some(server) = server() else { return };
    let url = server.owned("died");
    let survivor = process(&url).await;
    let dies = silent_process(&url).await;
    let mut work = UnitOfWork::new("createPersona", None);
    work.insert(&persona(&dies, "orphan"));
    // It holds the entries when it dies, applied or not.
    let scope = Scope::system(Uuid::nil());
    let relational = dies.app.shared.stores.relational.clone();
    work.commit(&dies.app.shared.stores, &dies.scope()).await.unwrap();
    for target in chimera::relay::TARGETS {
        relational.outbox_due(&scope, target, 10).await.unwrap();
    }
    drop((relational, dies));
    let began = Instant::now();
    while left(&survivor.app.shared.stores.relational).await > 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody carries them");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    survivor.app.stop().await;
}
