//! Sessions, windows and tasks in Redis, against `redis-benchmark` on the same server: what our reads and writes cost
//! beyond the commands themselves, for a single caller and for many at once.
//!
//! `cargo run --profile bench -p benches --bin redis` prints a table: operations a second of ours and of
//! `redis-benchmark`, and their ratio slice by slice, in turn. Ours includes the guard, JSON, and the scripts that keep a
//! session's or a task's rules; theirs is a GET, a SET or an LPUSH with LRANGE of a value of the same size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench stops at the first surprise")]

use benches::{Ratios, queue, rate};
use chimera_stores::{
    Address, Clock, Guard, Principal, Role, Scope, Store, SystemClock,
    episodic::{Episodic, Held, NewTask, Outcome, RedisEpisodic, Turn, TurnRole, WindowQuery},
};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use test_servers::Redis;
use uuid::Uuid;

/// Pairs of slices.
const PAIRS: usize = 7;
/// Callers of the pipelined slices, and the depth of theirs.
const MANY: usize = 64;
/// Operations of a slice for a single caller, and for many.
const FEW_OPERATIONS: usize = 5_000;
const MANY_OPERATIONS: usize = 40_000;

#[tokio::main]
async fn main() {
    let server = Redis::start();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let adapter = RedisEpisodic::open(&Address::new(server.url()), "bench", clock.clone()).await.unwrap();
    let store = Episodic::new(Guard::detached(Store::Episodic), Arc::new(adapter));
    let scope = Scope::new(Uuid::from_u128(1), Principal::User(Uuid::from_u128(2)), Role::Admin);
    let data = json!({ "user": "u".repeat(120), "cart": [1, 2, 3], "locale": "en" });
    let size = data.to_string().len().to_string();
    let ttl = Duration::from_secs(600);
    store.put_session(&scope, "one", &data, ttl).await.unwrap();
    let persona = Uuid::from_u128(3);
    let turns: Vec<Turn> = (0..20)
        .map(|number| Turn {
            id: Uuid::from_u128(1000 + number),
            persona_id: persona,
            conversation: "c".to_owned(),
            role: TurnRole::User,
            text: "t".repeat(150),
            tokens: 30,
            at: clock.now(),
        })
        .collect();
    store.append_turns(&scope, &turns).await.unwrap();
    let window = [WindowQuery {
        persona_id: persona,
        conversation: Some("c".to_owned()),
        max_age: Duration::from_secs(3600),
        max_turns: 20,
        max_tokens: Some(2000),
    }];
    println!("| operation | ours, a second | redis-benchmark, a second | ratio | spread |\n|---|---|---|---|---|");
    for (callers, operations) in [(1, FEW_OPERATIONS), (MANY, MANY_OPERATIONS)] {
        let who = if callers == 1 { "one caller".to_owned() } else { format!("{callers} callers") };
        let (mut reads, mut writes, mut windows) = (Ratios::default(), Ratios::default(), Ratios::default());
        for _ in 0..PAIRS {
            let ours = slice(callers, operations, || async { drop(store.session(&scope, "one", None).await.unwrap()) });
            reads.add(ours.await, theirs(&server, callers, operations, &size, "get"));
            let put = || async { drop(store.put_session(&scope, "one", &data, ttl).await.unwrap()) };
            let written = theirs(&server, callers, operations, &size, "set");
            writes.add(slice(callers, operations, put).await, written);
            let read = || async { assert_eq!(store.windows(&scope, &window).await.unwrap().concat().len(), 20) };
            let ours = slice(callers, operations / 4, read).await;
            windows.add(ours, theirs(&server, callers, operations / 4, "200", "lrange_100"));
        }
        println!("{}", reads.row(&format!("session, {who} / GET")));
        println!("{}", writes.row(&format!("put session, {who} / SET")));
        println!("{}", windows.row(&format!("window of 20 turns, {who} / LRANGE of 100")));
    }
    tasks(&store, &scope, &server).await;
}

/// Operations a second.
async fn slice<F: Future<Output = ()>>(callers: usize, operations: usize, call: impl Fn() -> F) -> f64 {
    let begun = Instant::now();
    stream::iter(0..operations).map(|_| call()).buffer_unordered(callers).collect::<Vec<_>>().await;
    rate(operations, begun.elapsed())
}

/// The same number of commands by the server's own benchmark, over one connection.
fn theirs(server: &Redis, pipeline: usize, operations: usize, size: &str, test: &str) -> f64 {
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port().to_string(), "-c", "1", "-P", &pipeline.to_string()])
        .args(["-n", &operations.to_string(), "-d", size, "-t", test, "--csv"])
        .output()
        .expect("redis-benchmark");
    let text = String::from_utf8(output.stdout).unwrap();
    // `"GET","12345.67",…` after the line of headings; LRANGE fills its list first, and comes last.
    let line = text.lines().last().expect("a result");
    line.split(',').nth(1).and_then(|rate| rate.trim_matches('"').parse().ok()).expect("a rate")
}

/// The whole life of tasks in batches, beside one LPUSH a task.
async fn tasks(store: &Episodic, scope: &Scope, server: &Redis) {
    const BATCH: usize = 100;
    const BATCHES: usize = 50;
    let (mut enqueue, mut work) = (Ratios::default(), Ratios::default());
    for _ in 0..PAIRS {
        let begun = Instant::now();
        for _ in 0..BATCHES {
            let batch: Vec<NewTask> = (0..BATCH).map(|_| queue::task("bench")).collect();
            assert!(store.enqueue(scope, &batch).await.unwrap().iter().all(Result::is_ok));
        }
        let ours = rate(BATCH * BATCHES, begun.elapsed());
        enqueue.add(ours, theirs(server, BATCH, BATCH * BATCHES, "150", "lpush"));
        let begun = Instant::now();
        let mut done = 0;
        while done < BATCH * BATCHES {
            let reserved = store.reserve(scope, "bench", "worker", 100, Duration::from_secs(60)).await.unwrap();
            let outcomes: Vec<(Held, Outcome)> = reserved
                .iter()
                .map(|task| {
                    let token = task.lease.as_ref().expect("a lease").token;
                    (Held { task_id: task.id, token }, Outcome::Complete { result: None })
                })
                .collect();
            done += outcomes.len();
            assert!(store.settle(scope, &outcomes).await.unwrap().iter().all(Result::is_ok));
        }
        work.add(rate(done, begun.elapsed()), theirs(server, BATCH, BATCH * BATCHES, "150", "rpop"));
    }
    println!("{}", enqueue.row("enqueue, batches of 100 / LPUSH, pipelines of 100"));
    println!("{}", work.row("reserve and complete, batches of 100 / RPOP, pipelines of 100"));
}
