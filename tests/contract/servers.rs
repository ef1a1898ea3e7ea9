//! The real servers of this run: each started when the first case asks for it, all stopped at the end.
//!
//! Cases share a server and not its data: each has a database, a schema or a prefix of its own, named after its folder,
//! so that opening the same folder again finds the same data.

use std::{path::Path, sync::Mutex};
use test_servers::{Flavour, Postgres, Redis, RedisCluster};

static POSTGRES: Mutex<Option<Postgres>> = Mutex::new(None);
static TIMESCALE: Mutex<Option<Postgres>> = Mutex::new(None);
static REDIS: Mutex<Option<Redis>> = Mutex::new(None);
static CLUSTER: Mutex<Option<RedisCluster>> = Mutex::new(None);

/// Stops what was started.
pub fn stop() {
    POSTGRES.lock().unwrap().take();
    TIMESCALE.lock().unwrap().take();
    REDIS.lock().unwrap().take();
    CLUSTER.lock().unwrap().take();
}

/// The name that belongs to a case's folder, of letters and digits.
pub fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let letters = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    format!("case{}", hex::encode(letters))
}

/// The URL of a database for this folder on the plain server, for an ordinary role that owns it; made when it is
/// missing.
pub fn postgres(folder: &Path) -> String {
    let mut server = POSTGRES.lock().unwrap();
    server.get_or_insert_with(|| Postgres::start(Flavour::Plain)).owned(&name(folder))
}

/// The URL of one database of the server with TimescaleDB preloaded, for schemas of many cases.
pub fn timescale() -> String {
    let mut server = TIMESCALE.lock().unwrap();
    one_database(server.get_or_insert_with(|| Postgres::start(Flavour::Timescale)))
}

/// The URL of one database of the plain server, for schemas of many cases.
pub fn postgres_shared() -> String {
    let mut server = POSTGRES.lock().unwrap();
    one_database(server.get_or_insert_with(|| Postgres::start(Flavour::Plain)))
}

fn one_database(server: &Postgres) -> String {
    match server.sql("postgres", "SELECT 1 FROM pg_database WHERE datname = 'shared'").trim() {
        "1" => server.url("shared"),
        _ => server.create("shared"),
    }
}

/// The URL of the server.
pub fn redis() -> String {
    REDIS.lock().unwrap().get_or_insert_with(Redis::start).url()
}

/// The URL of the cluster.
pub fn redis_cluster() -> String {
    CLUSTER.lock().unwrap().get_or_insert_with(|| RedisCluster::start(0)).url()
}
