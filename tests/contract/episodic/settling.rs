//! Leases, failures, dead letters, replays.

use super::*;
use chimera_stores::{
    Clock,
    episodic::{TaskState, retry_delay},
};

pub async fn an_ended_lease_gives_the_task_back(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let first = world.reserve(1).await;
    world.pass(60);
    let back = world.task(1).await.unwrap();
    assert_eq!((back.state, back.attempts, &back.lease), (TaskState::Ready, 1, &None));
    let second = world.reserve(1).await;
    assert_eq!((second[0].id, second[0].attempts), (id(1), 2));
    assert_ne!(hold(&first[0]).token, hold(&second[0]).token);
    world.settle(hold(&second[0]), done()).await.unwrap();
}

pub async fn a_late_worker_is_refused(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let late = hold(&world.reserve(1).await[0]);
    world.pass(61);
    // Nobody else has it yet, and it is lost all the same.
    assert_eq!(kind(world.settle(late, done()).await), ErrorKind::Conflict);
    let held = world.reserve(1).await;
    for outcome in [done(), failed(true), failed(false)] {
        assert_eq!(kind(world.settle(late, outcome).await), ErrorKind::Conflict);
    }
    let beat = world.handle.heartbeat(&world.scope, &[(late, Some(0.5))], LEASE).await.unwrap().remove(0);
    assert_eq!(kind(beat), ErrorKind::Conflict);
    assert_eq!(world.task(1).await.unwrap(), held[0], "and nothing has changed");
    let absent = Held { task_id: id(9), token: late.token };
    assert_eq!(kind(world.settle(absent, done()).await), ErrorKind::Conflict);
}

pub async fn a_lease_ends_at_its_end_and_not_before(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let held = world.reserve(1).await;
    world.clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(world.reserve(1).await, []);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Leased);
    world.settle(hold(&held[0]), done()).await.unwrap();
}

pub async fn a_heartbeat_prolongs_the_lease(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let held = hold(&world.reserve(1).await[0]);
    for (beat, progress) in [(1, Some(0.25)), (2, None), (3, Some(0.75))] {
        world.pass(50);
        let lease = Duration::from_secs(60 + beat);
        let task = world.handle.heartbeat(&world.scope, &[(held, progress)], lease).await.unwrap().remove(0).unwrap();
        assert_eq!(task.progress, progress.unwrap_or(0.25));
        let lease_now = task.lease.clone().unwrap();
        assert_eq!((lease_now.token, lease_now.expires_at), (held.token, world.clock.now() + lease));
        assert_eq!((task.attempts, task.updated_at), (1, world.clock.now()));
        assert_eq!(world.task(1).await.unwrap(), task);
    }
    world.settle(held, done()).await.unwrap();
    let beat = world.handle.heartbeat(&world.scope, &[(held, None)], LEASE).await.unwrap().remove(0);
    assert_eq!(kind(beat), ErrorKind::Conflict);
}

pub async fn each_reservation_has_its_own_token(world: World<Episodic>) {
    let tasks: Vec<NewTask> = (1..=20).map(task).collect();
    world.enqueue(&tasks).await;
    let mut tokens: Vec<Uuid> = world.reserve(20).await.iter().map(|task| hold(task).token).collect();
    world.pass(60);
    tokens.extend(world.reserve(20).await.iter().map(|task| hold(task).token));
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 40);
}

pub async fn a_settled_task_cannot_be_settled_again(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let held = hold(&world.reserve(1).await[0]);
    let both = world.handle.settle(&world.scope, &[(held, done()), (held, failed(true))]).await.unwrap();
    let [first, second] = <[_; 2]>::try_from(both).unwrap();
    assert_eq!(first.unwrap().state, TaskState::Completed);
    assert_eq!(kind(second), ErrorKind::Conflict);
    assert_eq!(kind(world.settle(held, done()).await), ErrorKind::Conflict);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Completed);
}

pub async fn a_lost_hold_fails_alone(world: World<Episodic>) {
    world.enqueue(&[task(1), task(2)]).await;
    let held: Vec<Held> = world.reserve(2).await.iter().map(hold).collect();
    let wrong = Held { token: held[1].token, ..held[0] };
    let beats = world.handle.heartbeat(&world.scope, &[(wrong, None), (held[1], Some(0.5))], LEASE).await.unwrap();
    let [first, second] = <[_; 2]>::try_from(beats).unwrap();
    assert_eq!((kind(first), second.unwrap().progress), (ErrorKind::Conflict, 0.5));
    let settled = world.handle.settle(&world.scope, &[(wrong, done()), (held[1], done())]).await.unwrap();
    let [first, second] = <[_; 2]>::try_from(settled).unwrap();
    assert_eq!((kind(first), second.unwrap().id), (ErrorKind::Conflict, id(2)));
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Leased);
}

pub async fn a_failure_backs_off(world: World<Episodic>) {
    world.enqueue(&[NewTask { max_attempts: 14, ..task(1) }]).await;
    let mut expected = Duration::from_secs(1);
    for attempt in 1..14 {
        let held = world.reserve(1).await;
        assert_eq!(held[0].attempts, attempt);
        let task = world.settle(hold(&held[0]), failed(true)).await.unwrap();
        assert_eq!((task.state, &task.lease), (TaskState::Scheduled, &None));
        assert_eq!(task.last_error.as_deref(), Some("no frames"));
        assert_eq!(retry_delay(attempt), expected);
        let waits = (task.run_at - world.clock.now()).to_std().unwrap();
        assert!(waits >= expected.mul_f64(0.74) && waits <= expected.mul_f64(1.26), "{waits:?} after {attempt}");
        assert_eq!(world.reserve(1).await, []);
        world.clock.advance(task.run_at - world.clock.now());
        expected = (expected * 2).min(Duration::from_secs(3600));
    }
}

