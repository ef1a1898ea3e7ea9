//! The servers themselves: they start, are killed, and come back with what they held.

use test_servers::{Flavour, Postgres, Redis, RedisCluster, have};

#[test]
fn postgres_comes_back_with_its_rows() {
    if !have("timescale", Postgres::found(Flavour::Timescale)) {
        return;
    }
    let mut server = Postgres::start(Flavour::Timescale);
    server.create("one");
    server.sql("one", "CREATE EXTENSION timescaledb; CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    server.kill();
    server.restart();
    assert_eq!(server.sql("one", "SELECT n FROM kept").trim(), "7");
}

#[test]
fn redis_comes_back_with_its_keys() {
    if !have("redis", Redis::found()) {
        return;
    }
    let mut server = Redis::start();
    server.cli(&["SET", "kept", "7"]);
    // Appended to the file, and in the hands of the kernel, before it was acknowledged.
    server.restart();
    assert_eq!(server.cli(&["GET", "kept"]).trim(), "7");
}

#[test]
fn a_cluster_shares_the_slots() {
    if !have("redis-cluster", Redis::found()) {
        return;
    }
    let cluster = RedisCluster::start(0);
    let said = cluster.nodes[0].cli(&["CLUSTER", "INFO"]);
    assert!(said.contains("cluster_slots_ok:16384"), "{said}");
}
