//! What a server does to the store while it runs: killed, loading, full, busy, slow. Each call that fails has the right
//! code and ends in time, nothing acknowledged is lost, and the store works again by itself once the server does.

use crate::redis_store::{
    LEASE, LONG, QUEUE, RECOVERY, Traffic, enqueue, fails, held_by, open, recovers, round, scope, task,
};
use chimera_stores::{
    ErrorKind,
    episodic::{Held, NewTask, Outcome, TaskState},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};
use test_servers::{Redis, have};
use tokio::time::sleep;
use uuid::Uuid;

const AWAY: &[ErrorKind] = &[ErrorKind::Unavailable, ErrorKind::Timeout];

fn found() -> bool {
    have("redis", Redis::found())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_lost_nothing_acknowledged() {
    if !found() {
        return;
    }
    let mut server = Redis::start();
    let store = open(&server.url()).await;
    assert!(store.capabilities().durable);
    // What one holds over the restart is still one's own.
    let own = enqueue(&store, serde_json::json!("own")).await.unwrap();
    let own = store.reserve(&scope(), QUEUE, "owner", 1, LONG).await.unwrap().into_iter().find(|task| task.id == own);
    let own = held_by(&own.expect("reserved"));
    store.put_session(&scope(), "kept", &serde_json::json!({ "a": 1 }), LONG).await.unwrap();

    let traffic = Traffic::start(&store);
    for pause in [300, 0] {
        sleep(Duration::from_millis(400)).await;
        server.kill();
        sleep(Duration::from_millis(pause)).await;
        server.restart();
        println!("back after {:?}", recovers(&store, RECOVERY, AWAY).await);
    }
    let told = traffic.end().await;
    println!("{} enqueued, {} completed, {:?}", told.enqueued.len(), told.completed.len(), told.errors);
    told.failed_with(AWAY);
    told.is_kept(&store).await;

    assert!(store.session(&scope(), "kept", None).await.unwrap().is_some());
    let settled = store.settle(&scope(), &[(own, Outcome::Complete { result: None })]).await.unwrap().remove(0);
    assert_eq!(settled.unwrap().state, TaskState::Completed);
}

/// The policy that most servers have. While its disk is slow such a server answers before it writes, so what this file
/// shows of a kill is not true of it, and the store says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_syncs_once_a_second_is_not_called_durable() {
    if !found() {
        return;
    }
    let server = Redis::start_with(&["--appendfsync", "everysec"]);
    let store = open(&server.url()).await;
    assert!(!store.capabilities().durable);
    let said = store.findings(&scope()).await.unwrap();
    assert!(said.len() == 1 && said[0].advice.contains("appendfsync"), "{said:?}");
    server.cli(&["CONFIG", "SET", "appendfsync", "always"]);
    assert_eq!(store.findings(&scope()).await.unwrap(), []);
    assert!(open(&server.url()).await.capabilities().durable);
}

