//! Enqueueing, the order of reservation, deduplication, counts.

use super::*;
use chimera_stores::{
    Clock, Slice,
    episodic::{QueueStats, TaskPageQuery, TaskState, Throughput, Turn, TurnRole, WindowQuery},
};
use serde_json::json;

pub async fn a_task_goes_from_enqueue_to_completion(world: World<Episodic>) {
    let new = NewTask { persona_id: Some(id(8)), campaign_id: Some(id(9)), priority: 5, ..keyed(1, "one") };
    let enqueued = world.enqueue(std::slice::from_ref(&new)).await.remove(0);
    let now = world.clock.now();
    assert_eq!((enqueued.id, enqueued.queue.as_str(), enqueued.kind.as_str()), (id(1), "render", "render_video"));
    assert_eq!((enqueued.priority, &enqueued.payload), (5, &new.payload));
    assert_eq!((enqueued.persona_id, enqueued.campaign_id), (Some(id(8)), Some(id(9))));
    assert_eq!((enqueued.state, enqueued.attempts, enqueued.max_attempts), (TaskState::Ready, 0, 3));
    assert_eq!((enqueued.run_at, enqueued.created_at, enqueued.updated_at), (now, now, now));
    assert_eq!((enqueued.dedupe_key.as_deref(), enqueued.progress), (Some("one"), 0.0));
    assert_eq!((&enqueued.lease, &enqueued.last_error, &enqueued.result), (&None, &None, &None));
    assert_eq!(world.task(1).await.unwrap(), enqueued);

    world.pass(5);
    let reserved = world.reserve(10).await;
    assert_eq!(ids(&reserved), [id(1)]);
    let lease = reserved[0].lease.clone().unwrap();
    assert_eq!((lease.worker.as_str(), lease.expires_at), ("worker", world.clock.now() + LEASE));
    assert_eq!((reserved[0].state, reserved[0].attempts), (TaskState::Leased, 1));
    assert_eq!(reserved[0].updated_at, world.clock.now());
    assert_eq!(world.task(1).await.unwrap(), reserved[0]);
    assert_eq!(world.reserve(10).await, []);

    let outcome = Outcome::Complete { result: Some(json!({ "frames": 24 })) };
    let settled = world.settle(hold(&reserved[0]), outcome).await.unwrap();
    assert_eq!((settled.state, settled.progress, &settled.lease), (TaskState::Completed, 1.0, &None));
    assert_eq!(settled.result, Some(json!({ "frames": 24 })));
    assert_eq!(world.task(1).await.unwrap(), settled);
    assert_eq!(world.reserve(10).await, []);
}

pub async fn absent_tasks_are_none_and_answers_keep_the_order(world: World<Episodic>) {
    world.enqueue(&[task(1), task(2)]).await;
    let found = world.handle.tasks(&world.scope, &[id(2), id(7), id(1), id(2)]).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|task| task.map(|task| task.id)).collect();
    assert_eq!(found, [Some(id(2)), None, Some(id(1)), Some(id(2))]);
}

pub async fn empty_batches_are_fine(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    assert_eq!(handle.enqueue(scope, &[]).await.unwrap().len(), 0);
    assert_eq!(handle.heartbeat(scope, &[], LEASE).await.unwrap().len(), 0);
    assert_eq!(handle.settle(scope, &[]).await.unwrap().len(), 0);
    assert_eq!(handle.replay(scope, &[]).await.unwrap().len(), 0);
    assert_eq!(handle.tasks(scope, &[]).await.unwrap(), []);
    assert_eq!(handle.task_pages(scope, &[]).await.unwrap(), []);
    assert_eq!(handle.queues(scope, &[]).await.unwrap(), []);
    handle.append_turns(scope, &[]).await.unwrap();
    assert_eq!(handle.windows(scope, &[]).await.unwrap(), Vec::<Vec<_>>::new());
}

