//! What goes wrong with a PostgreSQL server, seen through the handle that the program calls: every failure has a code
//! that fits it and comes within the deadline, nothing is ever half written, and the program goes on by itself once the
//! server does.

use crate::{
    others::{Others, blocker},
    support::{insert, noon, organization, persona, postgres, scope},
};
use chimera_stores::{
    Address, ErrorKind, Guard, Scope, Store, StoreError, SystemClock,
    guard::{BreakerState, FaultPlan, GuardSettings, StoreMetrics},
    relational::{Audit, Column, Outgoing, PostgresOptions, Record, Relational, SqlRelational, Transaction},
};
use entity::{outbox_entry::Target, persona};
use futures_util::future::join_all;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use test_servers::{Flavour, OWNER, Postgres, have};
use uuid::Uuid;

/// The deadline of a call; those of the program are longer, which tests nothing more.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long the program may take to go on after its server does: the breaker's rest and some calls.
const RECOVERY: Duration = Duration::from_secs(5);
/// Rows of one transaction, so that it has a middle.
const ROWS: usize = 20;

/// A handle as the program makes it.
async fn handle(url: &str, connections: u32) -> Relational {
    let options = PostgresOptions { connections, deadline: DEADLINE };
    let adapter = SqlRelational::open_postgres(&Address::new(url), options, Arc::new(SystemClock)).await.unwrap();
    let settings =
        GuardSettings { deadline: DEADLINE, breaker_open: Duration::from_millis(500), ..GuardSettings::default() };
    let metrics = StoreMetrics::register(&mut prometheus_client::registry::Registry::default());
    Relational::new(Guard::new(Store::Relational, settings, metrics, FaultPlan::default()), Arc::new(adapter))
}

/// A handle on a database with one organisation, and the scope of it.
async fn prepared(server: &Postgres, database: &str, connections: u32) -> (Relational, Scope) {
    let store = handle(&server.owned(database), connections).await;
    let own = scope(1);
    store.commit(&own, &insert(vec![organization(&own, "own"), persona(&own, "ada")])).await.unwrap();
    (store, own)
}

async fn read(store: &Relational, own: &Scope) -> Result<bool, StoreError> {
    let found = store.find::<persona::Model>(own, Column::Handle, &["ada".to_owned()]).await?;
    Ok(found[0].is_some())
}

/// Rows, audit entries and outbox entries that are there together or not at all. All have `name` in them.
fn batch(own: &Scope, name: &str) -> Transaction {
    let mut transaction = insert((0..ROWS).map(|number| persona(own, &format!("{name}.{number}"))).collect());
    transaction.audit.push(Audit {
        action: "batch",
        entity_type: "Batch",
        entity_id: Uuid::now_v7(),
        request_id: Some(name.to_owned()),
        before_hash: None,
        after_hash: None,
    });
    let sent = || Outgoing {
        target: Target::Search,
        entity_id: Uuid::now_v7(),
        entity_version: 1,
        body: json!({ "batch": name }),
    };
    transaction.outbox = (0..3).map(|_| sent()).collect();
    transaction
}

/// How much of a batch is there: rows, audit entries, outbox entries.
fn found(server: &Postgres, database: &str, name: &str) -> String {
    let sql = format!(
        "SELECT (SELECT count(*) FROM persona WHERE handle LIKE '{name}.%'), \
         (SELECT count(*) FROM audit_entry WHERE request_id = '{name}'), \
         (SELECT count(*) FROM outbox_entry WHERE body->>'batch' = '{name}')"
    );
    server.sql(database, &sql).trim().to_owned()
}

const WHOLE: &str = "20|1|3";
const NOTHING: &str = "0|0|0";

