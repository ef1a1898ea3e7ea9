//! Live events across processes: what is published through one reaches the subscribers of another, on a server and on
//! a cluster, and again after the server was away.

use crate::redis_store::{RECOVERY, child, open, scope};
use chimera_stores::{
    Scope,
    episodic::{Episodic, LiveEvent},
};
use futures_util::{StreamExt as _, future::join_all, stream::BoxStream};
use std::{process::Stdio, time::Duration};
use test_servers::{Redis, RedisCluster, have};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

const URL: &str = "CHIMERA_TEST_REDIS_PUBLISHER";
const TOPIC: &str = "tasks";
const EVENTS: u32 = 100;

/// The other process; an ordinary run of the suite has nothing to do here.
#[tokio::test]
async fn a_publisher() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = open(&url).await;
    for number in 0..EVENTS {
        publish(&store, &scope(), number).await;
    }
}

async fn publish(store: &Episodic, scope: &Scope, number: u32) {
    store.publish(scope, TOPIC, &serde_json::json!({ "number": number })).await.unwrap();
}

async fn listen(store: &Episodic) -> BoxStream<'static, LiveEvent> {
    store.subscribe(&scope(), TOPIC).await.unwrap()
}

/// The next event's number.
async fn next(events: &mut BoxStream<'static, LiveEvent>) -> u32 {
    let event = timeout(RECOVERY, events.next()).await.expect("an event in time").expect("the stream goes on");
    assert_eq!(event.topic, TOPIC);
    u32::try_from(event.payload["number"].as_u64().unwrap()).unwrap()
}

/// All subscribers of two stores hear what a process of its own publishes, once each and in order, and nothing else.
async fn a_process_is_heard(url: &str) {
    let (one, two) = (open(url).await, open(url).await);
    let mut streams = [listen(&one).await, listen(&one).await, listen(&two).await];
    let stranger = Scope::system(Uuid::from_u128(8));
    publish(&one, &stranger, 1000).await;
    one.publish(&scope(), "another topic", &serde_json::json!({ "number": 1000 })).await.unwrap();
    let mut command = child("redis_pubsub::a_publisher", URL, url);
    let mut publisher = command.stdout(Stdio::null()).spawn().unwrap();
    for events in &mut streams {
        for number in 0..EVENTS {
            assert_eq!(next(events).await, number);
        }
    }
    assert!(publisher.wait().unwrap().success());
    for events in &mut streams {
        let more = timeout(Duration::from_millis(50), events.next()).await;
        assert!(more.is_err(), "nothing was published any more: {more:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_another_process_arrive() {
    if have("redis", Redis::found()) {
        a_process_is_heard(&Redis::start().url()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_another_process_arrive_through_a_cluster() {
    if !have("redis-cluster", Redis::found()) {
        return;
    }
    let cluster = RedisCluster::start(0);
    a_process_is_heard(&cluster.url()).await;
    // Published through any node, heard through any other.
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| node.url().replace("redis:", "redis-cluster:")).collect();
    let stores = join_all(nodes.iter().map(|url| open(url))).await;
    let mut streams = join_all(stores.iter().map(listen)).await;
    for (number, store) in (0..).zip(&stores) {
        publish(store, &scope(), number).await;
        for events in &mut streams {
            assert_eq!(next(events).await, number);
        }
    }
}

/// Publishes until every stream has heard an event of now: subscribers need not do anything for that.
async fn are_heard_again(store: &Episodic, streams: &mut [BoxStream<'static, LiveEvent>]) {
    let begun = Instant::now();
    for events in streams {
        let mut number = 0;
        loop {
            number += 1;
            // The store may not be back yet.
            let _ = store.publish(&scope(), TOPIC, &serde_json::json!({ "number": number })).await;
            match timeout(Duration::from_millis(50), events.next()).await {
                Ok(event) => break assert!(event.is_some(), "the stream ended"),
                Err(_) => assert!(begun.elapsed() < RECOVERY, "nothing is heard any more"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_outlast_their_server() {
    if !have("redis", Redis::found()) {
        return;
    }
    let mut server = Redis::start();
    let (one, two) = (open(&server.url()).await, open(&server.url()).await);
    let mut streams = [listen(&one).await, listen(&two).await];
    for pause in [0, 700] {
        server.kill();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.restart();
        are_heard_again(&two, &mut streams).await;
    }
    // Only the connections are cut.
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    are_heard_again(&one, &mut streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_while_the_server_is_away_fails_and_then_works() {
    if !have("redis", Redis::found()) {
        return;
    }
    let mut server = Redis::start();
    let store = open(&server.url()).await;
    server.kill();
    let Err(error) = store.subscribe(&scope(), TOPIC).await else { panic!("nobody is there to subscribe to") };
    assert!(matches!(error.kind().code(), "STORE_UNAVAILABLE" | "STORE_TIMEOUT"), "{error:?}");
    server.restart();
    let begun = Instant::now();
    let events = loop {
        match store.subscribe(&scope(), TOPIC).await {
            Ok(events) => break events,
            Err(error) => assert!(begun.elapsed() < RECOVERY, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    are_heard_again(&store, &mut [events]).await;
}

/// A subscription is there when it is answered, so nothing published afterwards is missed, however often that is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_subscription_misses_nothing() {
    if !have("redis", Redis::found()) {
        return;
    }
    let server = Redis::start();
    let (one, two) = (open(&server.url()).await, open(&server.url()).await);
    for number in 0..200 {
        let mut events = listen(&one).await;
        publish(&two, &scope(), number).await;
        assert_eq!(next(&mut events).await, number);
    }
}
