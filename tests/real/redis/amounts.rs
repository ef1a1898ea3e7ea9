//! Where one script may not do all there is to do: much that is due at once, long lists, large payloads; and where what
//! this process or the server remembers of a task's queue is wrong or gone.

use super::*;
use chimera_stores::{
    Clock, Position, Slice, SortValue,
    episodic::{EpisodicAdapter, Held, Outcome, QueueAdapter, ReserveRequest, TaskPageQuery, TaskState},
};
use chrono::TimeDelta;
use test_servers::{Redis, have};

async fn fill(store: &RedisEpisodic, tasks: impl Iterator<Item = NewTask>) {
    let tasks: Vec<NewTask> = tasks.collect();
    for batch in tasks.chunks(store.capabilities().max_batch) {
        assert!(store.enqueue(&scope(), batch).await.unwrap().iter().all(Result::is_ok));
    }
}

fn hold(task: &chimera_stores::episodic::Task) -> Held {
    Held { task_id: task.id, token: task.lease.as_ref().unwrap().token }
}

fn query(slice: Slice, states: &[TaskState]) -> TaskPageQuery {
    TaskPageQuery { persona_id: None, campaign_id: None, queue: None, states: states.to_vec(), slice }
}

#[tokio::test]
async fn much_that_is_due_at_once_keeps_its_order_and_its_count() {
    if !have("redis", Redis::found()) {
        return;
    }
    let (server, clock) = (Redis::start(), clock());
    let store = open(&server.url(), clock.clone()).await.unwrap();
    let late = |number: u128| NewTask {
        delay: Duration::from_secs(10 + (number % 3) as u64),
        priority: (number % 7) as i32,
        max_attempts: 1 + (number % 2) as u32,
        ..task(number)
    };
    fill(&store, (0..3000).map(late)).await;
    clock.advance(TimeDelta::seconds(20));
    let reserved = store.reserve(&scope(), "render", "worker", 1000, LEASE).await.unwrap();
    let mut expected: Vec<u128> = (0..3000).collect();
    expected.sort_by_key(|number| (std::cmp::Reverse(number % 7), number % 3, *number));
    let ids: Vec<Uuid> = reserved.iter().map(|task| task.id).collect();
    assert_eq!(ids, expected[..1000].iter().map(|number| id(*number)).collect::<Vec<_>>());
    // All leases end, half of them with the last attempt; and a call that settles first is told of the rest.
    store.reserve(&scope(), "render", "worker", 1000, LEASE).await.unwrap();
    clock.advance(TimeDelta::seconds(30));
    let held = store.reserve(&scope(), "render", "worker", 1, LEASE).await.unwrap();
    clock.advance(TimeDelta::seconds(31));
    let next = ReserveRequest { queue: "render".to_owned(), worker: "worker".to_owned(), count: 5, lease: LEASE };
    let done = (hold(&held[0]), Outcome::Complete { result: None });
    let (settled, next) = store.settle_and_reserve(&scope(), &[done], &next).await.unwrap();
    assert_eq!((settled[0].as_ref().unwrap().state, next.len()), (TaskState::Completed, 5));
    let stats = store.queues(&scope(), &[]).await.unwrap().remove(0);
    let dead = expected[..2000].iter().filter(|number| *number % 2 == 0).count() as u64;
    assert_eq!((stats.dead, stats.leased, stats.completed), (dead, 5, 1));
    assert_eq!(stats.ready, 3000 - dead - 6);
}

#[tokio::test]
async fn a_page_reads_past_what_one_script_may_look_at() {
    if !have("redis", Redis::found()) {
        return;
    }
    let (server, clock) = (Redis::start(), clock());
    let store = open(&server.url(), clock.clone()).await.unwrap();
    // Of one persona and of one campaign are 6,000 each, and both fit the oldest and the newest task only.
    let (persona, campaign) = (Some(id(90_000)), Some(id(90_001)));
    let of = |number: u128| NewTask {
        persona_id: persona.filter(|_| number.is_multiple_of(2) || number == 11_999),
        campaign_id: campaign.filter(|_| number % 2 == 1 || number == 0),
        ..task(number)
    };
    for thousand in 0..12_u128 {
        fill(&store, (thousand * 1000..thousand * 1000 + 1000).map(of)).await;
        clock.advance(TimeDelta::microseconds(1));
    }
    for slice in [Slice::first(5), Slice::last(5)] {
        let both = TaskPageQuery { persona_id: persona, campaign_id: campaign, ..query(slice, &[]) };
        let page = store.task_pages(&scope(), &[both]).await.unwrap().remove(0);
        let ids: Vec<Uuid> = page.items.iter().map(|task| task.id).collect();
        assert_eq!((ids, page.has_previous, page.has_next), (vec![id(11_999), id(0)], false, false));
    }
    // A cursor in the middle of a thousand tasks of one moment, whose own task is in no list of that state any more.
    let at = |number: u128| Position {
        value: SortValue::Int((clock.now() - TimeDelta::microseconds(12 - number as i64 / 1000)).timestamp_micros()),
        id: id(number),
    };
    let slice = Slice { after: Some(at(5500)), ..Slice::first(3) };
    let page = store.task_pages(&scope(), &[query(slice, &[TaskState::Ready])]).await.unwrap().remove(0);
    assert_eq!(page.items.iter().map(|task| task.id).collect::<Vec<_>>(), [5499, 5498, 5497].map(id));
    let slice = Slice { before: Some(at(5500)), ..Slice::last(2) };
    let page =
        store.task_pages(&scope(), &[query(slice, &[TaskState::Dead, TaskState::Ready])]).await.unwrap().remove(0);
    assert_eq!(page.items.iter().map(|task| task.id).collect::<Vec<_>>(), [5502, 5501].map(id));
}