/// Reads and writes until both succeed; answers how long that took.
async fn recovered(store: &Relational, own: &Scope) -> Duration {
    let begun = Instant::now();
    loop {
        let written = store.commit(own, &insert(vec![persona(own, &Uuid::now_v7().to_string())])).await;
        match (read(store, own).await, written) {
            (Ok(true), Ok(_)) => return begun.elapsed(),
            (read, written) => {
                assert!(begun.elapsed() < RECOVERY, "not recovered: {read:?} {written:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Fails when the kind is another one, or the message shows the driver's words.
fn expect(error: &StoreError, kinds: &[ErrorKind]) {
    assert!(kinds.contains(&error.kind()), "{error:?}");
    for word in ["FATAL", "SQLSTATE", "terminat", "canceling", "sqlx", "127.0.0.1", "os error"] {
        assert!(!error.to_string().contains(word), "{error} shows {word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_transactions_whole_or_absent() {
    let Some(mut server) = postgres() else { return };
    let (store, own) = prepared(&server, "killed", 16).await;
    let (mut whole, mut absent) = (0, 0);
    for round in 0..4 {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (store, own, stop, acknowledged) = (store.clone(), own.clone(), stop.clone(), acknowledged.clone());
                tokio::spawn(async move {
                    let mut ended = Vec::new();
                    for number in 0.. {
                        let name = format!("k{round}-{writer}-{number}");
                        let result = store.commit(&own, &batch(&own, &name)).await;
                        let failed = result.is_err();
                        acknowledged.fetch_add(u32::from(!failed), Ordering::Relaxed);
                        ended.push((name, result));
                        if failed || stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    ended
                })
            })
            .collect();
        // In the midst of it: when some were acknowledged and others are under way.
        while acknowledged.load(Ordering::Relaxed) < 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        let ended: Vec<_> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
        expect(&read(&store, &own).await.unwrap_err(), &[ErrorKind::Unavailable]);
        server.restart();
        recovered(&store, &own).await;
        assert!(ended.iter().any(|(_, result)| result.is_err()), "no transaction was under way");
        for (name, result) in &ended {
            let there = found(&server, "killed", name);
            match result {
                Ok(_) => assert_eq!(there, WHOLE, "{name} was acknowledged"),
                Err(error) => {
                    expect(error, &[ErrorKind::Unavailable, ErrorKind::Timeout]);
                    assert!(there == WHOLE || there == NOTHING, "{name} is half written: {there}");
                }
            }
            if there == WHOLE { whole += 1 } else { absent += 1 }
        }
    }
    println!("{whole} transactions whole, {absent} absent");
    assert!(whole > 0 && absent > 0, "{whole} whole, {absent} absent: the kill hit nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_unavailable_and_found_again() {
    let Some(mut server) = postgres() else { return };
    let (store, own) = prepared(&server, "stopped", 16).await;
    server.kill();
    for _ in 0..12 {
        let begun = Instant::now();
        expect(&read(&store, &own).await.unwrap_err(), &[ErrorKind::Unavailable]);
        let error = store.commit(&own, &batch(&own, "stopped")).await.unwrap_err();
        expect(&error, &[ErrorKind::Unavailable]);
        assert!(begun.elapsed() < 3 * DEADLINE, "{:?}", begun.elapsed());
    }
    assert_eq!(store.guard().breaker_state(), BreakerState::Open, "after so many failures the store rests");
    server.restart();
    println!("recovered in {:?}", recovered(&store, &own).await);
    assert_eq!(found(&server, "stopped", "stopped"), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_no_more_than_the_deadline() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "hanging", 4).await;
    let frozen = server.freeze();
    for _ in 0..3 {
        let begun = Instant::now();
        expect(&read(&store, &own).await.unwrap_err(), &[ErrorKind::Timeout, ErrorKind::Unavailable]);
        assert!(begun.elapsed() < 2 * DEADLINE, "{:?}", begun.elapsed());
    }
    let written = store.commit(&own, &batch(&own, "hung")).await;
    drop(frozen);
    expect(&written.unwrap_err(), &[ErrorKind::Timeout, ErrorKind::Unavailable]);
    recovered(&store, &own).await;
    let there = found(&server, "hanging", "hung");
    assert!(there == WHOLE || there == NOTHING, "half written: {there}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_mid_transaction_leaves_nothing() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "cut", 4).await;
    // Holds up the batch in its middle: the row that it comes to is being written by another.
    let lock = blocker(
        &server,
        "cut",
        &format!(
            "INSERT INTO persona (id, organization_id, handle, name, status, created_at, updated_at, version) \
         VALUES (gen_random_uuid(), '{}', 'cut.10', 'x', 'ACTIVE', now(), now(), 1)",
            own.organization_id()
        ),
    );
    let (other, scope) = (store.clone(), own.clone());
    let write = tokio::spawn(async move { other.commit(&scope, &batch(&scope, "cut")).await });
    let waiting = "SELECT pid FROM pg_stat_activity WHERE application_name = 'chimera' AND wait_event_type = 'Lock'";
    let waits = Instant::now();
    while server.sql("cut", waiting).is_empty() {
        assert!(waits.elapsed() < DEADLINE, "the batch waits for nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server
        .sql("cut", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'chimera'");
    expect(&write.await.unwrap().unwrap_err(), &[ErrorKind::Unavailable]);
    drop(lock);
    assert_eq!(found(&server, "cut", "cut"), NOTHING);
    recovered(&store, &own).await;
    // The same once more, now that nothing is in its way.
    store.commit(&own, &batch(&own, "cut")).await.unwrap();
    assert_eq!(found(&server, "cut", "cut"), WHOLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_waits_too_long_is_ended_by_the_server() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "slow", 4).await;
    let lock = blocker(&server, "slow", "LOCK TABLE persona");
    let error = read(&store, &own).await.unwrap_err();
    expect(&error, &[ErrorKind::Timeout]);
    let error = store.commit(&own, &batch(&own, "slow")).await.unwrap_err();
    expect(&error, &[ErrorKind::Timeout]);
    // The server has let go too: nothing of ours waits on.
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chimera' AND wait_event_type = 'Lock'";
    let begun = Instant::now();
    while server.sql("slow", waiting).trim() != "0" {
        assert!(begun.elapsed() < 2 * DEADLINE, "a statement outlives its deadline");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(lock);
    recovered(&store, &own).await;
    assert_eq!(found(&server, "slow", "slow"), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_free_connection_is_overloaded() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "full", 2).await;
    // Both connections are held by writers that wait for a lock; a third call finds none.
    let lock = blocker(&server, "full", "LOCK TABLE persona");
    let calls = join_all((0..12).map(|_| async {
        let begun = Instant::now();
        (read(&store, &own).await, begun.elapsed())
    }));
    let ended = calls.await;
    for (result, took) in &ended {
        expect(result.as_ref().unwrap_err(), &[ErrorKind::Overloaded, ErrorKind::Timeout]);
        assert!(*took < 2 * DEADLINE, "{took:?}");
    }
    let overloaded =
        ended.iter().filter(|(result, _)| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::Overloaded));
    assert!(overloaded.count() >= 8, "most were told that too many wait: {ended:?}");
    drop(lock);
    recovered(&store, &own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_connections_left_is_overloaded() {
    if !have("postgres", Postgres::found(Flavour::Plain)) {
        return;
    }
    let server = Postgres::start_with(Flavour::Plain, &["max_connections=12", "superuser_reserved_connections=4"]);
    let (store, own) = prepared(&server, "crowded", 16).await;
    // Ours are few after a cut, and others take all that is left.
    let cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'chimera'";
    server.sql("crowded", cut);
    let url = format!("postgres://{OWNER}@127.0.0.1:{}/crowded", server.port());
    let others = Others::start(&server, &url, 8, "SELECT 1");
    expect(&read(&store, &own).await.unwrap_err(), &[ErrorKind::Overloaded]);
    expect(&store.commit(&own, &batch(&own, "crowded")).await.unwrap_err(), &[ErrorKind::Overloaded]);
    drop(others);
    recovered(&store, &own).await;
    assert_eq!(found(&server, "crowded", "crowded"), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_still_reads() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "replica", 4).await;
    let only = |word: &str| {
        server.sql("postgres", &format!("ALTER DATABASE replica SET default_transaction_read_only = {word}"));
        server.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'chimera'",
        );
    };
    only("on");
    // Said aloud by the session, a transaction may write although the database's default is to read: that is a default
    // for people, and no replica.
    store.commit(&own, &batch(&own, "default")).await.unwrap();
    only("off");
    assert_eq!(found(&server, "replica", "default"), WHOLE);
    recovered(&store, &own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_reads_and_refuses_to_write() {
    let Some(primary) = postgres() else { return };
    let (_, own) = prepared(&primary, "pair", 4).await;
    let mut standby = primary.replica();
    let url = format!("postgres://{OWNER}@127.0.0.1:{}/pair", standby.port());
    let store = handle(&url, 4).await;
    assert!(read(&store, &own).await.unwrap(), "what the primary wrote before is here");
    let error = store.commit(&own, &batch(&own, "standby")).await.unwrap_err();
    expect(&error, &[ErrorKind::Unavailable]);
    assert!(error.to_string().contains("replica"), "{error}");
    expect(&store.health(&own).await.unwrap_err(), &[ErrorKind::Unavailable]);
    assert!(read(&store, &own).await.unwrap(), "a refused write does not stand in the way of reads");
    // As in a fail-over: it becomes the primary, and the program writes on without being told.
    standby.sql("postgres", "SELECT pg_promote()");
    recovered(&store, &own).await;
    store.commit(&own, &batch(&own, "promoted")).await.unwrap();
    assert_eq!(found(&standby, "pair", "promoted"), WHOLE);
    assert_eq!(found(&standby, "pair", "standby"), NOTHING);
    standby.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_may_not_do_is_not_a_defect_of_ours() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "grants", 4).await;
    server.sql("grants", &format!("REVOKE INSERT ON outbox_entry FROM {OWNER}"));
    let error = store.commit(&own, &batch(&own, "grant")).await.unwrap_err();
    expect(&error, &[ErrorKind::Unavailable]);
    assert!(error.to_string().contains("grant"), "{error}");
    assert_eq!(found(&server, "grants", "grant"), NOTHING);
    server.sql("grants", &format!("GRANT INSERT ON outbox_entry TO {OWNER}"));
    store.commit(&own, &batch(&own, "grant")).await.unwrap();
    assert_eq!(found(&server, "grants", "grant"), WHOLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_the_database_cannot_keep_is_the_callers_mistake() {
    let Some(server) = postgres() else { return };
    let (store, own) = prepared(&server, "text", 4).await;
    let mut row = persona::Model::from_row(persona(&own, "nul")).unwrap();
    row.name = "a\0b".to_owned();
    row.created_at = noon();
    let error = store.commit(&own, &insert(vec![persona(&own, "before"), row.into_row()])).await.unwrap_err();
    expect(&error, &[ErrorKind::Invalid]);
    let found = store.find::<persona::Model>(&own, Column::Handle, &["before".to_owned()]).await.unwrap();
    assert!(found[0].is_none(), "the row before it was kept");
    recovered(&store, &own).await;
}
