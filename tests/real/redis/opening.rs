//! What an operator meets who gives a wrong URL, or a server that is not set up for this store.

use super::*;
use chimera_stores::{
    ErrorKind, StoreError,
    episodic::{ConversationAdapter, EpisodicAdapter, QueueAdapter},
};
use futures_util::StreamExt;
use test_servers::{Redis, RedisCluster, have};

async fn refused(url: &str) -> StoreError {
    let error = open(url, clock()).await.err().expect("this should have been refused");
    assert!(!error.chain().contains("s3cret"), "{}", error.chain());
    error
}

fn at(server: &Redis, user: &str) -> String {
    format!("redis://{user}@127.0.0.1:{}", server.port())
}

#[tokio::test]
async fn wrong_passwords_and_users_are_told_from_servers_that_are_not_there() {
    if !have("redis", Redis::found()) {
        return;
    }
    let mut server =
        Redis::start_with(&["--user", "app", "on", ">right", "~*", "&*", "+@all", "--user", "default", "off"]);
    open(&at(&server, "app:right"), clock()).await.unwrap();
    for user in ["app:s3cret", "nobody:s3cret", ":s3cret"] {
        let error = refused(&at(&server, user)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{user}");
        assert!(error.message().contains("user or password") && error.advice().is_some(), "{user}: {error:?}");
    }
    assert!(refused(&server.url()).await.message().contains("user or password"), "none at all");
    server.kill();
    let error = refused(&at(&server, "app:right")).await;
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "the redis server cannot be reached"));
}

#[tokio::test]
async fn a_user_with_the_advised_permissions_is_enough_and_less_is_refused() {
    if !have("redis", Redis::found()) {
        return;
    }
    let server = Redis::start();
    let set = |user: &str, rules: &str| {
        let mut arguments = vec!["ACL", "SETUSER", user, "on", ">right"];
        arguments.extend(rules.split(' '));
        assert_eq!(server.cli(&arguments).trim(), "OK");
    };
    set("none", "~test* &test* +@connection");
    let error = refused(&at(&server, "none:right")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let advice = error.advice().unwrap().to_owned();
    let rules = advice.split_once("<user> ").unwrap().1.replace("<prefix>", "test");

    set("enough", &rules);
    let store = open(&at(&server, "enough:right"), clock()).await.unwrap();
    store.health().await.unwrap();
    assert_eq!(store.findings().await.unwrap(), []);
    let mut events = store.subscribe(&scope(), "tasks").await.unwrap();
    store.publish(&scope(), "tasks", &serde_json::json!(1)).await.unwrap();
    assert_eq!(events.next().await.unwrap().payload, 1);
    store.enqueue(&scope(), &[task(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(store.reserve(&scope(), "render", "worker", 1, LEASE).await.unwrap().len(), 1);
    assert_eq!(store.queues(&scope(), &[]).await.unwrap().len(), 1);

    for less in [rules.replace("~test*", "~other*"), rules.replace("&test*", "&other*"), rules.replace(" +@write", "")]
    {
        server.cli(&["ACL", "DELUSER", "less"]);
        set("less", &format!("resetchannels {less}"));
        let error = refused(&at(&server, "less:right")).await;
        assert!(error.message().contains("does not permit"), "{less}: {error:?}");
    }
    // Without the right to ask, it works and says that it knows nothing.
    set("blind", &rules.replace(" +info", "").replace(" +config|get", ""));
    let blind = open(&at(&server, "blind:right"), clock()).await.unwrap();
    assert!(!blind.capabilities().durable && blind.findings().await.unwrap().len() == 1);
}

#[tokio::test]
async fn a_node_of_a_cluster_and_a_server_alone_are_not_taken_for_each_other() {
    if !have("redis-cluster", Redis::found()) {
        return;
    }
    let (server, cluster) = (Redis::start(), RedisCluster::start(0));
    for url in [cluster.nodes[0].url(), format!("redis-cluster://127.0.0.1:{}", server.port())] {
        let error = refused(&url).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.advice().is_some_and(|advice| advice.contains("episodic.url")), "{error:?}");
    }
    // One node is enough to find the others.
    let one = open(&format!("redis-cluster://127.0.0.1:{}", cluster.nodes[1].port()), clock()).await.unwrap();
    assert_eq!(one.capabilities().adapter, "redis-cluster");
    assert!(one.capabilities().durable && one.findings().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_database_is_chosen_by_its_number() {
    if !have("redis", Redis::found()) {
        return;
    }
    let server = Redis::start();
    let one = open(&format!("{}/1", server.url()), clock()).await.unwrap();
    one.enqueue(&scope(), &[task(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(open(&server.url(), clock()).await.unwrap().tasks(&scope(), &[id(1)]).await.unwrap(), [None]);
    assert!(server.cli(&["-n", "1", "DBSIZE"]).trim().parse::<u32>().unwrap() > 3);
    assert_eq!(refused(&format!("{}/99", server.url())).await.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_server_that_can_lose_tasks_is_found() {
    if !have("redis", Redis::found()) {
        return;
    }
    let server =
        Redis::start_with(&["--appendonly", "no", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let store = open(&server.url(), clock()).await.unwrap();
    assert!(!store.capabilities().durable && store.capabilities().shared);
    let found: Vec<String> = store.findings().await.unwrap().into_iter().map(|finding| finding.message).collect();
    assert!(found.len() == 2 && found[0].contains("evicts") && found[1].contains("nothing on disk"), "{found:?}");
    server.cli(&["CONFIG", "SET", "save", "3600 1"]);
    let found = store.findings().await.unwrap();
    assert!(found.iter().any(|finding| finding.message.contains("snapshots")), "{found:?}");
}

#[tokio::test]
async fn the_store_recovers_with_the_server_and_its_subscribers_hear_again() {
    if !have("redis", Redis::found()) {
        return;
    }
    let mut server = Redis::start();
    let store = open(&server.url(), clock()).await.unwrap();
    let mut events = store.subscribe(&scope(), "tasks").await.unwrap();
    store.enqueue(&scope(), &[task(1)]).await.unwrap().remove(0).unwrap();
    server.kill();
    for _ in 0..3 {
        let error = store.tasks(&scope(), &[id(1)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    assert_eq!(store.subscribe(&scope(), "other").await.err().unwrap().kind(), ErrorKind::Unavailable);
    server.restart();
    let again = async {
        loop {
            if let Ok(found) = store.tasks(&scope(), &[id(1)]).await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(5), again).await.unwrap();
    assert!(found[0].is_some(), "what was acknowledged is there");
    // The scripts are unknown to the new server as well: they went out whole.
    assert_eq!(store.reserve(&scope(), "render", "worker", 1, LEASE).await.unwrap().len(), 1);
    let heard = async {
        loop {
            store.publish(&scope(), "tasks", &serde_json::json!("back")).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(50), events.next()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
}

#[tokio::test]
async fn an_event_of_one_process_reaches_another() {
    if !have("redis-cluster", Redis::found()) {
        return;
    }
    let cluster = RedisCluster::start(0);
    let (one, other) = (open(&cluster.url(), clock()).await.unwrap(), open(&cluster.url(), clock()).await.unwrap());
    let mut events = other.subscribe(&scope(), "tasks").await.unwrap();
    for number in 0..200 {
        one.publish(&scope(), "tasks", &serde_json::json!(number)).await.unwrap();
    }
    for number in 0..200 {
        assert_eq!(events.next().await.unwrap().payload, number, "in their order");
    }
}
