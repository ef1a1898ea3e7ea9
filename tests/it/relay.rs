//! What a mutation leaves to be done reaches the memory and search stores: at once when they are up, once they are up
//! again when they are not, and after a crash.

use crate::support::{TestApp, settings, uuid_of};
use chimera::{app::App, write::UnitOfWork};
use chimera_stores::{
    ErrorKind, ManualClock, Scope, Store,
    guard::Fault,
    memory,
    relational::{Outgoing, Transaction},
    search,
};
use chrono::TimeDelta;
use entity::{outbox_entry::Target, persona};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Longer than the relay lets a failed entry wait at the most.
const BACK_OFF: TimeDelta = TimeDelta::seconds(61);

/// A persona of the demo data: its global id.
async fn persona_id(test: &TestApp, handle: &str) -> Value {
    test.ask("query($handle: String!) { persona(handle: $handle) { id } }", json!({ "handle": handle })).await.data()["persona"]["id"].clone()
}

async fn rename(test: &TestApp, id: &Value, name: &str) -> Value {
    let document = "mutation($input: UpdatePersonaInput!) { updatePersona(input: $input)
        { persona { name version } userErrors { code } pendingStores } }";
    test.ask(document, json!({ "input": { "id": id, "name": name } })).await.data()["updatePersona"].clone()
}

async fn define(test: &TestApp, id: &Value, bio: &str) -> Value {
    let document = "mutation($input: DefinePersonaInput!) { definePersona(input: $input)
        { definition { bio version } userErrors { code } pendingStores } }";
    let definition = json!({ "bio": bio, "voice": "Plain" });
    test.ask(document, json!({ "input": { "id": id, "definition": definition } })).await.data()["definePersona"].clone()
}

/// The titles of the persona documents that a query finds.
async fn found(test: &TestApp, query: &str) -> Vec<String> {
    let document = "query($query: String!) { search(query: $query, types: [PERSONA]) { nodes { title } } }";
    let answer = test.ask(document, json!({ "query": query })).await;
    let nodes = answer.data()["search"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["title"].as_str().unwrap().to_owned()).collect()
}

/// The title of the one document of a persona.
async fn title_of(test: &TestApp, id: &Value) -> String {
    let document = "query($id: ID!) { search(query: \"\", types: [PERSONA], filter: { personaId: $id }) { totalCount nodes { title } } }";
    let answer = test.ask(document, json!({ "id": id })).await;
    assert_eq!(answer.data()["search"]["totalCount"], 1);
    answer.data()["search"]["nodes"][0]["title"].as_str().unwrap().to_owned()
}

async fn bio_of(test: &TestApp, handle: &str) -> Value {
    let document = "query($handle: String!) { persona(handle: $handle) { definition { bio } } }";
    test.ask(document, json!({ "handle": handle })).await.data()["persona"]["definition"]["bio"].clone()
}

async fn depth(app: &App) -> HashMap<Target, u64> {
    app.shared.stores.relational.outbox_depth(&Scope::system(Uuid::nil())).await.unwrap()
}

/// Waits until nothing is left to be carried.
async fn carried(app: &App) {
    let started = Instant::now();
    while depth(app).await.values().sum::<u64>() > 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?} are left", depth(app).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn outgoing(target: Target, entity_id: Uuid, entity_version: i64, body: Value) -> Transaction {
    Transaction { outbox: vec![Outgoing { target, entity_id, entity_version, body }], ..Transaction::default() }
}