/// Scripts are forgotten by a server that restarts, or that is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_sent_again() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    let traffic = Traffic::start(&store);
    for _ in 0..50 {
        server.cli(&["SCRIPT", "FLUSH"]);
        sleep(Duration::from_millis(5)).await;
    }
    let told = traffic.end().await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    told.is_kept(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_its_data_is_waited_for() {
    if !found() {
        return;
    }
    let mut server = Redis::start();
    let store = open(&server.url()).await;
    let tasks: Vec<NewTask> = (0..3000).map(|_| task(Uuid::now_v7())).collect();
    for tasks in tasks.chunks(1000) {
        assert!(store.enqueue(&scope(), tasks).await.unwrap().iter().all(Result::is_ok));
    }
    // Some ten commands a task, each of which takes this many microseconds to read back; the server answers somebody
    // after every thousandth.
    server.restart_unawaited(&["--key-load-delay", "100"]);
    let error = fails(ErrorKind::Unavailable, "loading", async || enqueue(&store, serde_json::Value::Null).await).await;
    assert_eq!(error.kind().code(), "STORE_UNAVAILABLE");
    println!("loaded after {:?}", recovers(&store, Duration::from_secs(20), AWAY).await);
    let ids: Vec<Uuid> = tasks.iter().map(|task| task.id).collect();
    for ids in ids.chunks(1000) {
        assert!(store.tasks(&scope(), ids).await.unwrap().iter().all(Option::is_some));
    }
}

/// A full server takes no new task, and says so; what it has can be worked off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_and_loses_nothing() {
    if !found() {
        return;
    }
    let server = Redis::start_with(&["--maxmemory", "8mb", "--maxmemory-policy", "noeviction"]);
    let store = open(&server.url()).await;
    let large = serde_json::json!("x".repeat(60_000));
    let mut kept = Vec::new();
    let error = loop {
        match enqueue(&store, large.clone()).await {
            Ok(id) => kept.push(id),
            Err(error) => break error,
        }
        assert!(kept.len() < 1000, "eight megabytes hold sixty megabytes");
    };
    let is_full =
        |error: &chimera_stores::StoreError| error.kind() == ErrorKind::Overloaded && error.advice().is_some();
    assert!(is_full(&error), "{error:?}");
    assert!(error.message().contains("memory"), "{error:?}");
    // Whatever is freed by refusing does not make room for small writes now.
    server.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    for refused in [
        enqueue(&store, large.clone()).await.unwrap_err(),
        store.put_session(&scope(), "s", &large, LONG).await.unwrap_err(),
        store.health(&scope()).await.unwrap_err(),
    ] {
        assert!(is_full(&refused), "{refused:?}");
    }
    let said = store.findings(&scope()).await.unwrap();
    assert!(said.iter().any(|finding| finding.message.contains("90 percent")), "{said:?}");

    // Reading and working go on: nothing less would ever make room.
    assert!(store.tasks(&scope(), &kept).await.unwrap().iter().all(Option::is_some));
    let mut completed = 0;
    while completed < kept.len() {
        let tasks = store.reserve(&scope(), QUEUE, "worker", 10, LEASE).await.unwrap();
        assert!(!tasks.is_empty(), "{completed} of {} could be reserved", kept.len());
        let held: Vec<(Held, Option<f32>)> = tasks.iter().map(|task| (held_by(task), Some(0.5))).collect();
        assert!(store.heartbeat(&scope(), &held, LONG).await.unwrap().iter().all(Result::is_ok));
        let done = |(held, _): &(Held, _)| (*held, Outcome::Complete { result: None });
        let outcomes: Vec<(Held, Outcome)> = held.iter().map(done).collect();
        completed += store.settle(&scope(), &outcomes).await.unwrap().into_iter().filter(Result::is_ok).count();
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "64mb"]);
    round(&store).await.expect("there is room again");
    for task in store.tasks(&scope(), &kept).await.unwrap() {
        assert_eq!(task.unwrap().state, TaskState::Completed);
    }
}

/// Somebody's endless script.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_told_apart_and_waited_for() {
    if !found() {
        return;
    }
    let server = Arc::new(Redis::start_with(&["--busy-reply-threshold", "50"]));
    let store = open(&server.url()).await;
    let id = enqueue(&store, serde_json::Value::Null).await.unwrap();
    let endless = tokio::task::spawn_blocking({
        let server = server.clone();
        move || server.cli(&["EVAL", "while true do end", "0"])
    });
    let error = fails(ErrorKind::Overloaded, "busy", async || store.tasks(&scope(), &[id]).await).await;
    assert!(error.advice().is_some_and(|advice| advice.contains("SCRIPT KILL")), "{error:?}");
    fails(ErrorKind::Overloaded, "busy", async || enqueue(&store, serde_json::Value::Null).await).await;
    fails(ErrorKind::Overloaded, "busy", async || store.reserve(&scope(), QUEUE, "worker", 1, LONG).await).await;
    server.cli(&["SCRIPT", "KILL"]);
    let said = endless.await.unwrap();
    assert!(said.contains("ERR"), "{said}");
    round(&store).await.expect("nobody is in the way");
    assert_eq!(store.tasks(&scope(), &[id]).await.unwrap()[0].as_ref().unwrap().state, TaskState::Completed);
}

