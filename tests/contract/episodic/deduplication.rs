//! Dedupe windows: a key that stays taken for a while, whatever becomes of its task.

use super::*;
use chimera_stores::{Clock, episodic::TaskState};
use futures_util::future::join_all;
use std::collections::BTreeSet;

const KEPT: Duration = Duration::from_secs(600);

fn windowed(number: u128, key: &str, window: Duration) -> NewTask {
    NewTask { dedupe_for: Some(window), ..keyed(number, key) }
}

impl World<Episodic> {
    /// The task that has `key`, and whether it was there before the task `number` was enqueued with it.
    async fn claim(&self, number: u128, key: &str) -> (Uuid, bool) {
        self.claim_with(keyed(number, key)).await
    }

    async fn claim_with(&self, task: NewTask) -> (Uuid, bool) {
        let enqueued = self.handle.enqueue(&self.scope, &[task]).await.unwrap().remove(0).unwrap();
        (enqueued.task.id, enqueued.deduplicated)
    }
}

pub async fn a_dedupe_window_outlasts_its_task(world: World<Episodic>) {
    let until = world.clock.now() + KEPT;
    for (number, key, outcome) in [(1, "done", done()), (2, "dead", failed(false))] {
        let enqueued = world.enqueue(&[windowed(number, key, KEPT)]).await.remove(0);
        assert_eq!(enqueued.dedupe_until, Some(until));
        let held = world.reserve(1).await;
        let settled = world.settle(hold(&held[0]), outcome).await.unwrap();
        assert_eq!(settled.dedupe_until, Some(until));
    }
    world.clock.advance(TimeDelta::milliseconds(599_999));
    assert_eq!(world.claim(3, "done").await, (id(1), true));
    assert_eq!(world.claim_with(windowed(3, "dead", KEPT)).await, (id(2), true));
    let same = world.handle.enqueue(&world.scope, &[keyed(3, "done")]).await.unwrap().remove(0).unwrap().task;
    assert_eq!((same.state, same.dedupe_until), (TaskState::Completed, Some(until)), "it shows the task as it is");
    world.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(world.claim(3, "done").await, (id(3), false));
    assert_eq!(world.claim(4, "dead").await, (id(4), false));
    assert_eq!(world.task(3).await.unwrap().dedupe_until, None);
}

pub async fn a_dedupe_window_ends_before_an_open_task_does(world: World<Episodic>) {
    world.enqueue(&[windowed(1, "key", Duration::from_secs(1))]).await;
    world.pass(10);
    assert_eq!(world.claim(2, "key").await, (id(1), true), "while it is open the key is taken in any case");
    let held = world.reserve(1).await;
    assert_eq!(world.claim(2, "key").await, (id(1), true));
    world.settle(hold(&held[0]), done()).await.unwrap();
    assert_eq!(world.claim(2, "key").await, (id(2), false));
}

pub async fn a_dedupe_window_runs_from_enqueueing(world: World<Episodic>) {
    let late = NewTask { delay: Duration::from_secs(500), ..windowed(1, "key", KEPT) };
    world.enqueue(&[late]).await;
    world.pass(500);
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.pass(99);
    // What is refused does not prolong it.
    assert_eq!(world.claim_with(windowed(2, "key", KEPT)).await, (id(1), true));
    world.pass(1);
    assert_eq!(world.claim(2, "key").await, (id(2), false));
}

pub async fn a_completed_task_is_remembered_as_long_as_its_window(world: World<Episodic>) {
    let kept = i64::try_from(world.handle.capabilities().completed_seconds).unwrap();
    let window = Duration::from_secs(u64::try_from(kept).unwrap() * 2);
    world.enqueue(&[windowed(1, "key", window), keyed(2, "other")]).await;
    for task in world.reserve(2).await {
        world.settle(hold(&task), done()).await.unwrap();
    }
    world.pass(2 * kept - 1);
    assert_eq!(world.task(2).await, None);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Completed);
    let world = world.reopen().await;
    assert_eq!(world.claim(3, "key").await, (id(1), true));
    world.pass(2);
    assert_eq!(world.task(1).await, None);
    assert_eq!(world.claim(3, "key").await, (id(3), false));
}

