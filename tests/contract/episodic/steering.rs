//! What an operator and a worker steer a queue by: pause, rate limits, throughput, and settling with the next reserve.

use super::*;
use chimera_stores::{
    Clock, Scope,
    episodic::{
        MAX_RATE_COUNT, QueueChange, QueueSettings, QueueStats, RateLimit, ReserveRequest, TaskState, Throughput,
    },
};
use futures_util::future::join_all;

const MINUTE: Duration = Duration::from_secs(60);
const PAUSED: QueueChange = QueueChange { paused: Some(true), rate_limit: None };
const RESUMED: QueueChange = QueueChange { paused: Some(false), rate_limit: None };
const UNLIMITED: QueueChange = QueueChange { paused: None, rate_limit: Some(None) };

const fn at_most(count: u32, per: Duration) -> QueueChange {
    QueueChange { paused: None, rate_limit: Some(Some(RateLimit { count, per })) }
}

fn next(count: u32) -> ReserveRequest {
    ReserveRequest { queue: "render".to_owned(), worker: "worker".to_owned(), count, lease: LEASE }
}

impl World<Episodic> {
    async fn configure(&self, change: QueueChange) -> QueueSettings {
        self.handle.configure_queue(&self.scope, "render", &change).await.unwrap()
    }

    async fn stats(&self, scope: &Scope) -> QueueStats {
        self.handle.queues(scope, &["render".to_owned()]).await.unwrap().remove(0)
    }

    async fn work(&self, outcomes: &[(Held, Outcome)], count: u32) -> (Vec<Result<Task>>, Vec<Task>) {
        self.handle.settle_and_reserve(&self.scope, outcomes, &next(count)).await.unwrap()
    }

    /// Enqueues tasks with these numbers.
    async fn fill(&self, numbers: std::ops::Range<u128>) {
        self.enqueue(&numbers.map(task).collect::<Vec<_>>()).await;
    }
}

pub async fn a_worker_settles_and_reserves_in_one_call(world: World<Episodic>) {
    world.fill(1..6).await;
    let (settled, reserved) = world.work(&[], 2).await;
    assert_eq!((settled.len(), ids(&reserved)), (0, vec![id(1), id(2)]));
    world.pass(1);
    let outcomes = [(hold(&reserved[0]), done()), (hold(&reserved[1]), failed(false))];
    let (settled, reserved) = world.work(&outcomes, 2).await;
    let settled: Vec<Task> = settled.into_iter().map(Result::unwrap).collect();
    assert_eq!(settled.iter().map(|task| task.state).collect::<Vec<_>>(), [TaskState::Completed, TaskState::Dead]);
    assert_eq!((ids(&settled), ids(&reserved)), (vec![id(1), id(2)], vec![id(3), id(4)]));
    assert_eq!(world.task(1).await.unwrap(), settled[0]);
    assert_eq!(world.task(3).await.unwrap(), reserved[0]);
    let lease = reserved[0].lease.clone().unwrap();
    assert_eq!((lease.worker.as_str(), lease.expires_at), ("worker", world.clock.now() + LEASE));
    let outcomes: Vec<_> = reserved.iter().map(|task| (hold(task), done())).collect();
    assert_eq!(ids(&world.work(&outcomes, 10).await.1), [id(5)]);
    assert_eq!(ids(&world.work(&[], 10).await.1), Vec::<Uuid>::new());
}

pub async fn a_lost_hold_does_not_keep_the_next_tasks_back(world: World<Episodic>) {
    world.fill(1..4).await;
    let first = world.reserve(2).await;
    world.settle(hold(&first[0]), done()).await.unwrap();
    let wrong = Held { token: id(99), ..hold(&first[1]) };
    let outcomes = [(hold(&first[0]), done()), (wrong, done()), (hold(&first[1]), done())];
    let (settled, reserved) = world.work(&outcomes, 10).await;
    let [again, wrong, right] = <[_; 3]>::try_from(settled).unwrap();
    assert_eq!((kind(again), kind(wrong), right.unwrap().id), (ErrorKind::Conflict, ErrorKind::Conflict, id(2)));
    assert_eq!(ids(&reserved), [id(3)]);
    // A worker that comes too late gets work all the same, and what it lost first.
    world.pass(60);
    let (settled, reserved) = world.work(&[(hold(&reserved[0]), done())], 10).await;
    assert_eq!((kind(settled.into_iter().next().unwrap()), ids(&reserved)), (ErrorKind::Conflict, vec![id(3)]));
}

