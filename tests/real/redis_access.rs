//! Who may do what on the server: passwords, access lists, replicas. What is wrong is told apart at opening, with advice
//! that helps; what changes while the store is open passes by itself once it is put right.

use crate::redis_store::{PREFIX, RECOVERY, enqueue, everything, fails, open, recovers, refusal, round, scope};
use chimera_stores::{ErrorKind, StoreError, episodic::Episodic};
use test_servers::{Redis, RedisCluster, have};

const AWAY: &[ErrorKind] = &[ErrorKind::Unavailable, ErrorKind::Timeout];

fn found() -> bool {
    have("redis", Redis::found())
}

fn url(server: &Redis, user: &str) -> String {
    format!("redis://{user}@127.0.0.1:{}", server.port())
}

fn has_advice(error: &StoreError, words: &str) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.advice().is_some_and(|advice| advice.contains(words)), "{error:?} {:?}", error.advice());
    assert!(!error.chain().contains("secret"), "{}", error.chain());
}

async fn write(store: &Episodic) -> chimera_stores::Result<uuid::Uuid> {
    enqueue(store, serde_json::Value::Null).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_for_a_while_does_no_lasting_harm() {
    if !found() {
        return;
    }
    let server = Redis::start();
    server.cli(&["ACL", "SETUSER", "app", "on", ">secret", "allkeys", "allchannels", "+@all"]);
    let store = open(&url(&server, "app:secret")).await;
    let mut events = store.subscribe(&scope(), "tasks").await.unwrap();
    round(&store).await.unwrap();
    server.cli(&["ACL", "SETUSER", "app", "resetpass", ">secret2"]);
    server.cli(&["CLIENT", "KILL", "USER", "app"]);
    has_advice(&fails(ErrorKind::Unavailable, "password", async || write(&store).await).await, "password");
    server.cli(&["ACL", "SETUSER", "app", "resetpass", ">secret"]);
    println!("back after {:?}", recovers(&store, RECOVERY, AWAY).await);
    let begun = std::time::Instant::now();
    while tokio::time::timeout(RECOVERY / 60, futures_util::StreamExt::next(&mut events)).await.is_err() {
        store.publish(&scope(), "tasks", &serde_json::json!(1)).await.unwrap();
        assert!(begun.elapsed() < RECOVERY, "the subscriber hears nothing any more");
    }
}

/// What the advice of a missing right says, put in for `<user>` and `<prefix>`.
fn rights(advice: &str) -> Vec<String> {
    let (_, rights) = advice.split_once("ACL SETUSER <user> ").expect("a command to copy");
    rights.split_whitespace().map(|right| right.replace("<prefix>", PREFIX)).collect()
}

fn allow(server: &Redis, rights: &[String]) {
    let mut command = vec!["ACL", "SETUSER", "app", "reset", "on", ">secret"];
    command.extend(rights.iter().map(String::as_str));
    assert_eq!(server.cli(&command).trim(), "OK");
}

/// On a cluster, where more is asked of the server than of one alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_advice_names_are_enough_on_a_cluster() {
    if !have("redis-cluster", Redis::found()) {
        return;
    }
    let cluster = RedisCluster::start(0);
    let url = cluster.url().replace("://", "://app:secret@");
    // Enough to connect, and no more.
    let topology = ["+cluster|slots", "+@connection"].map(str::to_owned);
    cluster.nodes.iter().for_each(|node| allow(node, &topology));
    let refused = refusal(&url).await;
    has_advice(&refused, "ACL SETUSER");
    cluster.nodes.iter().for_each(|node| allow(node, &rights(refused.advice().unwrap())));
    let store = open(&url).await;
    everything(&store).await;
    assert_eq!(store.findings(&scope()).await.unwrap(), []);
    for node in &cluster.nodes {
        node.cli(&["ACL", "LOG", "RESET"]);
    }
    everything(&store).await;
    for node in &cluster.nodes {
        assert_eq!(node.cli(&["ACL", "LOG"]).trim(), "", "a call was refused, and the store went on without it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_comes_back() {
    if !found() {
        return;
    }
    let server = Redis::start();
    allow(&server, &["allkeys", "allchannels", "+@all"].map(str::to_owned));
    let store = open(&url(&server, "app:secret")).await;
    round(&store).await.unwrap();
    server.cli(&["ACL", "SETUSER", "app", "-evalsha"]);
    let kept = enqueue(&store, serde_json::Value::Null).await;
    has_advice(&kept.expect_err("it needs scripts"), "ACL SETUSER");
    server.cli(&["ACL", "SETUSER", "app", "+evalsha"]);
    println!("back after {:?}", recovers(&store, RECOVERY, AWAY).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_no_writes_until_it_is_promoted() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    let id = write(&store).await.unwrap();
    // Of a primary that is away, so that it keeps what it has.
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = fails(ErrorKind::Unavailable, "replica", async || write(&store).await).await;
    has_advice(&error, "primary");
    has_advice(&refusal(&server.url()).await, "primary");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    println!("back after {:?}", recovers(&store, RECOVERY, AWAY).await);
    assert!(store.tasks(&scope(), &[id]).await.unwrap()[0].is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_without_its_replicas_says_so() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let error = fails(ErrorKind::Unavailable, "replicas", async || write(&store).await).await;
    assert_eq!(error.kind().code(), "STORE_UNAVAILABLE");
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    println!("back after {:?}", recovers(&store, RECOVERY, AWAY).await);
}
