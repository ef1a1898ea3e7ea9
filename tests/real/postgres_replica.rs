//! A read replica: what is asked of it, what is not, and who answers when it is late, gone, hung, or none at all.
//!
//! A replica that stops replaying gives itself away by what it does not know yet.

use crate::support::{organization_model, persona_model, postgres, scope};
use chimera_stores::{
    Address, Result, Scope, Slice, SystemClock,
    relational::{
        BillingKey, Change, Column, Kind, Order, Outgoing, PageQuery, PostgresOptions, Record, RelationalAdapter, Row,
        SpendQuery, SqlRelational, Transaction,
    },
};
use entity::{api_key, billing_record, membership, outbox_entry::Target};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use test_servers::{Flavour, Postgres};
use uuid::Uuid;

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// A bound that no test reaches.
const NO_BOUND: Duration = Duration::from_secs(600);

/// A primary, its replica, and a store over both with one persona, `ada`.
struct Pair {
    primary: Postgres,
    replica: Postgres,
    store: SqlRelational,
    ada: entity::persona::Model,
}

async fn write(store: &SqlRelational, changes: Vec<Change>) {
    store.commit(&scope(1), &Transaction { changes, ..Transaction::default() }).await.unwrap();
}

async fn open(url: &str, replica: &str, max_lag: Duration, deadline: Duration) -> SqlRelational {
    let options = PostgresOptions { deadline, ..PostgresOptions::default() };
    let store = SqlRelational::open_postgres(&Address::new(url), options, Arc::new(SystemClock)).await.unwrap();
    store.with_replica(&Address::new(replica), options, max_lag).unwrap()
}

/// What is said about the replica; the test servers give reason for other findings.
async fn trouble(store: &SqlRelational) -> Option<String> {
    let findings = store.findings().await.unwrap().into_iter().map(|finding| finding.message);
    findings.into_iter().find(|message| message.starts_with("the replica"))
}

fn lagging() -> Scope {
    scope(1).tolerating_lag()
}

impl Pair {
    async fn start(max_lag: Duration, deadline: Duration) -> Option<Self> {
        let primary = postgres()?;
        let url = primary.owned("pair");
        let replica = primary.replica();
        let store = open(&url, &Self::url_on(&primary, &replica, &url), max_lag, deadline).await;
        let ada = persona_model(&scope(1), "ada");
        let rows = [organization_model(&scope(1), "own").into_row(), ada.clone().into_row()];
        write(&store, rows.into_iter().map(Change::Insert).collect()).await;
        let mut pair = Self { primary, replica, store, ada };
        pair.replica_answers().await;
        Some(pair)
    }

    fn url_on(primary: &Postgres, replica: &Postgres, url: &str) -> String {
        url.replace(&primary.port().to_string(), &replica.port().to_string())
    }

    fn pause(&self) {
        self.replica.sql("pair", "SELECT pg_wal_replay_pause()");
    }

    fn resume(&self) {
        self.replica.sql("pair", "SELECT pg_wal_replay_resume()");
    }

    async fn rename(&mut self) {
        self.ada.version += 1;
        self.ada.name = format!("Ada {}", self.ada.version);
        write(&self.store, vec![Change::Update(self.ada.clone().into_row())]).await;
    }

    async fn name(&self, scope: &Scope) -> Result<String> {
        let found = self.store.get(scope, Kind::Persona, &[self.ada.id]).await?;
        Ok(match &found[..] {
            [Some(Row::Persona(row))] => row.name.clone(),
            // Not there yet is an old answer too.
            _ => String::new(),
        })
    }