pub async fn settling_and_reserving_is_of_one_queue(world: World<Episodic>) {
    world.enqueue(&[task(1), NewTask { queue: "post".to_owned(), ..task(2) }]).await;
    let other = world.handle.reserve(&world.scope, "post", "worker", 1, LEASE).await.unwrap().remove(0);
    let (settled, reserved) = world.work(&[(hold(&other), done())], 10).await;
    assert_eq!((kind(settled.into_iter().next().unwrap()), ids(&reserved)), (ErrorKind::Conflict, vec![id(1)]));
    assert_eq!(world.task(2).await.unwrap(), other, "the hold on the other queue's task stands");
    world.settle(hold(&other), done()).await.unwrap();
    let unknown = ReserveRequest { queue: "unknown".to_owned(), ..next(5) };
    let (settled, reserved) = world.handle.settle_and_reserve(&world.scope, &[], &unknown).await.unwrap();
    assert_eq!((settled.len(), reserved), (0, vec![]));
}

pub async fn a_failed_try_does_not_come_back_in_the_same_call(world: World<Episodic>) {
    world.fill(1..2).await;
    let held = world.reserve(1).await;
    let (settled, reserved) = world.work(&[(hold(&held[0]), failed(true))], 10).await;
    let settled = settled.into_iter().next().unwrap().unwrap();
    assert_eq!((settled.state, reserved), (TaskState::Scheduled, vec![]));
    world.clock.advance(settled.run_at - world.clock.now());
    assert_eq!(ids(&world.work(&[], 10).await.1), [id(1)]);
}

pub async fn workers_that_settle_and_reserve_share_no_task(world: World<Episodic>) {
    world.fill(0..400).await;
    let work = |worker: u32| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            let (mut taken, mut outcomes) = (Vec::new(), Vec::new());
            loop {
                let next = ReserveRequest { worker: format!("worker-{worker}"), ..next(1 + worker % 5) };
                let (settled, reserved) = handle.settle_and_reserve(&scope, &outcomes, &next).await.unwrap();
                assert!(settled.into_iter().all(|settled| settled.is_ok()));
                if reserved.is_empty() {
                    return taken;
                }
                outcomes = reserved.iter().map(|task| (hold(task), done())).collect();
                taken.extend(ids(&reserved));
            }
        })
    };
    let taken = join_all((0..8).map(work)).await;
    let mut taken: Vec<Uuid> = taken.into_iter().flat_map(std::result::Result::unwrap).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..400).map(id).collect::<Vec<_>>());
    let stats = world.stats(&world.scope).await;
    assert_eq!((stats.completed, stats.last_minute), (400, Throughput { completed: 400, failed: 0 }));
}

pub async fn wrong_work_is_invalid(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    world.fill(1..3).await;
    let held = hold(&world.reserve(1).await[0]);
    let max = u32::try_from(handle.capabilities().max_batch).unwrap();
    for wrong in [
        ReserveRequest { queue: "No Queue".to_owned(), ..next(1) },
        ReserveRequest { worker: String::new(), ..next(1) },
        ReserveRequest { lease: Duration::ZERO, ..next(1) },
        next(0),
        next(max + 1),
    ] {
        assert_eq!(kind(handle.settle_and_reserve(scope, &[(held, done())], &wrong).await), ErrorKind::Invalid);
    }
    let result = Some(serde_json::json!("x".repeat(65 * 1024)));
    let outcome = (held, Outcome::Complete { result });
    assert_eq!(kind(handle.settle_and_reserve(scope, &[outcome], &next(1)).await), ErrorKind::Invalid);
    let many = vec![(held, done()); max as usize + 1];
    assert_eq!(kind(handle.settle_and_reserve(scope, &many, &next(1)).await), ErrorKind::Invalid);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Leased, "nothing was settled");
    assert_eq!(world.task(2).await.unwrap().state, TaskState::Ready, "and nothing reserved");
}

pub async fn a_paused_queue_hands_out_nothing(world: World<Episodic>) {
    world.fill(1..4).await;
    let held = world.reserve(2).await;
    assert_eq!(world.configure(PAUSED).await, QueueSettings { paused: true, rate_limit: None });
    assert_eq!(world.reserve(10).await, []);
    // What is under way goes on.
    let beat = world.handle.heartbeat(&world.scope, &[(hold(&held[0]), Some(0.5))], LEASE).await.unwrap().remove(0);
    assert_eq!(beat.unwrap().progress, 0.5);
    let (settled, reserved) = world.work(&[(hold(&held[0]), done())], 10).await;
    assert_eq!((settled[0].as_ref().unwrap().state, reserved), (TaskState::Completed, vec![]));
    world.settle(hold(&held[1]), failed(false)).await.unwrap();
    world.handle.replay(&world.scope, &[id(2)]).await.unwrap().remove(0).unwrap();
    world.fill(4..5).await;
    world.enqueue(&[NewTask { queue: "post".to_owned(), ..task(5) }]).await;
    let stats = world.stats(&world.scope).await;
    assert_eq!((stats.settings.paused, stats.ready, stats.leased, stats.completed), (true, 3, 0, 1));
    assert_eq!(world.handle.reserve(&world.scope, "post", "worker", 1, LEASE).await.unwrap().len(), 1);
    assert_eq!(world.configure(RESUMED).await, QueueSettings::default());
    assert_eq!(world.reserve(10).await.len(), 3);
}

