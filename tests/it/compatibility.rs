//! What each adapter can do, as `docs/compatibility.md` says it: a "no" there shows in review.
//!
//! The adapters of servers are opened on real ones. Where one is not installed, and not named by `CONTRACT_REQUIRE`, what
//! the document says of its adapter stands as it is.

use crate::{examples::pinned_at, support::TestApp};
use chimera_stores::{
    Address, SystemClock,
    episodic::{EpisodicAdapter, RedisEpisodic},
    relational::{PostgresOptions, RelationalAdapter, SqlRelational},
    telemetry::{TelemetryAdapter, TimescaleSettings, TimescaleTelemetry},
};
use serde_json::Value;
use std::{fmt::Write, sync::Arc};
use test_servers::{Flavour, Postgres, Redis, RedisCluster, have};

const DOCUMENT: &str = "docs/compatibility.md";

const SLOWER: &str = "
`durable` of a Redis server is what it is set to: `true` with `appendfsync always`, and only so. `retention` of telemetry
says whether `telemetry.retain_raw` is set.

## What is slower

Every adapter of a port gives the same answers. What they cost differs.

| telemetry | `timescale` | `postgres-telemetry` | `sqlite` |
|---|---|---|---|
| statistics and rankings of more than two hours | read roll-ups of minutes, hours and days; those of one video read its events | the same, from plain tables | read every event of their range |
| old events | compressed after `telemetry.compress_after` | never compressed: more disk, and more to read | never compressed |
| an event for a week that is not this one, the one before or one of the three after it | goes to the chunk of its week | goes to one partition with all such events, until the week's own is made | one table holds all |
| rolling up late events | what changed is materialised anew | all of their hours and days are deleted and written again, and wait for vacuum | nothing is rolled up |
| removing old events | whole chunks, by TimescaleDB's jobs | whole weeks; row by row in the partition that has no week | row by row |
| removing old roll-ups | whole chunks, by TimescaleDB's jobs | row by row | there are none |

| relational | `postgres` | `sqlite` |
|---|---|---|
| a read | two round trips: row-level security wants a transaction that says whose rows it may see | no server between |
| writers | side by side; charges to one budget begin again when they collide | one at a time |

| episodic | `embedded` | `redis` | `redis-cluster` |
|---|---|---|---|
| a batch | in this process; a change waits for the disk | one round trip | one round trip to each node, side by side |
| a task named by its id alone | a look-up | one round trip where this process knows its queue, three at the most | the same |
";

/// The port and its adapter's capabilities.
type Adapter = (&'static str, Value);

/// Opened on a server that is started for it; `None` where there is none.
async fn served(name: &str) -> Option<Adapter> {
    match name {
        "postgres" => {
            let server = postgres(name, Flavour::Plain)?;
            let address = Address::new(server.owned("relational"));
            let opened =
                SqlRelational::open_postgres(&address, PostgresOptions::default(), Arc::new(SystemClock)).await;
            Some(("relational", serde_json::to_value(opened.unwrap().capabilities()).unwrap()))
        }
        "timescale" => {
            let server = postgres(name, Flavour::Timescale)?;
            Some(telemetry(&server.create("telemetry").replacen("postgres", "timescaledb", 1)).await)
        }
        "postgres-telemetry" => {
            let server = postgres("postgres", Flavour::Plain)?;
            Some(telemetry(&server.create("telemetry")).await)
        }
        "redis" => {
            let server = have("redis", Redis::found()).then(Redis::start)?;
            Some(episodic(&server.url()).await)
        }
        "redis-cluster" => {
            let cluster = have("redis-cluster", Redis::found()).then(|| RedisCluster::start(0))?;
            Some(episodic(&cluster.url()).await)
        }
        other => panic!("{other} is no adapter"),
    }
}

fn postgres(name: &str, flavour: Flavour) -> Option<Postgres> {
    have(name, Postgres::found(flavour)).then(|| Postgres::start(flavour))
}

async fn telemetry(url: &str) -> Adapter {
    let settings = TimescaleSettings::default();
    let opened = TimescaleTelemetry::open(&Address::new(url), settings, Arc::new(SystemClock)).await;
    ("telemetry", serde_json::to_value(opened.unwrap().capabilities()).unwrap())
}

async fn episodic(url: &str) -> Adapter {
    let opened = RedisEpisodic::open(&Address::new(url), "chimera", Arc::new(SystemClock)).await;
    ("episodic", serde_json::to_value(opened.unwrap().capabilities()).unwrap())
}

fn rows((port, capabilities): &Adapter) -> String {
    let adapter = capabilities["adapter"].as_str().unwrap();
    let mut text = String::new();
    for (name, value) in capabilities.as_object().unwrap() {
        if !["adapter", "place"].contains(&name.as_str()) {
            writeln!(text, "| {port} | {adapter} | `{name}` | {value} |").unwrap();
        }
    }
    text
}

/// What the document says now.
fn committed_rows(port: &str, adapter: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let begin = format!("| {port} | {adapter} |");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|line| line.starts_with(&begin)).map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_capabilities_are_what_the_documentation_says() {
    let test = TestApp::demo().await;
    let stores = &test.app.shared.stores;
    let to_json = |value: Result<Value, serde_json::Error>| value.unwrap();
    let embedded = [
        ("relational", to_json(serde_json::to_value(stores.relational.capabilities()))),
        ("memory", to_json(serde_json::to_value(stores.memory().unwrap().capabilities()))),
        ("episodic", to_json(serde_json::to_value(stores.episodic().unwrap().capabilities()))),
        ("telemetry", to_json(serde_json::to_value(stores.telemetry().unwrap().capabilities()))),
        ("ledger", to_json(serde_json::to_value(stores.ledger().unwrap().capabilities()))),
        ("media", to_json(serde_json::to_value(stores.media().unwrap().capabilities()))),
        ("search", to_json(serde_json::to_value(stores.search().unwrap().capabilities()))),
    ];
    let servers = [
        ("relational", "postgres"),
        ("episodic", "redis"),
        ("episodic", "redis-cluster"),
        ("telemetry", "timescale"),
        ("telemetry", "postgres-telemetry"),
    ];
    let mut text = String::from(
        "# What each adapter can do\n\nGenerated from the adapters' own capabilities, and checked by a test.\n\n",
    );
    text.push_str("| port | adapter | capability | value |\n|---|---|---|---|\n");
    for adapter in &embedded {
        text.push_str(&rows(adapter));
        for (port, name) in servers.into_iter().filter(|(port, _)| *port == adapter.0) {
            match served(name).await {
                Some(served) => {
                    assert_eq!((served.0, served.1["adapter"].as_str().unwrap()), (port, name));
                    text.push_str(&rows(&served));
                }
                None => text.push_str(&committed_rows(port, name)),
            }
        }
    }
    text.push_str(SLOWER);
    pinned_at(DOCUMENT, &text);
    test.app.stop().await;
}