#[tokio::test]
async fn what_a_mutation_wrote_is_found_when_it_has_answered() {
    let test = TestApp::demo().await;
    let create = "mutation { createPersona(input: { handle: \"nova\", name: \"Nova Brightwater\", definition: { bio: \"A lighthouse keeper.\", voice: \"Low\" } })
        { persona { id } userErrors { code } pendingStores } }";
    let created = test.ask(create, json!({})).await.data()["createPersona"].clone();
    assert_eq!((&created["userErrors"], &created["pendingStores"]), (&json!([]), &json!([])));
    assert_eq!(found(&test, "Brightwater").await, ["Nova Brightwater"]);
    assert_eq!(bio_of(&test, "nova").await, "A lighthouse keeper.");

    let id = &created["persona"]["id"];
    for name in ["Nova Quicksilver", "Nova Underhill", "Nova Ravenscroft"] {
        assert_eq!(rename(&test, id, name).await["pendingStores"], json!([]));
        assert_eq!(found(&test, name).await, [name]);
        assert_eq!(title_of(&test, id).await, name);
    }
    assert_eq!(found(&test, "Brightwater").await, [""; 0]);
    for bio in ["Keeps bees.", "Keeps goats."] {
        assert_eq!(define(&test, id, bio).await["pendingStores"], json!([]));
        assert_eq!(bio_of(&test, "nova").await, bio);
    }
    // A definition is a version of the persona as well: its document moved along.
    assert_eq!(title_of(&test, id).await, "Nova Ravenscroft");
    carried(&test.app).await;
    test.app.stop().await;
}

#[tokio::test]
async fn a_store_that_is_down_is_brought_up_to_date_when_it_is_back() {
    let budget = Duration::from_millis(100);
    let test = TestApp::with(&[("outbox.wait", "100ms"), ("guard.breaker_open", "1ms")]).await;
    let id = persona_id(&test, "luna.vega").await;
    for fault in [Fault::Refuse, Fault::Fail, Fault::Nonsense] {
        test.app.faults.set(Store::Search, Some(fault));
        test.app.faults.set(Store::Memory, Some(fault));
        for name in ["Luna Quicksilver", "Luna Underhill"] {
            let started = Instant::now();
            let answer = rename(&test, &id, name).await;
            assert_eq!(
                (&answer["userErrors"], &answer["pendingStores"]),
                (&json!([]), &json!(["SEARCH"])),
                "{fault:?}"
            );
            assert_eq!(answer["persona"]["name"], name);
            assert!(started.elapsed() >= budget);
            // Far below what a request may take, though the machine may be busy.
            assert!(started.elapsed() < budget + Duration::from_secs(5), "{:?}", started.elapsed());
        }
        let answer = define(&test, &id, &format!("Was away: {fault:?}.")).await;
        assert_eq!(
            (&answer["userErrors"], &answer["pendingStores"]),
            (&json!([]), &json!(["MEMORY", "SEARCH"])),
            "{fault:?}"
        );
        assert_eq!(depth(&test.app).await, [(Target::Memory, 1), (Target::Search, 3)].into(), "nothing is lost");

        // Both are back, and nobody writes any more.
        test.app.faults.set(Store::Search, None);
        test.app.faults.set(Store::Memory, None);
        test.clock.advance(BACK_OFF);
        carried(&test.app).await;
        assert_eq!(title_of(&test, &id).await, "Luna Underhill", "the last one wins");
        assert_eq!(found(&test, "Quicksilver").await, [""; 0]);
        assert_eq!(bio_of(&test, "luna.vega").await, format!("Was away: {fault:?}."));
    }
    test.app.stop().await;
}

