//! The outbox between processes that share a PostgreSQL database: who hears of what, who carries what, and in which
//! order. Each `SqlRelational` here stands for a process: they share nothing but the database.

use crate::support::{organization_model, persona_model, postgres, scope};
use chimera_stores::{
    Address, ErrorKind, Result, SystemClock,
    relational::{
        Change, Outgoing, PostgresOptions, Record, RelationalAdapter, Settlement, SqlRelational, Transaction,
    },
};
use entity::outbox_entry::Target;
use futures_util::{StreamExt, future::join_all, stream::BoxStream};
use sea_orm::sqlx::{self, Connection, PgConnection, Row};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for news that must not come to have come.
const SILENCE: Duration = Duration::from_millis(400);

async fn process(url: &str) -> SqlRelational {
    let options = PostgresOptions { deadline: Duration::from_secs(20), ..PostgresOptions::default() };
    SqlRelational::open_postgres(&Address::new(url), options, Arc::new(SystemClock)).await.unwrap()
}

async fn with_organization(url: &str) -> SqlRelational {
    let process = process(url).await;
    let rows = vec![Change::Insert(organization_model(&scope(1), "own").into_row())];
    process.commit(&scope(1), &Transaction { changes: rows, ..Transaction::default() }).await.unwrap();
    process
}

fn entry(entity_id: Uuid, entity_version: i64) -> Outgoing {
    Outgoing { target: Target::Search, entity_id, entity_version, body: serde_json::json!({}) }
}

fn entries(entries: Vec<Outgoing>) -> Transaction {
    Transaction { outbox: entries, ..Transaction::default() }
}

async fn queue(process: &SqlRelational, entity: u128, version: i64) -> i64 {
    let committed = process.commit(&scope(1), &entries(vec![entry(Uuid::from_u128(entity), version)])).await;
    committed.unwrap().outbox[0].0
}

async fn due(process: &SqlRelational) -> Vec<i64> {
    let due = process.outbox_due(Target::Search, 100).await.unwrap();
    due.into_iter().map(|entry| entry.sequence).collect()
}

async fn carried(process: &SqlRelational, sequences: &[i64]) {
    let done: Vec<_> = sequences.iter().map(|sequence| (*sequence, Settlement::Done)).collect();
    process.outbox_settle(&done).await.unwrap();
}

async fn until_it_works<T>(call: impl AsyncFn() -> Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:?}"),
        }
    }
}

async fn told(changes: &mut BoxStream<'static, ()>) {
    tokio::time::timeout(PATIENCE, changes.next()).await.expect("news").expect("they never end");
}

async fn silent(changes: &mut BoxStream<'static, ()>) -> bool {
    tokio::time::timeout(SILENCE, changes.next()).await.is_err()
}

#[tokio::test]
async fn a_commit_with_entries_is_told_to_other_processes() {
    let Some(server) = postgres() else { return };
    let url = server.owned("told");
    let (one, other) = (with_organization(&url).await, process(&url).await);
    let mut changes = other.outbox_changes().unwrap();
    told(&mut changes).await;
    assert!(silent(&mut changes).await, "only the connection itself was news");
    for version in 1..=3 {
        queue(&one, 7, version).await;
        told(&mut changes).await;
    }
    // Its own commits are told as well: one rule for all.
    queue(&other, 8, 1).await;
    told(&mut changes).await;
    assert!(silent(&mut changes).await);

    let rows = vec![Change::Insert(persona_model(&scope(1), "quiet").into_row())];
    one.commit(&scope(1), &Transaction { changes: rows.clone(), ..Transaction::default() }).await.unwrap();
    assert!(silent(&mut changes).await, "no entries, no news");
    let failed = Transaction { changes: rows, outbox: vec![entry(Uuid::from_u128(9), 1)], ..Transaction::default() };
    one.commit(&scope(1), &failed).await.unwrap_err();
    assert!(silent(&mut changes).await, "nothing was committed");
}