pub async fn a_lease_ends_while_its_queue_is_paused(world: World<Episodic>) {
    world.fill(1..2).await;
    let held = world.reserve(1).await;
    world.configure(PAUSED).await;
    world.pass(60);
    assert_eq!(kind(world.settle(hold(&held[0]), done()).await), ErrorKind::Conflict);
    assert_eq!(world.reserve(1).await, []);
    assert_eq!(world.task(1).await.unwrap().state, TaskState::Ready);
    world.configure(RESUMED).await;
    assert_eq!(world.reserve(1).await[0].attempts, 2);
}

pub async fn a_rate_limit_holds_in_any_window(world: World<Episodic>) {
    world.fill(0..200).await;
    let limit = RateLimit { count: 5, per: MINUTE };
    assert_eq!(world.configure(at_most(5, MINUTE)).await, QueueSettings { paused: false, rate_limit: Some(limit) });
    let start = world.clock.now();
    let mut handed: Vec<i64> = Vec::new();
    // Workers ask at odd times and for odd numbers; at each, as much goes out as the last minute leaves room for.
    for (step, now) in (0..80).scan(0, |now, step: i64| {
        *now += [0, 1, 7, 13, 29, 3][usize::try_from(step % 6).unwrap()];
        Some((step, *now))
    }) {
        let due = TimeDelta::seconds(now) - (world.clock.now() - start);
        world.clock.advance(due);
        let count = 1 + u32::try_from(step * 5 % 7).unwrap();
        let room = 5 - handed.iter().filter(|at| **at > now - 60).count();
        let reserved = if step % 2 == 0 { world.reserve(count).await } else { world.work(&[], count).await.1 };
        assert_eq!(reserved.len(), room.min(count as usize), "at {now} s");
        handed.extend(reserved.iter().map(|_| now));
        for task in &reserved {
            world.settle(hold(task), done()).await.unwrap();
        }
    }
    assert!(handed.len() > 40);
}

pub async fn a_rate_limit_ends_to_the_millisecond(world: World<Episodic>) {
    world.fill(1..2).await;
    world.configure(at_most(1, MINUTE)).await;
    assert_eq!(ids(&world.reserve(10).await), [id(1)]);
    world.clock.advance(TimeDelta::milliseconds(59_999));
    assert_eq!(world.reserve(10).await, []);
    world.clock.advance(TimeDelta::milliseconds(1));
    // Its lease has ended as well, and a second try counts as the first one did.
    assert_eq!(ids(&world.reserve(10).await), [id(1)]);
    assert_eq!(world.reserve(10).await, []);
}

pub async fn a_rate_limit_can_be_changed_and_removed(world: World<Episodic>) {
    world.fill(1..40).await;
    world.reserve(3).await;
    world.configure(at_most(5, MINUTE)).await;
    assert_eq!(world.reserve(10).await.len(), 5, "counting begins with the limit");
    world.configure(at_most(5, MINUTE)).await;
    assert_eq!(world.reserve(10).await.len(), 0, "the same limit again changes nothing");
    world.configure(at_most(7, MINUTE)).await;
    assert_eq!(world.reserve(10).await.len(), 2, "a wider one counts what went out under the first");
    world.configure(at_most(2, MINUTE)).await;
    assert_eq!(world.reserve(10).await.len(), 0, "so does a narrower one");
    world.configure(PAUSED).await;
    world.configure(RESUMED).await;
    assert_eq!(world.reserve(10).await.len(), 0, "a pause forgets nothing");
    assert_eq!(world.configure(UNLIMITED).await, QueueSettings::default());
    assert_eq!(world.reserve(10).await.len(), 10);
    world.configure(at_most(2, MINUTE)).await;
    assert_eq!(world.reserve(10).await.len(), 2, "and counting begins anew");
}