    /// Waits until reads that may lag are answered by the replica, which has everything then.
    async fn replica_answers(&mut self) {
        let begun = Instant::now();
        loop {
            self.pause();
            self.rename().await;
            let old = self.name(&lagging()).await.unwrap() != self.ada.name;
            self.resume();
            if old {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.store.findings().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while self.name(&lagging()).await.unwrap() != self.ada.name {
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn key(hash: &str) -> api_key::Model {
    let person = persona_model(&scope(1), "key");
    api_key::Model {
        id: Uuid::now_v7(),
        organization_id: scope(1).organization_id(),
        user_id: None,
        name: "A key".to_owned(),
        prefix: "chm_1234".to_owned(),
        hash: hash.to_owned(),
        role: membership::Role::Editor,
        expires_at: None,
        revoked_at: None,
        created_at: person.created_at,
        updated_at: person.updated_at,
        version: 1,
    }
}

fn bill() -> billing_record::Model {
    let person = persona_model(&scope(1), "bill");
    billing_record::Model {
        id: Uuid::now_v7(),
        organization_id: scope(1).organization_id(),
        external_id: None,
        campaign_id: None,
        persona_id: None,
        kind: billing_record::Kind::Render,
        amount_minor: 5,
        currency: "EUR".to_owned(),
        description: None,
        occurred_at: person.created_at,
        created_at: person.created_at,
        updated_at: person.updated_at,
        version: 1,
    }
}

/// How much each sort of read finds of what was written while the replica stood still.
async fn found(store: &SqlRelational, scope: &Scope, id: Uuid) -> [usize; 5] {
    let page = PageQuery {
        kind: Kind::Persona,
        edge: None,
        predicates: Vec::new(),
        order: Order::default(),
        slice: Slice::first(100),
        total: false,
    };
    let sums = BillingKey { parent: None, from: None, to: None };
    let spend = SpendQuery { parent: None, from: None, to: None, group_by: Vec::new(), limit: 10 };
    let handle = ["new".to_owned()];
    [
        store.get(scope, Kind::Persona, &[id]).await.unwrap().iter().flatten().count(),
        store.find(scope, Kind::Persona, Column::Handle, &handle).await.unwrap().iter().flatten().count(),
        store.pages(scope, &page, &[Uuid::nil()]).await.unwrap()[0].items.len() - 1,
        store.billing_totals(scope, &[sums]).await.unwrap()[0].len(),
        store.spend_reports(scope, &[spend]).await.unwrap()[0].rows.len(),
    ]
}

#[tokio::test]
async fn the_replica_answers_what_may_lag_and_nothing_else() {
    let Some(pair) = Pair::start(NO_BOUND, PATIENCE).await else { return };
    let store = &pair.store;
    assert_eq!(trouble(store).await, None);
    pair.pause();
    let new = persona_model(&scope(1), "new");
    let rows = [new.clone().into_row(), key("hash").into_row(), bill().into_row()];
    let outbox =
        vec![Outgoing { target: Target::Search, entity_id: new.id, entity_version: 1, body: serde_json::json!({}) }];
    let changes = rows.into_iter().map(Change::Insert).collect();
    let committed = store.commit(&scope(1), &Transaction { changes, outbox, audit: Vec::new() }).await.unwrap();

    assert_eq!(found(store, &lagging(), new.id).await, [0; 5], "the replica does not know yet");
    assert_eq!(found(store, &scope(1), new.id).await, [1; 5]);
    // A request's scope keeps what it was told.
    let calls = Arc::new(chimera_stores::guard::CallCounter::default());
    let request = lagging().for_request(Instant::now() + PATIENCE, calls);
    assert_eq!(found(store, &request, new.id).await, [0; 5]);

    // Who may do what, and what is left to be done, is never old.
    assert!(store.authenticate("hash").await.unwrap().is_some());
    assert_eq!(store.live_keys().await.unwrap(), 1);
    let sequence = committed.outbox[0].0;
    assert_eq!(store.outbox_left(&[sequence]).await.unwrap(), [sequence]);
    assert_eq!(store.outbox_due(Target::Search, 10).await.unwrap().len(), 1);
    assert!(store.outbox_depth().await.unwrap().contains(&(Target::Search, 1)));
    let other = Scope::system(Uuid::from_u128(2));
    let second = entity::organization::Model {
        id: other.organization_id(),
        handle: "second".to_owned(),
        ..organization_model(&scope(1), "own")
    };
    let insert = Transaction { changes: vec![Change::Insert(second.into_row())], ..Transaction::default() };
    store.commit(&other, &insert).await.unwrap();
    assert!(store.organization_by_handle("second").await.unwrap().is_some());
    assert_eq!(store.organizations().await.unwrap().len(), 2);

    pair.resume();
    let begun = Instant::now();
    while found(store, &lagging(), new.id).await != [1; 5] {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_replica_that_is_too_far_behind_is_not_asked() {
    const BOUND: Duration = Duration::from_secs(2);
    let Some(mut pair) = Pair::start(BOUND, PATIENCE).await else { return };
    // A quiet database is not an old one.
    tokio::time::sleep(BOUND * 2).await;
    assert_eq!(trouble(&pair.store).await, None);

    pair.pause();
    pair.rename().await;
    let begun = Instant::now();
    while pair.name(&lagging()).await.unwrap() != pair.ada.name {
        // The bound, and what a busy machine adds to it.
        assert!(begun.elapsed() < BOUND + Duration::from_secs(10), "an answer was too old");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let finding = trouble(&pair.store).await.unwrap();
    assert!(finding.contains("too far behind"), "{finding:?}");
    pair.resume();
    pair.replica_answers().await;
    assert_eq!(trouble(&pair.store).await, None);
}

#[tokio::test]
async fn the_primary_answers_for_a_replica_that_is_gone() {
    let Some(mut pair) = Pair::start(NO_BOUND, PATIENCE).await else { return };
    for _ in 0..2 {
        pair.replica.kill();
        for _ in 0..10 {
            pair.rename().await;
            assert_eq!(pair.name(&lagging()).await.unwrap(), pair.ada.name, "no error, and nothing old");
        }
        let finding = trouble(&pair.store).await.unwrap();
        assert!(finding.contains("does not answer"), "{finding:?}");
        pair.replica.restart();
        pair.replica_answers().await;
    }
    // A replica that never was there does not keep the store from being opened.
    pair.replica.kill();
    let url = pair.primary.owned("pair");
    let store = open(&url, &Pair::url_on(&pair.primary, &pair.replica, &url), NO_BOUND, PATIENCE).await;
    assert_eq!(store.get(&lagging(), Kind::Persona, &[pair.ada.id]).await.unwrap().iter().flatten().count(), 1);
}

#[tokio::test]
async fn the_primary_answers_for_a_replica_that_hangs() {
    const DEADLINE: Duration = Duration::from_secs(4);
    let Some(mut pair) = Pair::start(NO_BOUND, DEADLINE).await else { return };
    let _frozen = pair.replica.freeze();
    pair.rename().await;
    let begun = Instant::now();
    assert_eq!(pair.name(&lagging()).await.unwrap(), pair.ada.name);
    assert!(begun.elapsed() < DEADLINE, "within the time of one call: {:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(pair.name(&lagging()).await.unwrap(), pair.ada.name);
    }
    assert!(begun.elapsed() < DEADLINE / 2, "only the first one waited: {:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_no_replica_of_this_database_is_never_asked() {
    let Some(pair) = Pair::start(NO_BOUND, PATIENCE).await else { return };
    let url = pair.primary.owned("pair");
    let stranger = Postgres::start(Flavour::Plain);
    let strange = stranger.owned("pair");
    let stranger_replica = stranger.replica();
    pair.primary.owned("neighbour");
    let on_replica = |name: &str| Pair::url_on(&pair.primary, &pair.replica, &url).replace("/pair", name);
    let begun = Instant::now();
    while pair.replica.sql("postgres", "SELECT 1 FROM pg_database WHERE datname = 'neighbour'").is_empty() {
        assert!(begun.elapsed() < PATIENCE);
    }
    for (named, words) in [
        (url.clone(), "takes writes of its own"),
        (strange.clone(), "takes writes of its own"),
        (Pair::url_on(&stranger, &stranger_replica, &strange), "another server"),
        (on_replica("/neighbour"), "another database"),
    ] {
        let store = open(&url, &named, NO_BOUND, PATIENCE).await;
        let finding = trouble(&store).await.unwrap();
        assert!(finding.contains(words), "{named}: {finding:?}");
        let found = store.get(&lagging(), Kind::Persona, &[pair.ada.id]).await.unwrap();
        assert!(found[0].is_some(), "the primary answers: {named}");
    }
    // A promoted replica follows nobody any more.
    pair.replica.sql("postgres", "SELECT pg_promote()");
    let begun = Instant::now();
    loop {
        let finding = trouble(&pair.store).await;
        if finding.as_ref().is_some_and(|finding| finding.contains("takes writes of its own")) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{finding:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