#[tokio::test]
async fn news_comes_again_after_the_server_was_away() {
    let Some(mut server) = postgres() else { return };
    let url = server.owned("away");
    let (one, other) = (with_organization(&url).await, process(&url).await);
    let mut changes = other.outbox_changes().unwrap();
    told(&mut changes).await;
    for _ in 0..2 {
        // The server cuts the connection that listens.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        assert_eq!(server.sql("postgres", cut).trim(), "t");
        told(&mut changes).await;
        assert!(silent(&mut changes).await);
        queue(&one, 7, 1).await;
        told(&mut changes).await;
    }
    server.kill();
    // Longer than the first waits of a listener that finds nobody.
    assert!(silent(&mut changes).await);
    server.restart();
    told(&mut changes).await;
    // A pool may still hold connections of the server that was killed; the guard repeats what may be repeated.
    let new = entries(vec![entry(Uuid::from_u128(7), 2)]);
    let committed = until_it_works(async || one.commit(&scope(1), &new).await).await;
    told(&mut changes).await;
    let due = until_it_works(async || other.outbox_due(Target::Search, 100).await).await;
    assert!(due.iter().any(|entry| entry.sequence == committed.outbox[0].0));
}

#[tokio::test]
async fn one_process_at_a_time_carries_a_target() {
    let Some(server) = postgres() else { return };
    let url = server.owned("turns");
    let (one, other) = (with_organization(&url).await, process(&url).await);
    let (first, second) = (queue(&one, 7, 1).await, queue(&one, 8, 1).await);
    assert_eq!(due(&one).await, [first, second]);
    assert_eq!(due(&other).await, [0; 0], "they are the other process's");
    assert_eq!(other.outbox_left(&[first, second, 99_999]).await.unwrap(), [first, second]);
    let third = queue(&other, 7, 2).await;
    assert_eq!(due(&other).await, [0; 0], "a newer entry does not pass the older one of its entity");
    carried(&one, &[first, second]).await;
    assert_eq!(due(&other).await, [third]);
    assert_eq!(due(&one).await, [0; 0]);
    assert_eq!(one.outbox_left(&[first, second, third]).await.unwrap(), [third]);

    // Another target is another turn.
    let memory = Outgoing { target: Target::Memory, ..entry(Uuid::from_u128(7), 1) };
    one.commit(&scope(1), &entries(vec![memory])).await.unwrap();
    assert_eq!(one.outbox_due(Target::Memory, 10).await.unwrap().len(), 1);

    // A process that ends without a word holds nothing any more.
    drop(other);
    let begun = Instant::now();
    while due(&one).await != [third] {
        assert!(begun.elapsed() < PATIENCE);
    }
    // Nor does one whose connection is cut; what it had applied is settled all the same.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    server.sql("postgres", cut);
    let again = process(&url).await;
    assert_eq!(due(&again).await, [third]);
    carried(&again, &[third]).await;
    let settled = one.outbox_settle(&[(third, Settlement::Done)]).await;
    settled.or(one.outbox_settle(&[(third, Settlement::Done)]).await).unwrap();
    assert_eq!(due(&one).await, [0; 0]);
}

/// What a relay has applied: sequence, entity and version, in the order it did.
type Log = Arc<Mutex<Vec<(i64, Uuid, i64)>>>;