pub async fn tasks_go_out_by_priority_then_age_then_id(world: World<Episodic>) {
    let of = |number, priority, delay| NewTask { priority, delay: Duration::from_secs(delay), ..task(number) };
    world.enqueue(&[of(1, 0, 2), of(4, 0, 1), of(3, 0, 1), of(5, -100, 0)]).await;
    world.enqueue(&[of(2, 100, 3), of(6, 7, 0)]).await;
    world.pass(3);
    // In several takes, so that the order does not hang on one batch.
    let mut order = ids(&world.reserve(2).await);
    order.extend(ids(&world.reserve(1).await));
    order.extend(ids(&world.reserve(9).await));
    assert_eq!(order, [2, 6, 3, 4, 1, 5].map(id));
}

pub async fn a_delay_holds_a_task_back(world: World<Episodic>) {
    let late = NewTask { delay: Duration::from_secs(10), ..task(1) };
    let enqueued = world.enqueue(&[late]).await.remove(0);
    assert_eq!(enqueued.state, TaskState::Scheduled);
    assert_eq!(enqueued.run_at, world.clock.now() + Duration::from_secs(10));
    world.clock.advance(TimeDelta::milliseconds(9_999));
    assert_eq!(world.reserve(1).await, []);
    world.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Ready);
    assert_eq!(ids(&world.reserve(1).await), [id(1)]);
}

pub async fn queues_are_separate(world: World<Episodic>) {
    world.enqueue(&[task(1), NewTask { queue: "post".to_owned(), ..task(2) }]).await;
    let reserve = |queue: &'static str| world.handle.reserve(&world.scope, queue, "worker", 10, LEASE);
    assert_eq!(reserve("unknown").await.unwrap(), []);
    assert_eq!(ids(&reserve("post").await.unwrap()), [id(2)]);
    assert_eq!(ids(&reserve("render").await.unwrap()), [id(1)]);
}

pub async fn a_dedupe_key_stands_for_one_open_task(world: World<Episodic>) {
    let first = world.enqueue(&[keyed(1, "key")]).await.remove(0);
    let twice = [keyed(2, "key"), keyed(3, "other"), keyed(4, "other")];
    let enqueued = world.handle.enqueue(&world.scope, &twice).await.unwrap();
    let enqueued: Vec<_> = enqueued.into_iter().map(Result::unwrap).collect();
    assert_eq!((&enqueued[0].task, enqueued[0].deduplicated), (&first, true));
    assert_eq!((enqueued[1].task.id, enqueued[1].deduplicated), (id(3), false));
    assert_eq!((enqueued[2].task.id, enqueued[2].deduplicated), (id(3), true));
    assert_eq!((world.task(2).await, world.task(4).await), (None, None));
    // Held, and waiting for its next try, it is open as well.
    let held = world.reserve(1).await;
    assert_eq!(ids(&held), [id(1)]);
    let again = world.handle.enqueue(&world.scope, &[keyed(5, "key")]).await.unwrap().remove(0).unwrap();
    assert_eq!((again.task.id, again.deduplicated), (id(1), true));
    world.settle(hold(&held[0]), failed(true)).await.unwrap();
    let again = world.handle.enqueue(&world.scope, &[keyed(5, "key")]).await.unwrap().remove(0).unwrap();
    assert_eq!((again.task.id, again.deduplicated), (id(1), true));
}

pub async fn a_dedupe_key_is_free_once_its_task_is_done_or_dead(world: World<Episodic>) {
    for (number, outcome) in [(1, done()), (2, failed(false))] {
        world.enqueue(&[keyed(number, "key")]).await;
        let held = world.reserve(1).await;
        world.settle(hold(&held[0]), outcome).await.unwrap();
    }
    world.enqueue(&[NewTask { max_attempts: 1, ..keyed(3, "key") }]).await;
    assert_eq!(ids(&world.reserve(1).await), [id(3)]);
    world.pass(61);
    world.enqueue(&[keyed(4, "key")]).await;
    assert_eq!(world.task(3).await.unwrap().state, TaskState::Dead);
    // And the one that has it now keeps it, after a restart too.
    let again = world.handle.enqueue(&world.scope, &[keyed(5, "key")]).await.unwrap().remove(0).unwrap();
    assert_eq!((again.task.id, again.deduplicated), (id(4), true));
    let world = world.reopen().await;
    let again = world.handle.enqueue(&world.scope, &[keyed(5, "key")]).await.unwrap().remove(0).unwrap();
    assert_eq!((again.task.id, again.deduplicated), (id(4), true));
}