#[tokio::test]
async fn a_stale_change_is_refused_and_counts_as_carried() {
    let test = TestApp::demo().await;
    let id = persona_id(&test, "luna.vega").await;
    let (scope, shared) = (test.scope(), &test.app.shared);
    let row = |name: &str, version| {
        let (id, organization_id, at) = (uuid_of(&id), scope.organization_id(), shared.clock.now());
        let (handle, name, status) = ("luna.vega".to_owned(), name.to_owned(), persona::Status::Active);
        persona::Model {
            id,
            organization_id,
            external_id: None,
            handle,
            name,
            status,
            avatar_asset_id: None,
            created_at: at,
            updated_at: at,
            version,
        }
    };
    rename(&test, &id, "Luna Quicksilver").await;
    rename(&test, &id, "Luna Underhill").await;
    for version in [1, 2] {
        let stale = chimera::write::Searchable::search_changes(&row("Luna Stale", version)).remove(0);
        let answers = shared.stores.search().unwrap().apply(&scope, std::slice::from_ref(&stale)).await.unwrap();
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::Superseded);
        let replay = outgoing(Target::Search, stale.id, version, json!(stale));
        let committed = shared.stores.relational.commit(&scope, &replay).await.unwrap();
        assert_eq!(shared.relay.wait(&committed.outbox, Duration::from_secs(20)).await, []);
        assert_eq!(title_of(&test, &id).await, "Luna Underhill");
    }
    let definition = |version, bio: &str| {
        let (bio, voice, persona_id) = (bio.to_owned(), "Plain".to_owned(), uuid_of(&id));
        memory::Change::PutDefinition(memory::Definition {
            persona_id,
            version,
            bio,
            voice,
            traits: vec![],
            directives: vec![],
            updated_at: shared.clock.now(),
        })
    };
    define(&test, &id, "Now.").await;
    let replay = outgoing(Target::Memory, uuid_of(&id), 1, json!(definition(1, "Then.")));
    let committed = shared.stores.relational.commit(&scope, &replay).await.unwrap();
    assert_eq!(shared.relay.wait(&committed.outbox, Duration::from_secs(20)).await, []);
    assert_eq!(bio_of(&test, "luna.vega").await, "Now.");
    carried(&test.app).await;
    test.app.stop().await;
}