#[tokio::test]
async fn a_page_of_large_tasks_of_several_queues_is_whole() {
    if !have("redis", Redis::found()) {
        return;
    }
    let (server, clock) = (Redis::start(), clock());
    let store = open(&server.url(), clock).await.unwrap();
    let large = |number: u128| NewTask {
        queue: format!("queue-{}", number % 3),
        payload: serde_json::json!(format!("{number}{}", "x".repeat(50_000))),
        ..task(number)
    };
    fill(&store, (0..90).map(large)).await;
    let page = store.task_pages(&scope(), &[query(Slice::first(80), &[])]).await.unwrap().remove(0);
    assert_eq!((page.items.len(), page.has_next), (80, true));
    for (task, number) in page.items.iter().zip((0..90).rev()) {
        assert_eq!((task.id, &task.payload), (id(number), &large(number).payload));
        assert_eq!(task.queue, large(number).queue);
    }
}

#[tokio::test]
async fn a_task_is_found_when_the_note_of_its_queue_is_lost_or_wrong() {
    if !have("redis", Redis::found()) {
        return;
    }
    let (server, clock) = (Redis::start(), clock());
    let store = open(&server.url(), clock.clone()).await.unwrap();
    fill(&store, [task(1), NewTask { queue: "post".to_owned(), ..task(2) }].into_iter()).await;
    let note = |number: u128| format!("test{{{}:t:{}}}:queue", scope().organization_id(), id(number).simple());
    assert_eq!(server.cli(&["GET", &note(1)]).trim(), "render");
    server.cli(&["DEL", &note(1)]);
    server.cli(&["SET", &note(2), "elsewhere"]);
    // Another process, which remembers nothing.
    let other = open(&server.url(), clock.clone()).await.unwrap();
    let found = other.tasks(&scope(), &[id(1), id(2), id(3)]).await.unwrap();
    let queues: Vec<_> = found.iter().map(|task| task.as_ref().map(|task| task.queue.as_str())).collect();
    assert_eq!(queues, [Some("render"), Some("post"), None]);
    let healed = async {
        while server.cli(&["GET", &note(1)]).trim() != "render" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), healed).await.expect("it is written anew");
    // An id that is noted for a queue that has it not is free for another one.
    server.cli(&["SET", &note(5), "elsewhere"]);
    assert!(!other.enqueue(&scope(), &[task(5)]).await.unwrap().remove(0).unwrap().deduplicated);
    // What a process remembers may be out of date: the task was forgotten and made anew in another queue.
    let held = store.reserve(&scope(), "render", "worker", 1, LEASE).await.unwrap();
    store.settle(&scope(), &[(hold(&held[0]), Outcome::Complete { result: None })]).await.unwrap().remove(0).unwrap();
    clock.advance(TimeDelta::seconds(3601));
    let moved = NewTask { queue: "post".to_owned(), ..task(1) };
    assert!(!other.enqueue(&scope(), &[moved]).await.unwrap().remove(0).unwrap().deduplicated);
    assert_eq!(store.tasks(&scope(), &[id(1)]).await.unwrap()[0].as_ref().unwrap().queue, "post");
}

#[tokio::test]
async fn nothing_is_left_of_what_was_done_when_its_time_is_over() {
    if !have("redis", Redis::found()) {
        return;
    }
    let (server, clock) = (Redis::start(), clock());
    let store = open(&server.url(), clock.clone()).await.unwrap();
    let full = |number: u128| NewTask {
        persona_id: Some(id(50)),
        campaign_id: Some(id(51)),
        dedupe_key: Some(number.to_string()),
        dedupe_for: Some(Duration::from_secs(7200)).filter(|_| number.is_multiple_of(2)),
        ..task(number)
    };
    fill(&store, (0..300).map(full)).await;
    let held = store.reserve(&scope(), "render", "worker", 300, LEASE).await.unwrap();
    let done: Vec<_> = held.iter().map(|task| (hold(task), Outcome::Complete { result: None })).collect();
    assert!(store.settle(&scope(), &done).await.unwrap().iter().all(Result::is_ok));
    for _ in 0..3 {
        clock.advance(TimeDelta::hours(30));
        // Forgetting goes on by a hundred at a look.
        for _ in 0..4 {
            store.queues(&scope(), &["render".to_owned()]).await.unwrap();
        }
    }
    assert_eq!(store.queues(&scope(), &[]).await.unwrap(), []);
    let gone = async {
        loop {
            let keys = server.cli(&["KEYS", "*"]);
            let lasting: Vec<String> = keys
                .lines()
                .filter(|key| !key.is_empty() && server.cli(&["PTTL", key]).trim() == "-1")
                .map(str::to_owned)
                .collect();
            if lasting.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("only keys that the server lets expire are left");
}
