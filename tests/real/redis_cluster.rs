//! What happens to the store when nodes of a cluster fail: a replica takes over, and the store follows without being
//! opened again.
//!
//! Redis copies to replicas after it has answered, so what was acknowledged in the last moment before a primary died may
//! be lost with it; no client can change that. So each test lets the replicas catch up before a node fails, and promises
//! nothing of the moment itself.

use crate::redis_store::{LONG, QUEUE, enqueue, held_by, open, recovers, round, scope};
use chimera_stores::{
    ErrorKind,
    episodic::{Episodic, Held, Outcome, TaskState},
};
use futures_util::StreamExt as _;
use std::time::{Duration, Instant};
use test_servers::{Redis, RedisCluster, have};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const AWAY: &[ErrorKind] = &[ErrorKind::Unavailable, ErrorKind::Timeout];
/// The nodes agree after one and a half seconds that a primary is gone, elect its replica within another, and the store's
/// breaker rests for two; the rest is for a busy machine.
const FAIL_OVER: Duration = Duration::from_secs(15);

fn found() -> bool {
    have("redis-cluster", Redis::found())
}

/// The node that has the queue of these tests.
fn owner(cluster: &RedisCluster) -> usize {
    let has_it = |node: &Redis| !node.cli(&["KEYS", &format!("*:{QUEUE}}}:all")]).trim().is_empty();
    (0..3).find(|at| has_it(&cluster.nodes[*at])).expect("a primary with the queue")
}

/// Waits until the replicas of all primaries have what these have.
async fn catch_up(cluster: &RedisCluster) {
    let begun = Instant::now();
    let is_behind = |node: &Redis| {
        let said = node.cli(&["INFO", "replication"]);
        let field = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        let replica = field("slave0:");
        let offset = replica.split(',').find_map(|part| part.strip_prefix("offset=")).unwrap_or("none").to_owned();
        !replica.contains("state=online") || offset != field("master_repl_offset:")
    };
    while cluster.nodes[..3].iter().any(is_behind) {
        assert!(begun.elapsed() < FAIL_OVER, "the replicas do not catch up");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Tasks that are acknowledged, one of them held.
async fn fill(store: &Episodic) -> (Vec<Uuid>, Held) {
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(enqueue(store, serde_json::Value::Null).await.unwrap());
    }
    let held = store.reserve(&scope(), QUEUE, "owner", 1, LONG).await.unwrap();
    (ids, held_by(&held[0]))
}

async fn is_kept(store: &Episodic, ids: &[Uuid], held: Held) {
    assert!(store.tasks(&scope(), ids).await.unwrap().iter().all(Option::is_some), "acknowledged tasks are lost");
    let settled = store.settle(&scope(), &[(held, Outcome::Complete { result: None })]).await.unwrap().remove(0);
    assert_eq!(settled.unwrap().state, TaskState::Completed);
}

/// Callers and a subscriber go on while one primary is made to fail by `fault`; all is as before once its replica has
/// taken over.
async fn a_primary_fails(fault: impl FnOnce(&mut Redis)) {
    let mut cluster = RedisCluster::start(1);
    let store = open(&cluster.url()).await;
    let (ids, held) = fill(&store).await;
    let mut events = store.subscribe(&scope(), "tasks").await.unwrap();
    catch_up(&cluster).await;
    let owner = owner(&cluster);
    fault(&mut cluster.nodes[owner]);
    let begun = Instant::now();
    let error = enqueue(&store, serde_json::Value::Null).await.unwrap_err();
    assert!(AWAY.contains(&error.kind()), "{error:?}");
    assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
    println!("followed after {:?}", recovers(&store, FAIL_OVER, AWAY).await);
    is_kept(&store, &ids, held).await;
    let begun = Instant::now();
    let heard = loop {
        let _ = store.publish(&scope(), "tasks", &serde_json::json!(1)).await;
        match timeout(Duration::from_millis(100), events.next()).await {
            Ok(event) => break event,
            Err(_) => assert!(begun.elapsed() < FAIL_OVER, "the subscriber hears nothing any more"),
        }
    };
    assert!(heard.is_some(), "the stream ended");
    println!("heard after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_a_killed_primary_is_followed() {
    if found() {
        a_primary_fails(Redis::kill).await;
    }
}

/// As when the power of a machine fails: its connections stay open and nothing comes from them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_a_silent_primary_is_followed() {
    if found() {
        a_primary_fails(|node| node.signal("STOP")).await;
    }
}

/// An operator moves the work to a replica: nothing is lost, and nobody waits for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_fail_over_is_followed() {
    if !found() {
        return;
    }
    let cluster = RedisCluster::start(1);
    let store = open(&cluster.url()).await;
    let (ids, held) = fill(&store).await;
    catch_up(&cluster).await;
    let owner = owner(&cluster);
    let id = cluster.nodes[owner].cli(&["CLUSTER", "MYID"]);
    let is_its_replica = |node: &&Redis| {
        let said = node.cli(&["CLUSTER", "NODES"]);
        said.lines().any(|line| line.contains("myself,slave") && line.contains(id.trim()))
    };
    let replica = cluster.nodes[3..].iter().find(is_its_replica).expect("a replica");
    assert_eq!(replica.cli(&["CLUSTER", "FAILOVER"]).trim(), "OK");
    let begun = Instant::now();
    while !replica.cli(&["ROLE"]).starts_with("master") {
        assert!(begun.elapsed() < FAIL_OVER, "the replica does not take over");
        sleep(Duration::from_millis(10)).await;
    }
    println!("followed after {:?}", recovers(&store, FAIL_OVER, AWAY).await);
    is_kept(&store, &ids, held).await;
}