/// Opens a folder that another installation of this process held a moment ago, without starting its jobs.
async fn open(settings: &chimera::config::Settings, clock: &Arc<ManualClock>) -> App {
    for _ in 0..500 {
        match App::open(settings, clock.clone()).await {
            Ok(app) => return app,
            // The writer threads of the first installation let go a moment after it is dropped.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("the folder cannot be opened again");
}

/// How often changes were applied in a store since its installation was opened.
fn applied(app: &App, store: Store) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &app.registry.lock()).unwrap();
    let of = |line: &&str| {
        line.starts_with("chimera_store_calls_total{")
            && line.contains(&format!("store=\"{store}\""))
            && line.contains("operation=\"apply\"")
    };
    text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn what_was_committed_before_a_crash_is_applied_once_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(
        folder.path(),
        &[("guard.deadline", "20s"), ("limits.request_timeout", "60s"), ("outbox.wait", "10s")],
    );
    let clock =
        Arc::new(ManualClock::new(chrono::DateTime::parse_from_rfc3339("2026-01-02T12:00:00Z").unwrap().to_utc()));
    let organization_id = chimera::seed::demo().organization_id;
    let scope = Scope::system(organization_id);
    let row = |number: usize| persona::Model {
        id: Uuid::from_u128(1000 + number as u128),
        organization_id,
        external_id: None,
        handle: format!("survivor-{number}"),
        name: format!("Survivor {number}"),
        status: persona::Status::Active,
        avatar_asset_id: None,
        created_at: chimera_stores::Clock::now(&*clock),
        updated_at: chimera_stores::Clock::now(&*clock),
        version: 1,
    };

    // An installation that has come to rest: nothing in its outbox, and its index is not being filled for the first time.
    let mut app = open(&settings, &clock).await;
    assert!(app.seed_new_folder().await.unwrap());
    app.start_jobs(None);
    while folder.path().join("search-unfilled").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    carried(&app).await;
    app.stop().await;

    // A process commits and dies before its relay has run; one change it had applied, and not yet settled.
    let app = open(&settings, &clock).await;
    let mut work = UnitOfWork::new("survive", None);
    for number in 0..20 {
        let row = row(number);
        work.insert(&row);
        let record = memory::MemoryRecord {
            id: Uuid::from_u128(2000 + number as u128),
            persona_id: row.id,
            version: 1,
            kind: memory::MemoryKind::Episodic,
            text: format!("Survived crash {number}"),
            importance: 0.5,
            source: None,
            tags: vec![],
            occurred_at: row.created_at,
            created_at: row.created_at,
        };
        work.remember("Memory", record.id, 1, &memory::Change::PutMemory(record));
    }
    work.commit(&app.shared.stores, &scope).await.unwrap();
    let due = app.shared.stores.relational.outbox_due(&scope, Target::Search, 1).await.unwrap();
    let change: search::Change = serde_json::from_value(due[0].body.clone()).unwrap();
    app.shared.stores.search().unwrap().apply(&scope, &[change]).await.unwrap().remove(0).unwrap();
    assert_eq!(depth(&app).await, [(Target::Memory, 20), (Target::Search, 20)].into());
    drop(app);

    let mut app = open(&settings, &clock).await;
    assert_eq!(depth(&app).await, [(Target::Memory, 20), (Target::Search, 20)].into());
    app.start_jobs(None);
    carried(&app).await;
    assert_eq!((applied(&app, Store::Search), applied(&app, Store::Memory)), (1, 1), "one batch for each store");
    let api = chimera::api::engine(&settings).unwrap();
    let test = TestApp { app, api, clock: clock.clone(), settings: settings.clone(), folder };
    let everything_is_there = async |test: &TestApp| {
        let mut titles = found(test, "survivor").await;
        titles.sort();
        let mut names: Vec<_> = (0..20).map(|number| format!("Survivor {number}")).collect();
        names.sort();
        assert_eq!(titles, names);
        for number in 0..20 {
            let document =
                "query($handle: String!) { persona(handle: $handle) { memories { totalCount nodes { text } } } }";
            let answer = test.ask(document, json!({ "handle": format!("survivor-{number}") })).await;
            let text = json!([{ "text": format!("Survived crash {number}") }]);
            assert_eq!(answer.data()["persona"]["memories"], json!({ "totalCount": 1, "nodes": text }));
        }
    };
    everything_is_there(&test).await;

    // The start after that has nothing left to do.
    let TestApp { app, api, clock, settings, folder } = test;
    app.stop().await;
    let mut app = open(&settings, &clock).await;
    assert_eq!(app.shared.relay.drain().await.unwrap(), 0);
    app.start_jobs(None);
    assert_eq!((applied(&app, Store::Search), applied(&app, Store::Memory)), (0, 0));
    let test = TestApp { app, api, clock, settings, folder };
    everything_is_there(&test).await;
    test.app.stop().await;
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_holds_up_its_own_entity_alone() {
    let test = TestApp::with(&[("outbox.wait", "2s")]).await;
    let (luna, marlo) = (persona_id(&test, "luna.vega").await, persona_id(&test, "chef.marlo").await);
    let (scope, shared) = (test.scope(), &test.app.shared);
    let system = Scope::system(Uuid::nil());
    let mut poison = outgoing(Target::Search, uuid_of(&luna), 1, json!({ "no": "change" }));
    poison.outbox.extend(outgoing(Target::Memory, uuid_of(&luna), 1, json!({ "change": "put_nonsense" })).outbox);
    let poison = shared.stores.relational.commit(&scope, &poison).await.unwrap();
    let pending = shared.relay.wait(&poison.outbox, Duration::from_secs(2)).await;
    assert_eq!(pending, [Store::Memory, Store::Search]);

    // Luna's rows change, her documents wait; Marlo's do not.
    assert_eq!(rename(&test, &luna, "Luna Quicksilver").await["pendingStores"], json!(["SEARCH"]));
    assert_eq!(define(&test, &luna, "Held up.").await["pendingStores"], json!(["MEMORY", "SEARCH"]));
    assert_eq!(found(&test, "Quicksilver").await, [""; 0]);
    for name in ["Marlo Underhill", "Marlo Ravenscroft"] {
        assert_eq!(rename(&test, &marlo, name).await["pendingStores"], json!([]));
        assert_eq!(title_of(&test, &marlo).await, name);
    }
    assert_eq!(define(&test, &marlo, "Passed.").await["pendingStores"], json!([]));
    assert_eq!(bio_of(&test, "chef.marlo").await, "Passed.");
    assert_eq!(depth(&test.app).await, [(Target::Memory, 2), (Target::Search, 3)].into());

    // It is tried again and again, is never lost, and says why; others pass as before.
    for tries in 2..5 {
        test.clock.advance(BACK_OFF);
        let pending = shared.relay.wait(&poison.outbox, Duration::from_secs(2)).await;
        assert_eq!(pending, [Store::Memory, Store::Search], "{tries}");
        assert_eq!(rename(&test, &marlo, &format!("Marlo the {tries}th")).await["pendingStores"], json!([]));
    }
    test.clock.advance(BACK_OFF);
    for target in [Target::Memory, Target::Search] {
        // The relay may be trying it at this very moment.
        let started = Instant::now();
        let entry = loop {
            let due = shared.stores.relational.outbox_due(&system, target, 100).await.unwrap();
            if let Some(entry) = due.into_iter().find(|entry| poison.outbox.contains(&(entry.sequence, target))) {
                break entry;
            }
            assert!(started.elapsed() < Duration::from_secs(20));
            test.clock.advance(BACK_OFF);
        };
        assert!(entry.attempts >= 4, "{entry:?}");
        assert!(
            entry.last_error.as_ref().unwrap().contains("the entry's body is not a change of this store"),
            "{entry:?}"
        );
    }
    test.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_mutations_at_once_end_in_the_same_row_and_document() {
    let test = TestApp::demo().await;
    let id = persona_id(&test, "luna.vega").await;
    let names: Vec<String> = (0..50).map(|number| format!("Luna {number}")).collect();
    let answers = join_all(names.iter().map(|name| rename(&test, &id, name))).await;
    let mut won = 0;
    for answer in &answers {
        match answer["userErrors"].as_array().unwrap().as_slice() {
            [] => {
                assert_eq!(answer["pendingStores"], json!([]));
                won += 1;
            }
            // Another one was faster: said to the caller, and nothing was written.
            errors => assert!(errors.iter().all(|error| error["code"] == "CONFLICT"), "{answer}"),
        }
    }
    assert!(won > 0);
    let row =
        test.ask("{ persona(handle: \"luna.vega\") { name version } }", json!({})).await.data()["persona"].clone();
    assert_eq!(row["version"], 1 + won);
    assert_eq!(title_of(&test, &id).await, row["name"].as_str().unwrap());
    let last = answers.iter().find(|answer| answer["persona"]["version"] == row["version"]).unwrap();
    assert_eq!(last["persona"]["name"], row["name"]);
    carried(&test.app).await;

    let bios: Vec<String> = (0..20).map(|number| format!("Story {number}.")).collect();
    let answers = join_all(bios.iter().map(|bio| define(&test, &id, bio))).await;
    let last = answers
        .iter()
        .filter(|answer| !answer["definition"].is_null())
        .max_by_key(|answer| answer["definition"]["version"].as_i64());
    let now = test
        .ask("{ persona(handle: \"luna.vega\") { version definition { bio version } } }", json!({}))
        .await
        .data()["persona"]
        .clone();
    assert_eq!(now["definition"], last.unwrap()["definition"]);
    assert_eq!(now["definition"]["version"], now["version"]);
    test.app.stop().await;
}

#[tokio::test]
async fn of_two_quick_definitions_the_last_one_stays() {
    // The mutations do not wait for the memory store.
    let test = TestApp::with(&[("outbox.wait", "0ms")]).await;
    let id = persona_id(&test, "tova.runs").await;
    for round in 0..10 {
        for bio in ["first", "second"] {
            let answer = define(&test, &id, &format!("The {bio} of round {round}.")).await;
            assert_eq!(answer["userErrors"], json!([]));
        }
        carried(&test.app).await;
        assert_eq!(bio_of(&test, "tova.runs").await, format!("The second of round {round}."));
    }
    test.app.stop().await;
}