pub async fn a_dedupe_window_outlasts_a_restart(world: World<Episodic>) {
    world.enqueue(&[windowed(1, "key", KEPT)]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    let before = world.task(1).await;
    let world = world.reopen().await;
    assert_eq!(world.task(1).await, before);
    assert_eq!(world.claim(2, "key").await, (id(1), true));
    world.pass(600);
    let world = world.reopen().await;
    assert_eq!(world.claim(2, "key").await, (id(2), false));
    // Now the second one has the key, though the first is remembered as well.
    let world = world.reopen().await;
    assert_eq!(world.claim(3, "key").await, (id(2), true));
}

pub async fn a_dead_task_is_replayed_within_its_own_window(world: World<Episodic>) {
    world.enqueue(&[windowed(1, "key", KEPT)]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), failed(false)).await.unwrap();
    world.handle.replay(&world.scope, &[id(1)]).await.unwrap().remove(0).unwrap();
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), failed(false)).await.unwrap();
    world.pass(600);
    world.enqueue(&[windowed(2, "key", KEPT)]).await;
    let held = world.reserve(1).await;
    assert_eq!(ids(&held), [id(2)]);
    world.settle(hold(&held[0]), done()).await.unwrap();
    let refused = world.handle.replay(&world.scope, &[id(1)]).await.unwrap().remove(0);
    assert_eq!(kind(refused), ErrorKind::Conflict, "the key is another task's, though that one is done");
    world.pass(600);
    world.handle.replay(&world.scope, &[id(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(world.claim(3, "key").await, (id(1), true));
}

pub async fn a_clock_that_jumps_back_gives_no_key_twice(world: World<Episodic>) {
    world.enqueue(&[windowed(1, "key", KEPT)]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.pass(600);
    assert_eq!(world.claim(2, "key").await, (id(2), false));
    world.pass(-300);
    assert_eq!(world.claim(3, "key").await, (id(2), true));
    let world = world.reopen().await;
    assert_eq!(world.claim(3, "key").await, (id(2), true), "an open task has its key before one that is done");
    let held = world.reserve(10).await;
    assert_eq!(ids(&held), [id(2)]);
}

pub async fn a_dedupe_key_is_of_one_queue(world: World<Episodic>) {
    let post = |number| NewTask { queue: "post".to_owned(), ..keyed(number, "key") };
    world.enqueue(&[keyed(1, "key"), post(2)]).await;
    assert_eq!(world.claim(3, "key").await, (id(1), true));
    assert_eq!(world.claim_with(post(3)).await, (id(2), true));
    // Each is given back by its own task.
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    assert_eq!(world.claim(4, "key").await, (id(4), false));
    assert_eq!(world.claim_with(post(5)).await, (id(2), true));
    let world = world.reopen().await;
    assert_eq!(world.claim(6, "key").await, (id(4), true));
    assert_eq!(world.claim_with(post(6)).await, (id(2), true));
}

pub async fn windows_are_of_one_organization(world: World<Episodic>) {
    world.enqueue(&[windowed(1, "key", KEPT)]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    let own = world.handle.enqueue(&world.foreign, &[windowed(1, "key", KEPT)]).await.unwrap().remove(0).unwrap();
    assert_eq!((own.deduplicated, own.task.state), (false, TaskState::Ready));
}

pub async fn concurrent_enqueues_in_a_window_make_one_task(world: World<Episodic>) {
    world.enqueue(&[windowed(100, "key", KEPT)]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.pass(600);
    let enqueue = |number| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            let enqueued = handle.enqueue(&scope, &[windowed(number, "key", KEPT)]).await.unwrap().remove(0).unwrap();
            if let [task] = &handle.reserve(&scope, "render", "worker", 1, LEASE).await.unwrap()[..] {
                handle.settle(&scope, &[(hold(task), done())]).await.unwrap().remove(0).unwrap();
            }
            enqueued
        })
    };
    let enqueued: Vec<_> = join_all((0..16).map(enqueue)).await.into_iter().map(|done| done.unwrap()).collect();
    assert_eq!(enqueued.iter().filter(|enqueued| !enqueued.deduplicated).count(), 1);
    assert_eq!(enqueued.iter().map(|enqueued| enqueued.task.id).collect::<BTreeSet<_>>().len(), 1);
}

pub async fn wrong_dedupe_windows_fail_alone(world: World<Episodic>) {
    let week = Duration::from_secs(7 * 86_400);
    let batch = [
        NewTask { dedupe_for: Some(KEPT), ..task(1) },
        windowed(2, "a", Duration::ZERO),
        windowed(3, "b", Duration::from_millis(999)),
        windowed(4, "c", week + Duration::from_secs(1)),
        windowed(5, "d", Duration::MAX),
        windowed(6, "e", week),
    ];
    let mut enqueued = world.handle.enqueue(&world.scope, &batch).await.unwrap();
    assert_eq!(enqueued.pop().unwrap().unwrap().task.dedupe_until, Some(world.clock.now() + week));
    assert_eq!(enqueued.len(), 5);
    enqueued.into_iter().for_each(|result| assert_eq!(kind(result), ErrorKind::Invalid));
}