/// A server that stands still: nothing says that it is gone, and nothing comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_given_up_in_time() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    round(&store).await.unwrap();
    let traffic = Traffic::start(&store);
    sleep(Duration::from_millis(300)).await;
    server.signal("STOP");
    // As far as the caller knows it was not enqueued; the server reads it later all the same.
    let new = task(Uuid::now_v7());
    let asked = Instant::now();
    let error = store.enqueue(&scope(), std::slice::from_ref(&new)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(asked.elapsed() < Duration::from_millis(3500), "{:?}", asked.elapsed());
    sleep(Duration::from_millis(800)).await;
    server.signal("CONT");
    println!("awake after {:?}", recovers(&store, RECOVERY, AWAY).await);
    let told = traffic.end().await;
    println!("{} enqueued, {} completed, {:?}", told.enqueued.len(), told.completed.len(), told.errors);
    told.failed_with(AWAY);
    told.is_kept(&store).await;
    // The caller tries again with the same id: there is one task.
    let again = store.enqueue(&scope(), std::slice::from_ref(&new)).await.unwrap().remove(0).unwrap();
    assert_eq!(again.task.id, new.id);
    let stats = store.queues(&scope(), &[QUEUE.to_owned()]).await.unwrap().remove(0);
    assert_eq!(stats.dead + stats.scheduled, 0, "{stats:?}");
}

/// A pause that is shorter than what is allowed is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_answer_is_an_answer() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    let traffic = Traffic::start(&store);
    for _ in 0..2 {
        server.cli(&["CLIENT", "PAUSE", "700", "ALL"]);
        sleep(Duration::from_millis(1000)).await;
    }
    let told = traffic.end().await;
    assert!(told.errors.is_empty(), "{:?}", told.errors);
    assert!(told.longest >= Duration::from_millis(600), "nobody had to wait: {:?}", told.longest);
    told.is_kept(&store).await;
}

/// Connections that somebody cuts, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_made_anew() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    let traffic = Traffic::start(&store);
    for _ in 0..10 {
        sleep(Duration::from_millis(50)).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    println!("back after {:?}", recovers(&store, RECOVERY, AWAY).await);
    let told = traffic.end().await;
    told.failed_with(AWAY);
    told.is_kept(&store).await;
}

/// Says a command over a connection of the test's own and waits for its answer.
fn say(connection: &mut TcpStream, command: &str) {
    connection.write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let read = connection.read(&mut [0; 256]).unwrap();
    assert!(read > 0, "{command}");
}

/// A server that takes no more connections, when one of ours was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_taken_again_once_there_is_one() {
    if !found() {
        return;
    }
    let server = Redis::start();
    let store = open(&server.url()).await;
    round(&store).await.unwrap();
    let connect = || TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let (mut tool, mut others) = (connect(), Vec::new());
    for _ in 0..4 {
        let mut other = connect();
        say(&mut other, "SUBSCRIBE place");
        others.push(other);
    }
    say(&mut tool, "CONFIG SET maxclients 4");
    say(&mut tool, "CLIENT KILL TYPE normal");
    // The server says why and hangs up; which of the two is seen first is left open.
    let kinds = [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Overloaded];
    for _ in 0..20 {
        let error = enqueue(&store, serde_json::Value::Null).await.expect_err("there is no place");
        assert!(kinds.contains(&error.kind()), "{error:?}");
    }
    say(&mut tool, "CONFIG SET maxclients 100");
    println!("let in after {:?}", recovers(&store, RECOVERY, &kinds).await);
}