pub async fn a_rate_limit_holds_among_many_workers(world: World<Episodic>) {
    world.fill(0..200).await;
    world.configure(at_most(25, MINUTE)).await;
    for _ in 0..2 {
        let reserve = |worker: u32| {
            let (handle, scope) = (world.handle.clone(), world.scope.clone());
            tokio::spawn(async move {
                let mut taken = 0;
                for _ in 0..5 {
                    let name = format!("worker-{worker}");
                    taken += handle.reserve(&scope, "render", &name, 1 + worker % 3, LEASE).await.unwrap().len();
                }
                taken
            })
        };
        let taken: usize = join_all((0..8).map(reserve)).await.into_iter().map(|taken| taken.unwrap()).sum();
        assert_eq!(taken, 25);
        world.pass(60);
    }
}

pub async fn a_clock_that_jumps_back_stops_no_queue_for_longer_than_its_limit_says(world: World<Episodic>) {
    world.fill(1..5).await;
    world.configure(at_most(1, MINUTE)).await;
    world.reserve(1).await;
    world.pass(-86_400);
    assert_eq!(world.reserve(1).await, [], "what went out in the future counts as going out now");
    world.pass(59);
    assert_eq!(world.reserve(1).await, []);
    world.pass(1);
    assert_eq!(ids(&world.reserve(1).await), [id(2)]);
}

pub async fn settings_are_of_one_queue_and_one_organization(world: World<Episodic>) {
    let (handle, foreign) = (&world.handle, &world.foreign);
    world.fill(1..3).await;
    handle.enqueue(foreign, &[task(1), task(2)]).await.unwrap();
    world.configure(PAUSED).await;
    handle.configure_queue(&world.scope, "post", &at_most(1, MINUTE)).await.unwrap();
    assert_eq!(world.stats(foreign).await.settings, QueueSettings::default());
    let of_foreign = handle.reserve(foreign, "render", "worker", 1, LEASE).await.unwrap();
    assert_eq!(of_foreign.len(), 1);
    // Another organisation steers its own queue of that name, and works through its own holds alone.
    handle.configure_queue(foreign, "render", &at_most(1, MINUTE)).await.unwrap();
    assert_eq!(world.stats(&world.scope).await.settings, QueueSettings { paused: true, rate_limit: None });
    world.configure(RESUMED).await;
    let (settled, reserved) = world.work(&[(hold(&of_foreign[0]), done())], 10).await;
    assert_eq!((kind(settled.into_iter().next().unwrap()), reserved.len()), (ErrorKind::Conflict, 2));
    let stolen: Vec<_> = reserved.iter().map(|task| (hold(task), done())).collect();
    let (settled, reserved) = handle.settle_and_reserve(foreign, &stolen, &next(10)).await.unwrap();
    assert!(settled.into_iter().all(|settled| kind(settled) == ErrorKind::Conflict));
    assert_eq!(ids(&reserved), [id(2)], "its limit counts from when it was set");
    let completed = (world.stats(&world.scope).await.last_hour, world.stats(foreign).await.last_hour);
    assert_eq!(completed, (Throughput::default(), Throughput::default()));
}

pub async fn a_queue_with_settings_is_listed_without_tasks(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    world.configure(PAUSED).await;
    world.configure(at_most(3, MINUTE)).await;
    let limit = RateLimit { count: 3, per: MINUTE };
    let settings = QueueSettings { paused: true, rate_limit: Some(limit) };
    let expected = QueueStats { queue: "render".to_owned(), settings, ..QueueStats::default() };
    assert_eq!(handle.queues(scope, &[]).await.unwrap(), std::slice::from_ref(&expected));
    assert_eq!(handle.queues(&world.foreign, &[]).await.unwrap(), []);
    let world = world.reopen().await;
    assert_eq!(world.handle.queues(&world.scope, &[]).await.unwrap(), [expected]);
    assert_eq!(world.configure(QueueChange::default()).await, settings, "a change of nothing gives what is set");
    world.configure(QueueChange { paused: Some(false), rate_limit: Some(None) }).await;
    assert_eq!(world.handle.queues(&world.scope, &[]).await.unwrap(), []);
    let world = world.reopen().await;
    assert_eq!(world.stats(&world.scope).await.settings, QueueSettings::default());
}

pub async fn settings_outlast_tasks_and_restarts(world: World<Episodic>) {
    world.configure(at_most(2, Duration::from_secs(7200))).await;
    world.fill(1..10).await;
    let held = world.reserve(10).await;
    assert_eq!(held.len(), 2);
    world.settle(hold(&held[0]), done()).await.unwrap();
    let stats = world.stats(&world.scope).await;
    let world = world.reopen().await;
    assert_eq!(world.stats(&world.scope).await, stats, "throughput as well");
    assert_eq!(world.reserve(10).await, [], "what was handed out before the restart still counts");
    world.pass(7199);
    assert_eq!(world.reserve(10).await, []);
    world.pass(1);
    assert_eq!(world.reserve(10).await.len(), 2);
}