/// A node that is away and has no replica: what lies on it fails, and comes back with it. The others do not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_comes_back() {
    if !found() {
        return;
    }
    let mut cluster = RedisCluster::start(0);
    let store = open(&cluster.url()).await;
    let (ids, held) = fill(&store).await;
    let owner = owner(&cluster);
    cluster.nodes[owner].kill();
    let begun = Instant::now();
    let mut codes = std::collections::BTreeMap::new();
    while begun.elapsed() < Duration::from_secs(3) {
        let error = enqueue(&store, serde_json::Value::Null).await.expect_err("the queue's node is away");
        assert!(AWAY.contains(&error.kind()), "{error:?}");
        *codes.entry(error.message().to_owned()).or_insert(0) += 1;
        sleep(Duration::from_millis(20)).await;
    }
    println!("{codes:?}");
    cluster.nodes[owner].restart();
    println!("back after {:?}", recovers(&store, FAIL_OVER, AWAY).await);
    is_kept(&store, &ids, held).await;
}

/// Slots that are moved to another node while callers work: no call fails, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_slots_are_followed() {
    if !found() {
        return;
    }
    let cluster = RedisCluster::start(0);
    let store = open(&cluster.url()).await;
    let (ids, held) = fill(&store).await;
    let owner = owner(&cluster);
    let key = cluster.nodes[owner].cli(&["KEYS", &format!("*:{QUEUE}}}:all")]);
    let slot = cluster.nodes[owner].cli(&["CLUSTER", "KEYSLOT", key.trim()]);
    let (from, to) = (&cluster.nodes[owner], &cluster.nodes[(owner + 1) % 3]);
    let (from_id, to_id) = (from.cli(&["CLUSTER", "MYID"]), to.cli(&["CLUSTER", "MYID"]));
    let (slot, from_id, to_id) = (slot.trim(), from_id.trim(), to_id.trim());
    to.cli(&["CLUSTER", "SETSLOT", slot, "IMPORTING", from_id]);
    from.cli(&["CLUSTER", "SETSLOT", slot, "MIGRATING", to_id]);
    let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", slot, "10000"]);
    let port = to.port().to_string();
    let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    command.extend(keys.lines());
    assert_eq!(from.cli(&command).trim(), "OK");
    // Half-way: the old owner sends everybody on by ASK.
    let asked = enqueue(&store, serde_json::Value::Null).await;
    println!("half-way: {asked:?}");
    for node in [to, from] {
        node.cli(&["CLUSTER", "SETSLOT", slot, "NODE", to_id]);
    }
    println!("followed after {:?}", recovers(&store, FAIL_OVER, AWAY).await);
    round(&store).await.unwrap();
    is_kept(&store, &ids, held).await;
    assert!(asked.is_ok(), "a slot that moves is no failure: {asked:?}");
}
