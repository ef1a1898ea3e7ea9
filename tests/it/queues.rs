//! Queues through the API: work in one round trip, pause and rate limits, throughput, dedupe windows. The clock moves
//! only where a test moves it.

use crate::{
    mutations::{audit_count, because, done, mutate, refused},
    support::TestApp,
};
use chimera::graphql::mutations::task::TASKS_TOPIC;
use chimera_stores::Store;
use chrono::TimeDelta;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

async fn fill(test: &TestApp, count: usize) -> Vec<Value> {
    let task = json!({ "queue": "it", "kind": "k" });
    let input = json!({ "tasks": vec![task; count] });
    let payload = done(test, "enqueueTasks", "EnqueueTasksInput", input, "tasks { task { id } }").await;
    payload["tasks"].as_array().unwrap().iter().map(|task| task["task"]["id"].clone()).collect()
}

async fn reserve(test: &TestApp, count: u32) -> Vec<Value> {
    let input = json!({ "queue": "it", "worker": "w", "count": count });
    let payload = done(test, "reserveTasks", "ReserveTasksInput", input, "tasks { id lease { token } }").await;
    payload["tasks"].as_array().unwrap().clone()
}

fn hold(task: &Value) -> Value {
    json!({ "taskId": task["id"], "token": task["lease"]["token"] })
}

async fn queue(test: &TestApp) -> Value {
    let fields =
        "ready leased paused rateLimit { count per } lastMinute { completed failed } lastHour { completed failed }";
    test.ask(&format!("{{ queue(name: \"it\") {{ {fields} }} }}"), json!({})).await.data()["queue"].clone()
}

async fn configure(test: &TestApp, input: Value) -> Value {
    let fields = "queue { name paused rateLimit { count per } }";
    done(test, "configureQueue", "ConfigureQueueInput", input, fields).await["queue"].clone()
}

#[tokio::test]
async fn a_worker_needs_one_call_for_each_round() {
    let test = TestApp::demo().await;
    let ids = fill(&test, 5).await;
    let held = reserve(&test, 3).await;
    let episodic = test.app.shared.stores.episodic().unwrap();
    let mut events = episodic.subscribe(&test.scope(), TASKS_TOPIC).await.unwrap();
    let failed =
        json!({ "taskId": held[1]["id"], "token": held[1]["lease"]["token"], "error": "no disk", "retryable": false });
    let lost = json!({ "taskId": held[2]["id"], "token": held[0]["lease"]["token"] });
    let unread = json!({ "taskId": held[2]["id"], "token": "no token", "error": "no disk" });
    let input = json!({
        "completed": [{ "taskId": held[0]["id"], "token": held[0]["lease"]["token"], "result": { "ok": true } }, lost],
        "failed": [unread, failed],
        "reserve": { "queue": "it", "worker": "w", "count": 9 },
    });
    let document = "mutation($input: WorkTasksInput!) { workTasks(input: $input) {
        completed { id state result } failed { id state lastError } reserved { id state lease { worker } }
        userErrors { code field } } }";
    let answer = test.ask(document, json!({ "input": input })).await;
    let payload = &answer.data()["workTasks"];
    assert_eq!(payload["completed"], json!([{ "id": ids[0], "state": "COMPLETED", "result": { "ok": true } }, null]));
    assert_eq!(payload["failed"], json!([null, { "id": ids[1], "state": "DEAD", "lastError": "no disk" }]));
    let reserved = |id: &Value| json!({ "id": id, "state": "LEASED", "lease": { "worker": "w" } });
    assert_eq!(payload["reserved"], json!([reserved(&ids[3]), reserved(&ids[4])]));
    let errors = json!([
        { "code": "CONFLICT", "field": ["input", "completed", "1"] },
        { "code": "INVALID", "field": ["input", "failed", "0", "token"] },
    ]);
    assert_eq!(payload["userErrors"], errors);
    let calls: Vec<_> = answer.calls.iter().filter(|((store, _), _)| *store == Store::Episodic).collect();
    assert_eq!(calls, [(&(Store::Episodic, "publish"), &1), (&(Store::Episodic, "settle_and_reserve"), &1)]);
    let event = events.next().now_or_never().flatten().unwrap().payload;
    let states: Vec<&Value> = event.as_array().unwrap().iter().map(|task| &task["state"]).collect();
    assert_eq!(states, ["COMPLETED", "DEAD", "LEASED", "LEASED"]);
    assert_eq!(audit_count(&test, "workTasks").await, 0);
    test.app.stop().await;
}