pub async fn concurrent_changes_of_different_settings_all_count(world: World<Episodic>) {
    for round in 0..8 {
        world.configure(QueueChange { paused: Some(false), rate_limit: Some(None) }).await;
        let configure = |change: QueueChange| {
            let (handle, scope) = (world.handle.clone(), world.scope.clone());
            tokio::spawn(async move { handle.configure_queue(&scope, "render", &change).await.unwrap() })
        };
        let done = join_all([PAUSED, at_most(round + 1, MINUTE)].map(configure)).await;
        assert!(done.into_iter().all(|done| done.is_ok()));
        let limit = RateLimit { count: round + 1, per: MINUTE };
        let expected = QueueSettings { paused: true, rate_limit: Some(limit) };
        assert_eq!(world.stats(&world.scope).await.settings, expected);
    }
}

pub async fn wrong_settings_are_invalid(world: World<Episodic>) {
    let day = Duration::from_secs(86_400);
    for wrong in [
        at_most(0, MINUTE),
        at_most(MAX_RATE_COUNT + 1, MINUTE),
        at_most(1, Duration::ZERO),
        at_most(1, Duration::from_millis(999)),
        at_most(1, day + Duration::from_secs(1)),
        at_most(1, Duration::MAX),
    ] {
        let wrong = QueueChange { paused: Some(true), ..wrong };
        assert_eq!(kind(world.handle.configure_queue(&world.scope, "render", &wrong).await), ErrorKind::Invalid);
    }
    for queue in ["", "No Queue", &"q".repeat(65)] {
        assert_eq!(kind(world.handle.configure_queue(&world.scope, queue, &PAUSED).await), ErrorKind::Invalid);
    }
    assert_eq!(world.handle.queues(&world.scope, &[]).await.unwrap(), []);
    for right in [at_most(1, Duration::from_secs(1)), at_most(MAX_RATE_COUNT, day)] {
        assert_eq!(world.configure(right).await.rate_limit, right.rate_limit.flatten());
    }
}

pub async fn throughput_slides_over_a_minute_and_an_hour(world: World<Episodic>) {
    let seen = async || {
        let stats = world.stats(&world.scope).await;
        [stats.last_minute, stats.last_hour].map(|ended| (ended.completed, ended.failed))
    };
    world.fill(1..11).await;
    assert_eq!(seen().await, [(0, 0), (0, 0)]);
    world.pass(30);
    let held = world.reserve(10).await;
    for (number, task) in held.iter().enumerate() {
        let outcome = if number < 6 { done() } else { failed(number % 2 == 0) };
        world.settle(hold(task), outcome).await.unwrap();
    }
    assert_eq!(kind(world.settle(hold(&held[0]), done()).await), ErrorKind::Conflict, "and this counts for nothing");
    assert_eq!(seen().await, [(6, 4), (6, 4)]);
    world.pass(30);
    assert_eq!(seen().await, [(6, 4), (6, 4)]);
    // The minute of the clock in which they ended leaves the last minute bit by bit.
    world.pass(30);
    assert_eq!(seen().await, [(3, 2), (6, 4)]);
    let again = world.reserve(10).await;
    assert_eq!(again.len(), 2);
    let outcomes: Vec<_> = again.iter().map(|task| (hold(task), done())).collect();
    world.work(&outcomes, 1).await.0.into_iter().for_each(|settled| drop(settled.unwrap()));
    assert_eq!(seen().await, [(5, 2), (8, 4)]);
    world.pass(30);
    assert_eq!(seen().await, [(2, 0), (8, 4)]);
    world.pass(3480);
    assert_eq!(seen().await, [(0, 0), (8, 4)]);
    world.pass(30);
    assert_eq!(seen().await, [(0, 0), (5, 2)]);
    world.pass(120);
    assert_eq!(seen().await, [(0, 0), (0, 0)]);
}

pub async fn a_lease_that_ends_is_no_reported_failure(world: World<Episodic>) {
    world.enqueue(&[NewTask { max_attempts: 1, ..task(1) }]).await;
    world.reserve(1).await;
    world.pass(60);
    let stats = world.stats(&world.scope).await;
    assert_eq!((stats.dead, stats.last_hour), (1, Throughput::default()));
}