/// Carries until told to stop, with a pause where a real relay calls a store.
async fn relay(process: SqlRelational, log: Log, stop: Arc<AtomicBool>) -> usize {
    let mut batches = 0;
    while !stop.load(Ordering::SeqCst) {
        let due = process.outbox_due(Target::Search, 7).await.unwrap();
        if due.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let mut settlements = Vec::new();
        for entry in due {
            tokio::task::yield_now().await;
            log.lock().unwrap().push((entry.sequence, entry.entity_id, entry.entity_version));
            settlements.push((entry.sequence, Settlement::Done));
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..4))).await;
        process.outbox_settle(&settlements).await.unwrap();
        batches += 1;
    }
    batches
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_of_several_processes_carry_everything_once_and_in_order() {
    const ROUNDS: i64 = 40;
    let Some(server) = postgres() else { return };
    let url = server.owned("race");
    let first = with_organization(&url).await;
    let people: Vec<_> = (0..4).map(|number| persona_model(&scope(1), &format!("p{number}"))).collect();
    for person in &people {
        let change = Change::Insert(person.clone().into_row());
        let outbox = vec![entry(person.id, 1)];
        first.commit(&scope(1), &Transaction { changes: vec![change], outbox, audit: Vec::new() }).await.unwrap();
    }
    let (log, stop) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let mut relays = Vec::new();
    for _ in 0..3 {
        relays.push(tokio::spawn(relay(process(&url).await, log.clone(), stop.clone())));
    }
    // Two processes change each person, again and again; who is late tries the next version.
    let mut writers = Vec::new();
    for person in people.iter().cycle().take(8) {
        let (writer, mut row) = (process(&url).await, person.clone());
        writers.push(tokio::spawn(async move {
            while row.version < ROUNDS {
                row.version += 1;
                let changes = vec![Change::Update(row.clone().into_row())];
                let outbox = vec![entry(row.id, row.version)];
                // A conflict means that the other writer has made this version.
                let _ = writer.commit(&scope(1), &Transaction { changes, outbox, audit: Vec::new() }).await;
            }
        }));
    }
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    let begun = Instant::now();
    while first.outbox_depth().await.unwrap().iter().any(|(_, left)| *left > 0) {
        assert!(begun.elapsed() < PATIENCE, "entries are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let batches: Vec<usize> = join_all(relays).await.into_iter().map(|relay| relay.unwrap()).collect();
    assert!(batches.iter().filter(|batches| **batches > 0).count() > 1, "only one relay had a turn: {batches:?}");

    let log = log.lock().unwrap();
    let once: BTreeSet<i64> = log.iter().map(|(sequence, ..)| *sequence).collect();
    assert_eq!(once.len(), log.len(), "an entry was carried twice");
    let mut versions: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
    for (_, entity, version) in log.iter() {
        versions.entry(*entity).or_default().push(*version);
    }
    for person in &people {
        let seen = &versions[&person.id];
        assert!(seen.is_sorted_by(|a, b| a < b), "out of order: {seen:?}");
        assert_eq!(seen.last(), Some(&ROUNDS), "the last version was carried");
        assert_eq!(seen.len() as i64, ROUNDS, "each version was made once and carried once");
    }
}

#[tokio::test]
async fn a_lower_number_that_commits_later_is_carried_all_the_same() {
    let Some(server) = postgres() else { return };
    let url = server.owned("gaps");
    let one = with_organization(&url).await;
    let mut late = PgConnection::connect(&server.url("gaps")).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut late).await.unwrap();
    let sql = "INSERT INTO outbox_entry (organization_id, target, entity_id, entity_version, body, attempts, created_at) \
               VALUES ($1, 'SEARCH', $2, 1, '{}', 0, now()) RETURNING sequence";
    let drawn = sqlx::query(sql).bind(scope(1).organization_id()).bind(Uuid::from_u128(1));
    let lower: i64 = drawn.fetch_one(&mut late).await.unwrap().get(0);
    let higher = queue(&one, 2, 1).await;
    assert!(lower < higher, "it was drawn first");
    assert_eq!(due(&one).await, [higher], "an open transaction is not waited for");
    carried(&one, &[higher]).await;
    sqlx::raw_sql("COMMIT").execute(&mut late).await.unwrap();
    assert_eq!(due(&one).await, [lower]);
}

#[tokio::test]
async fn numbers_of_one_row_are_drawn_in_the_order_of_its_versions() {
    let Some(server) = postgres() else { return };
    let url = server.owned("rows");
    let one = with_organization(&url).await;
    let person = persona_model(&scope(1), "ada");
    let insert = vec![Change::Insert(person.clone().into_row())];
    one.commit(&scope(1), &Transaction { changes: insert, ..Transaction::default() }).await.unwrap();

    // Another process has changed the row and not committed yet.
    let mut slow = PgConnection::connect(&server.url("rows")).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut slow).await.unwrap();
    let update = sqlx::query("UPDATE persona SET version = 2 WHERE id = $1").bind(person.id);
    assert_eq!(update.execute(&mut slow).await.unwrap().rows_affected(), 1);

    let sql = "INSERT INTO outbox_entry (organization_id, target, entity_id, entity_version, body, attempts, created_at) \
               VALUES ($1, 'SEARCH', $2, 2, '{}', 0, now()) RETURNING sequence";
    let drawn = sqlx::query(sql).bind(scope(1).organization_id()).bind(person.id);
    let second: i64 = drawn.fetch_one(&mut slow).await.unwrap().get(0);
    let mut row = person.clone();
    row.version = 3;
    let (changes, outbox) = (vec![Change::Update(row.clone().into_row())], vec![entry(row.id, 3)]);
    let third = Transaction { changes, outbox, audit: Vec::new() };
    let error = one.commit(&scope(1), &third).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "version 2 is not there yet");
    assert_eq!(due(&one).await, [0; 0]);
    sqlx::raw_sql("COMMIT").execute(&mut slow).await.unwrap();
    let third = one.commit(&scope(1), &third).await.unwrap().outbox[0].0;
    assert!(second < third);
    assert_eq!(due(&one).await, [second, third]);
}