#[tokio::test]
async fn a_worker_that_asks_wrongly_loses_nothing() {
    let test = TestApp::demo().await;
    fill(&test, 1).await;
    let held = reserve(&test, 1).await;
    let done_tasks = |count: usize| json!(vec![hold(&held[0]); count]);
    let next = json!({ "queue": "it", "worker": "w" });
    let with = |name: &str, value: Value| {
        let mut next = next.clone();
        next[name] = value;
        json!({ "completed": done_tasks(1), "reserve": next })
    };
    let mut failed = hold(&held[0]);
    failed["error"] = json!("no disk");
    for (input, path) in [
        (with("count", json!(0)), "input.reserve.count"),
        (with("count", json!(101)), "input.reserve.count"),
        (with("worker", json!(" ")), "input.reserve.worker"),
        (with("queue", json!("")), "input.reserve.queue"),
        (with("queue", json!("NOT A QUEUE")), ""),
        (with("lease", json!("PT0.5S")), "input.reserve.lease"),
        (json!({ "completed": done_tasks(60), "failed": vec![failed; 41], "reserve": next }), "input"),
    ] {
        assert_eq!(refused(&test, "workTasks", "WorkTasksInput", input).await, because("INVALID", path));
    }
    assert_eq!(queue(&test).await["leased"], json!(1));
    let elsewhere = json!({ "completed": done_tasks(1), "reserve": { "queue": "render2", "worker": "w" } });
    let other = refused(&test, "workTasks", "WorkTasksInput", elsewhere).await;
    assert_eq!(other, because("CONFLICT", "input.completed.0"));
    let right = json!({ "completed": done_tasks(1), "reserve": next });
    done(&test, "workTasks", "WorkTasksInput", right, "completed { id } reserved { id }").await;
    test.app.stop().await;
}

#[tokio::test]
async fn a_queue_is_paused_limited_and_let_go() {
    let test = TestApp::demo().await;
    fill(&test, 10).await;
    let paused = configure(&test, json!({ "queue": "it", "paused": true })).await;
    assert_eq!(paused, json!({ "name": "it", "paused": true, "rateLimit": null }));
    assert_eq!(reserve(&test, 10).await.len(), 0);
    let limit = json!({ "queue": "it", "rateLimit": { "count": 3, "per": "PT1M" } });
    let limited = configure(&test, limit).await;
    assert_eq!(limited, json!({ "name": "it", "paused": true, "rateLimit": { "count": 3, "per": "PT1M" } }));
    configure(&test, json!({ "queue": "it", "paused": false })).await;
    let held = reserve(&test, 10).await;
    assert_eq!((held.len(), reserve(&test, 10).await.len()), (3, 0));
    let holds: Vec<Value> = held.iter().map(hold).collect();
    done(&test, "completeTasks", "CompleteTasksInput", json!({ "holds": holds }), "tasks { state }").await;
    let ended = json!({ "completed": 3, "failed": 0 });
    let expected = json!({
        "ready": 7, "leased": 0, "paused": false, "rateLimit": { "count": 3, "per": "PT1M" },
        "lastMinute": ended, "lastHour": ended,
    });
    assert_eq!(queue(&test).await, expected);
    test.clock.advance(TimeDelta::seconds(90));
    let later = queue(&test).await;
    assert_eq!((&later["lastMinute"], &later["lastHour"]), (&json!({ "completed": 1, "failed": 0 }), &ended));
    assert_eq!(reserve(&test, 10).await.len(), 3);
    let free = configure(&test, json!({ "queue": "it", "rateLimit": null })).await;
    assert_eq!(free, json!({ "name": "it", "paused": false, "rateLimit": null }));
    assert_eq!(reserve(&test, 10).await.len(), 4);
    assert_eq!(audit_count(&test, "configureQueue").await, 4);

    // A queue that has settings is shown, with tasks or without, to those whose it is.
    configure(&test, json!({ "queue": "later", "paused": true })).await;
    let queues = "{ queues { name paused } }";
    let shown = test.ask(queues, json!({})).await.data()["queues"].clone();
    assert!(shown.as_array().unwrap().contains(&json!({ "name": "later", "paused": true })), "{shown}");
    assert_eq!(test.ask_as(&test.foreign(), queues, json!({})).await.data()["queues"], json!([]));
    test.app.stop().await;
}