pub async fn an_id_is_enqueued_once(world: World<Episodic>) {
    let first = world.enqueue(&[task(1)]).await.remove(0);
    let other = NewTask { queue: "post".to_owned(), priority: 9, ..task(1) };
    for enqueued in world.handle.enqueue(&world.scope, &[other.clone(), other, task(1)]).await.unwrap() {
        let enqueued = enqueued.unwrap();
        assert_eq!((&enqueued.task, enqueued.deduplicated), (&first, true));
    }
    assert_eq!(world.reserve(10).await.len(), 1);
    let batch = world.handle.enqueue(&world.scope, &[task(2), task(2)]).await.unwrap();
    let repeated: Vec<bool> = batch.into_iter().map(|enqueued| enqueued.unwrap().deduplicated).collect();
    assert_eq!(repeated, [false, true]);
}

pub async fn out_of_bounds_tasks_fail_alone(world: World<Episodic>) {
    let huge = "x".repeat(65 * 1024);
    let batch = [
        NewTask { queue: String::new(), ..task(1) },
        NewTask { queue: "Upper Case".to_owned(), ..task(2) },
        NewTask { queue: "q".repeat(65), ..task(3) },
        NewTask { kind: String::new(), ..task(4) },
        NewTask { priority: 101, ..task(5) },
        NewTask { max_attempts: 0, ..task(6) },
        NewTask { max_attempts: 101, ..task(7) },
        NewTask { payload: json!(huge), ..task(8) },
        NewTask { delay: Duration::MAX, ..task(9) },
        keyed(10, ""),
        keyed(11, &"k".repeat(129)),
        task(12),
    ];
    let mut enqueued = world.handle.enqueue(&world.scope, &batch).await.unwrap();
    assert_eq!(enqueued.len(), batch.len());
    assert_eq!(enqueued.pop().unwrap().unwrap().task.id, id(12));
    for (result, task) in enqueued.into_iter().zip(&batch) {
        assert_eq!(kind(result), ErrorKind::Invalid, "{task:?}");
        assert_eq!(world.handle.tasks(&world.scope, &[task.id]).await.unwrap(), [None]);
    }
}

pub async fn wrong_arguments_are_invalid(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    let held = Held { task_id: id(1), token: id(2) };
    assert_eq!(kind(handle.reserve(scope, "No Queue", "worker", 1, LEASE).await), ErrorKind::Invalid);
    assert_eq!(kind(handle.reserve(scope, "render", "", 1, LEASE).await), ErrorKind::Invalid);
    assert_eq!(kind(handle.reserve(scope, "render", "worker", 0, LEASE).await), ErrorKind::Invalid);
    for lease in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(86_401), Duration::MAX] {
        assert_eq!(kind(handle.reserve(scope, "render", "worker", 1, lease).await), ErrorKind::Invalid);
        assert_eq!(kind(handle.heartbeat(scope, &[(held, None)], lease).await), ErrorKind::Invalid);
    }
    for progress in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
        assert_eq!(kind(handle.heartbeat(scope, &[(held, Some(progress))], LEASE).await), ErrorKind::Invalid);
    }
    let result = Some(json!("x".repeat(65 * 1024)));
    assert_eq!(kind(handle.settle(scope, &[(held, Outcome::Complete { result })]).await), ErrorKind::Invalid);
}