pub async fn a_failure_without_retry_is_death(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let held = world.reserve(1).await;
    let dead = world.settle(hold(&held[0]), failed(false)).await.unwrap();
    assert_eq!((dead.state, dead.attempts, dead.last_error.as_deref()), (TaskState::Dead, 1, Some("no frames")));
    world.pass(100_000);
    assert_eq!(world.reserve(1).await, []);
    assert_eq!(world.task(1).await.unwrap(), dead);
}

pub async fn used_up_attempts_are_death(world: World<Episodic>) {
    world.enqueue(&[NewTask { max_attempts: 2, ..task(1) }]).await;
    let held = world.reserve(1).await;
    assert_eq!(world.settle(hold(&held[0]), failed(true)).await.unwrap().state, TaskState::Scheduled);
    world.pass(2);
    let held = world.reserve(1).await;
    let dead = world.settle(hold(&held[0]), failed(true)).await.unwrap();
    assert_eq!((dead.state, dead.attempts), (TaskState::Dead, 2));
}

pub async fn leases_that_end_use_up_attempts(world: World<Episodic>) {
    world.enqueue(&[NewTask { max_attempts: 2, ..task(1) }]).await;
    for attempt in 1..=2 {
        assert_eq!(world.reserve(1).await[0].attempts, attempt);
        world.pass(60);
    }
    assert_eq!(world.reserve(1).await, []);
    let dead = world.task(1).await.unwrap();
    assert_eq!((dead.state, dead.attempts, &dead.lease), (TaskState::Dead, 2, &None));
    assert!(dead.last_error.is_some_and(|error| !error.is_empty()));
}

pub async fn a_long_error_is_cut_between_characters(world: World<Episodic>) {
    world.enqueue(&[task(1), task(2)]).await;
    let held = world.reserve(2).await;
    let long = Outcome::Fail { error: format!("x{}", "é".repeat(1000)), retryable: true };
    let kept = world.settle(hold(&held[0]), long).await.unwrap().last_error.unwrap();
    assert_eq!(kept, format!("x{}", "é".repeat(511)));
    let fits = Outcome::Fail { error: "y".repeat(1024), retryable: true };
    assert_eq!(world.settle(hold(&held[1]), fits).await.unwrap().last_error.unwrap().len(), 1024);
}

pub async fn a_dead_task_can_be_replayed(world: World<Episodic>) {
    world.enqueue(&[task(1), task(2)]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), failed(false)).await.unwrap();
    world.pass(10);
    let replayed = world.handle.replay(&world.scope, &[id(9), id(1), id(2), id(1)]).await.unwrap();
    let [absent, dead, ready, again] = <[_; 4]>::try_from(replayed).unwrap();
    assert_eq!(
        (kind(absent), kind(ready), kind(again)),
        (ErrorKind::NotFound, ErrorKind::Conflict, ErrorKind::Conflict)
    );
    let dead = dead.unwrap();
    assert_eq!((dead.id, dead.state, dead.attempts), (id(1), TaskState::Ready, 0));
    assert_eq!((dead.run_at, dead.updated_at), (world.clock.now(), world.clock.now()));
    assert_eq!(world.task(1).await.unwrap(), dead);
    let held = world.reserve(2).await;
    assert_eq!(ids(&held), [id(2), id(1)]);
    assert_eq!(held[1].attempts, 1);
}

pub async fn a_replay_does_not_double_a_dedupe_key(world: World<Episodic>) {
    world.enqueue(&[keyed(1, "key")]).await;
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), failed(false)).await.unwrap();
    world.enqueue(&[keyed(2, "key")]).await;
    assert_eq!(kind(world.handle.replay(&world.scope, &[id(1)]).await.unwrap().remove(0)), ErrorKind::Conflict);
    let held = world.reserve(1).await;
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.handle.replay(&world.scope, &[id(1)]).await.unwrap().remove(0).unwrap();
    let again = world.handle.enqueue(&world.scope, &[keyed(3, "key")]).await.unwrap().remove(0).unwrap();
    assert_eq!((again.task.id, again.deduplicated), (id(1), true));
}

pub async fn a_clock_that_jumps_back_does_no_harm(world: World<Episodic>) {
    world.enqueue(&[task(1), task(2), task(3)]).await;
    let held = world.reserve(1).await;
    world.pass(-3600);
    // What was ready is ready, what is held is held, and by one worker only.
    let others = world.reserve(10).await;
    assert_eq!(ids(&others), [id(2), id(3)]);
    assert_eq!(world.task(1).await.unwrap(), held[0]);
    let beat = world.handle.heartbeat(&world.scope, &[(hold(&held[0]), None)], LEASE).await.unwrap().remove(0);
    assert_eq!(beat.unwrap().lease.unwrap().expires_at, world.clock.now() + LEASE);
    world.settle(hold(&held[0]), done()).await.unwrap();
    world.settle(hold(&others[0]), done()).await.unwrap();
    // A lease that was lost stays lost.
    world.pass(60);
    assert_eq!(world.task(3).await.unwrap().state, TaskState::Ready);
    world.pass(-3600);
    assert_eq!(kind(world.settle(hold(&others[1]), done()).await), ErrorKind::Conflict);
    assert_eq!(ids(&world.reserve(10).await), [id(3)]);
    // And new work goes on.
    world.enqueue(&[task(4)]).await;
    assert_eq!(ids(&world.reserve(10).await), [id(4)]);
}