#[tokio::test]
async fn wrong_settings_of_a_queue_are_refused() {
    let test = TestApp::demo().await;
    let limit = |count: u32, per: &str| json!({ "queue": "it", "rateLimit": { "count": count, "per": per } });
    for (input, path) in [
        (json!({ "queue": "NOT A QUEUE", "paused": true }), "input.queue"),
        (json!({ "queue": "", "paused": true }), "input.queue"),
        (json!({ "queue": "q".repeat(65), "paused": true }), "input.queue"),
        (json!({ "queue": "it" }), "input"),
        (limit(0, "PT1M"), "input.rateLimit.count"),
        (limit(10_001, "PT1M"), "input.rateLimit.count"),
        (limit(1, "PT0.999S"), "input.rateLimit.per"),
        (limit(1, "P1DT1S"), "input.rateLimit.per"),
    ] {
        assert_eq!(refused(&test, "configureQueue", "ConfigureQueueInput", input).await, because("INVALID", path));
    }
    assert_eq!(audit_count(&test, "configureQueue").await, 0);
    assert_eq!(queue(&test).await["rateLimit"], Value::Null);
    test.app.stop().await;
}

#[tokio::test]
async fn a_dedupe_window_keeps_a_key_after_the_task() {
    let test = TestApp::demo().await;
    let task = json!({ "queue": "it", "kind": "k", "dedupeKey": "d", "dedupeFor": "PT10M" });
    let enqueue = async || {
        let input = json!({ "tasks": [task] });
        let fields = "tasks { deduplicated task { id state dedupeUntil } }";
        done(&test, "enqueueTasks", "EnqueueTasksInput", input, fields).await["tasks"][0].clone()
    };
    let first = enqueue().await;
    assert_eq!(first["task"]["dedupeUntil"], json!("2026-01-02T12:10:00Z"));
    let held = reserve(&test, 1).await;
    let holds = json!({ "holds": [hold(&held[0])] });
    done(&test, "completeTasks", "CompleteTasksInput", holds, "tasks { state }").await;
    let again = enqueue().await;
    assert_eq!((&again["deduplicated"], &again["task"]["id"]), (&json!(true), &first["task"]["id"]));
    assert_eq!(again["task"]["state"], json!("COMPLETED"));
    test.clock.advance(TimeDelta::minutes(10));
    assert_eq!(enqueue().await["deduplicated"], json!(false));

    let wrong =
        |key: Option<&str>, window: &str| json!({ "queue": "it", "kind": "k", "dedupeKey": key, "dedupeFor": window });
    let tasks = [wrong(None, "PT1M"), wrong(Some("e"), "PT0.5S"), wrong(Some("f"), "P7DT1S"), wrong(Some("g"), "P7D")];
    let input = json!({ "tasks": tasks });
    let payload = mutate(&test, "enqueueTasks", "EnqueueTasksInput", input, "tasks { deduplicated }").await;
    assert_eq!(payload["tasks"], json!([null, null, null, { "deduplicated": false }]));
    let fields: Vec<&Value> = payload["userErrors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    let field = |index: &str| json!(["input", "tasks", index, "dedupeFor"]);
    assert_eq!(fields, [&field("0"), &field("1"), &field("2")]);
    test.app.stop().await;
}