pub async fn an_over_limit_batch_is_invalid(world: World<Episodic>) {
    let max = world.handle.capabilities().max_batch;
    let tasks: Vec<NewTask> = (0..=max as u128).map(task).collect();
    assert_eq!(kind(world.handle.enqueue(&world.scope, &tasks).await), ErrorKind::Invalid);
    let count = u32::try_from(max).unwrap() + 1;
    assert_eq!(kind(world.handle.reserve(&world.scope, "render", "w", count, LEASE).await), ErrorKind::Invalid);
    assert_eq!(world.reserve(1).await, []);
    // None of these is looked at, and so none of the one that is real.
    world.enqueue(&[task(1)]).await;
    let held = hold(&world.reserve(1).await[0]);
    let (handle, scope) = (&world.handle, &world.scope);
    assert_eq!(kind(handle.heartbeat(scope, &vec![(held, None); max + 1], LEASE).await), ErrorKind::Invalid);
    assert_eq!(kind(handle.settle(scope, &vec![(held, done()); max + 1]).await), ErrorKind::Invalid);
    assert_eq!(kind(handle.replay(scope, &vec![id(1); max + 1]).await), ErrorKind::Invalid);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Leased);
}

pub async fn an_over_limit_read_answers_every_key(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    world.enqueue(&[task(1)]).await;
    let persona_id = id(50);
    let said = Turn {
        id: id(2),
        persona_id,
        conversation: "fans".to_owned(),
        role: TurnRole::User,
        text: "hello".to_owned(),
        tokens: 1,
        at: world.clock.now(),
    };
    handle.append_turns(scope, std::slice::from_ref(&said)).await.unwrap();
    let many = handle.capabilities().max_batch * 2 + 1;
    let last = |number: usize| number + 1 == many;
    let ids: Vec<Uuid> = (0..many).map(|number| if last(number) { id(1) } else { id(9) }).collect();
    let tasks = handle.tasks(scope, &ids).await.unwrap();
    let found: Vec<usize> = (0..many).filter(|number| tasks[*number].is_some()).collect();
    assert_eq!((tasks.len(), found), (many, vec![many - 1]));
    let name = |number| if last(number) { "render" } else { "none" };
    let names: Vec<String> = (0..many).map(|number| name(number).to_owned()).collect();
    let stats = handle.queues(scope, &names).await.unwrap();
    assert_eq!((stats.len(), stats[many - 1].ready, stats[0].ready), (many, 1, 0));
    let page = |number| TaskPageQuery {
        persona_id: None,
        campaign_id: None,
        queue: Some(name(number).to_owned()),
        states: vec![],
        slice: Slice::first(1),
    };
    let pages = handle.task_pages(scope, &(0..many).map(page).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((pages.len(), pages[many - 1].items.len(), pages[0].items.len()), (many, 1, 0));
    let window = |number| WindowQuery {
        persona_id: if last(number) { persona_id } else { id(51) },
        conversation: None,
        max_age: Duration::from_secs(60),
        max_turns: 1,
        max_tokens: None,
    };
    let windows = handle.windows(scope, &(0..many).map(window).collect::<Vec<_>>()).await.unwrap();
    assert_eq!((windows.len(), &windows[many - 1], &windows[0]), (many, &vec![said], &vec![]));
}

pub async fn payloads_of_any_shape_come_back_as_they_went(world: World<Episodic>) {
    let payloads = [
        json!(null),
        json!({}),
        json!(""),
        json!("日本語 🦁 e\u{301} \u{0} \\ \" \u{2028}"),
        json!({ "🦁": ["\u{10ffff}", -1, u64::MAX, i64::MIN, 0.5, true, { "": [] }] }),
        json!("x".repeat(64 * 1024 - 2)),
    ];
    let tasks: Vec<NewTask> = payloads
        .iter()
        .zip(1..)
        .map(|(payload, number)| NewTask { payload: payload.clone(), ..task(number) })
        .collect();
    world.enqueue(&tasks).await;
    let key = "ключ 🗝 \u{0}";
    world.enqueue(&[keyed(100, key)]).await;
    let world = world.reopen().await;
    let reserved = world.reserve(10).await;
    assert_eq!(
        reserved.iter().map(|task| &task.payload).take(6).collect::<Vec<_>>(),
        payloads.iter().collect::<Vec<_>>()
    );
    assert_eq!(reserved[6].dedupe_key.as_deref(), Some(key));
    let outcome = Outcome::Complete { result: Some(payloads[4].clone()) };
    assert_eq!(world.settle(hold(&reserved[0]), outcome).await.unwrap().result, Some(payloads[4].clone()));
}

pub async fn stats_count_every_state(world: World<Episodic>) {
    let later = |number, seconds| NewTask { delay: Duration::from_secs(seconds), ..task(number) };
    world.enqueue(&[task(1), task(2), task(3)]).await;
    let held = world.reserve(3).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.settle(hold(&held[1]), failed(false)).await.unwrap();
    world.enqueue(&[later(4, 5), later(5, 7), later(6, 3600), NewTask { queue: "a".to_owned(), ..task(7) }]).await;
    let start = world.clock.now();
    world.pass(20);
    let stats = world.handle.queues(&world.scope, &[]).await.unwrap();
    let expected = [
        QueueStats { queue: "a".to_owned(), ready: 1, oldest_ready_at: Some(start), ..QueueStats::default() },
        QueueStats {
            queue: "render".to_owned(),
            scheduled: 1,
            ready: 2,
            leased: 1,
            dead: 1,
            completed: 1,
            oldest_ready_at: Some(start + Duration::from_secs(5)),
            last_minute: Throughput { completed: 1, failed: 1 },
            last_hour: Throughput { completed: 1, failed: 1 },
            ..QueueStats::default()
        },
    ];
    assert_eq!(stats, expected);
    let names = ["render".to_owned(), "a".to_owned(), "render".to_owned()];
    let named = world.handle.queues(&world.scope, &names).await.unwrap();
    assert_eq!(named, [expected[1].clone(), expected[0].clone(), expected[1].clone()]);
    world.reserve(10).await;
    let after = world.handle.queues(&world.scope, &names[..1]).await.unwrap().remove(0);
    assert_eq!((after.ready, after.leased, after.oldest_ready_at), (0, 3, None));
}

pub async fn stats_of_an_unknown_queue_are_zero(world: World<Episodic>) {
    let stats = world.handle.queues(&world.scope, &["none".to_owned()]).await.unwrap();
    assert_eq!(stats, [QueueStats { queue: "none".to_owned(), ..QueueStats::default() }]);
}

pub async fn completed_tasks_are_forgotten_in_time(world: World<Episodic>) {
    world.enqueue(&[task(1), task(2)]).await;
    let held = world.reserve(2).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.settle(hold(&held[1]), failed(false)).await.unwrap();
    let seconds = i64::try_from(world.handle.capabilities().completed_seconds).unwrap();
    world.pass(seconds - 1);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Completed);
    world.pass(2);
    assert_eq!(world.task(1).await, None);
    assert_eq!(world.task(2).await.unwrap().state, TaskState::Dead, "dead letters wait for ever");
    let stats = world.handle.queues(&world.scope, &[]).await.unwrap();
    assert_eq!((stats[0].completed, stats[0].dead), (0, 1));
    let world = world.reopen().await;
    assert_eq!(world.task(1).await, None);
    // The id is free again.
    world.enqueue(&[task(1)]).await;
    assert_eq!(ids(&world.reserve(1).await), [id(1)]);
}

pub async fn the_adapter_is_well_and_says_what_it_can(world: World<Episodic>) {
    world.handle.health(&world.scope).await.unwrap();
    let capabilities = world.handle.capabilities();
    assert!(!capabilities.adapter.is_empty() && !capabilities.place.is_empty());
    assert!(capabilities.max_batch >= 100);
    assert!(capabilities.window_seconds >= 3600 && capabilities.completed_seconds > 0);
}
