//! Counters for limits.

use super::*;
use chimera_stores::{
    Clock, Scope,
    episodic::{Counted, CounterRequest, MAX_COUNT},
};
use futures_util::future::join_all;

const MINUTE: Duration = Duration::from_secs(60);

fn ask(key: &str, cost: u32, limit: u32) -> CounterRequest {
    CounterRequest { key: key.to_owned(), window: MINUTE, cost, limit }
}

impl World<Episodic> {
    /// Asks for `cost` of ten a minute.
    async fn count(&self, cost: u32) -> Counted {
        self.handle.count(&self.scope, "calls", MINUTE, cost, 10).await.unwrap()
    }

    /// What is used, of the whole limit at once.
    async fn used(&self, scope: &Scope, key: &str) -> u32 {
        self.handle.count(scope, key, MINUTE, 0, 10).await.unwrap().used
    }
}

pub async fn a_counter_allows_up_to_its_limit(world: World<Episodic>) {
    let start = world.clock.now();
    let end = start + 2 * MINUTE;
    let counted = |allowed, used, remaining| Counted { allowed, used, remaining, resets_at: end };
    assert_eq!(world.count(0).await, Counted { resets_at: start, ..counted(true, 0, 10) }, "looking counts nothing");
    assert_eq!(world.count(4).await, counted(true, 4, 6));
    assert_eq!(world.count(7).await, counted(false, 4, 6), "what is refused is not counted, not even in part");
    assert_eq!(world.count(6).await, counted(true, 10, 0));
    assert_eq!(world.count(1).await, counted(false, 10, 0));
    assert_eq!(world.count(0).await, counted(true, 10, 0));
    let lower = world.handle.count(&world.scope, "calls", MINUTE, 0, 3).await.unwrap();
    assert_eq!(lower, counted(false, 10, 0), "a limit may be lowered below what is used");
    let higher = world.handle.count(&world.scope, "calls", MINUTE, 5, 20).await.unwrap();
    assert_eq!(higher, counted(true, 15, 5));
}

pub async fn what_was_used_fades_out_over_the_next_window(world: World<Episodic>) {
    let start = world.clock.now();
    world.pass(59);
    world.count(10).await;
    world.pass(1);
    for (seconds, used) in [(0, 10), (5, 10), (1, 9), (23, 6), (1, 5), (23, 2), (1, 1), (5, 1), (1, 0)] {
        world.pass(seconds);
        assert_eq!(world.count(0).await.used, used, "at {}", world.clock.now());
    }
    let quiet = world.count(0).await;
    assert_eq!((quiet.resets_at, quiet.remaining), (start + 2 * MINUTE, 10));
    // Half of a window that was full, and what is new besides.
    world.count(10).await;
    world.pass(90);
    let half = world.count(5).await;
    assert_eq!((half.allowed, half.used, half.resets_at), (true, 10, start + 5 * MINUTE));
    assert!(!world.count(1).await.allowed);
    world.pass(6);
    assert_eq!(world.count(1).await.used, 10);
    world.pass(3600);
    assert_eq!((world.count(0).await.used, world.count(10).await.used), (0, 10));
}

pub async fn counters_move_back_with_the_clock(world: World<Episodic>) {
    world.count(6).await;
    world.pass(60);
    world.count(4).await;
    world.pass(-86_400);
    let back = world.count(1).await;
    assert_eq!((back.allowed, back.used), (false, 10), "nothing is forgotten");
    assert_eq!(back.resets_at, world.clock.now() + 2 * MINUTE, "and nothing is kept for longer than two windows");
    world.pass(120);
    assert_eq!(world.count(0).await.used, 0);
}

pub async fn counters_are_told_apart_by_organization_key_and_window(world: World<Episodic>) {
    world.count(10).await;
    assert_eq!(world.used(&world.foreign, "calls").await, 0);
    assert!(world.handle.count(&world.foreign, "calls", MINUTE, 10, 10).await.unwrap().allowed);
    assert_eq!(world.used(&world.scope, "Calls").await, 0);
    assert_eq!(world.used(&world.scope, "ключ 🗝 \u{0}{}").await, 0);
    let hour = world.handle.count(&world.scope, "calls", Duration::from_secs(3600), 3, 10).await.unwrap();
    assert_eq!((hour.allowed, hour.used), (true, 3));
    assert_eq!(world.used(&world.scope, "calls").await, 10);
    assert_eq!(world.handle.queues(&world.scope, &[]).await.unwrap(), []);
}

pub async fn a_batch_of_counters_answers_in_order(world: World<Episodic>) {
    let batch = [ask("a", 6, 10), ask("b", 1, 10), ask("a", 6, 10), ask("a", 4, 10), ask("b", 0, 10)];
    let counted = world.handle.counts(&world.scope, &batch).await.unwrap();
    let seen: Vec<_> = counted.iter().map(|counted| (counted.allowed, counted.used)).collect();
    assert_eq!(seen, [(true, 6), (true, 1), (false, 6), (true, 10), (true, 1)]);
    assert_eq!(world.handle.counts(&world.scope, &[]).await.unwrap(), []);
}

pub async fn concurrent_counts_never_pass_the_limit(world: World<Episodic>) {
    let count = |caller: u32| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            let mut allowed = 0;
            for _ in 0..20 {
                let cost = 1 + caller % 2;
                let counted = handle.count(&scope, "calls", MINUTE, cost, 99).await.unwrap();
                assert!(counted.used <= 99 && counted.used + counted.remaining == 99);
                allowed += if counted.allowed { cost } else { 0 };
            }
            allowed
        })
    };
    let allowed: u32 = join_all((0..8).map(count)).await.into_iter().map(|allowed| allowed.unwrap()).sum();
    assert_eq!(allowed, 99, "not one less either: half of the callers ask for one at a time");
}

pub async fn great_counts_are_exact(world: World<Episodic>) {
    let day = Duration::from_secs(86_400);
    let count = async |cost| world.handle.count(&world.scope, "bytes", day, cost, MAX_COUNT).await.unwrap();
    assert_eq!(count(MAX_COUNT - 1).await.remaining, 1);
    world.pass(86_400);
    assert_eq!(count(0).await.used, MAX_COUNT - 1);
    world.clock.advance(TimeDelta::milliseconds(1));
    // 999,999 × 86,399,999 / 86,400,000 = 999,998.99…, rounded up.
    assert_eq!(count(0).await.used, MAX_COUNT - 1);
    world.clock.advance(TimeDelta::milliseconds(86));
    // 999,999 × 86,399,913 / 86,400,000 = 999,997.99…
    assert_eq!(count(0).await.used, MAX_COUNT - 2);
    world.clock.advance(TimeDelta::milliseconds(86_399_912));
    // One millisecond is left of it.
    assert_eq!(count(0).await.used, 1);
    world.clock.advance(TimeDelta::milliseconds(1));
    assert!(count(MAX_COUNT).await.allowed);
}

pub async fn wrong_counters_are_invalid(world: World<Episodic>) {
    let right = ask("calls", 1, 10);
    for wrong in [
        ask("", 1, 10),
        ask(&"k".repeat(129), 1, 10),
        ask("calls", 1, 0),
        ask("calls", 1, MAX_COUNT + 1),
        ask("calls", MAX_COUNT + 1, 10),
        CounterRequest { window: Duration::ZERO, ..right.clone() },
        CounterRequest { window: Duration::from_millis(999), ..right.clone() },
        CounterRequest { window: Duration::from_secs(86_401), ..right.clone() },
        CounterRequest { window: Duration::MAX, ..right.clone() },
    ] {
        let batch = [right.clone(), wrong];
        assert_eq!(kind(world.handle.counts(&world.scope, &batch).await), ErrorKind::Invalid);
    }
    let many = vec![right; world.handle.capabilities().max_batch + 1];
    assert_eq!(kind(world.handle.counts(&world.scope, &many).await), ErrorKind::Invalid);
    assert_eq!(world.used(&world.scope, "calls").await, 0, "nothing of a refused batch is counted");
    let longest = ask(&"k".repeat(128), MAX_COUNT, MAX_COUNT);
    let day = CounterRequest { window: Duration::from_secs(86_400), ..longest };
    assert!(world.handle.counts(&world.scope, &[day]).await.unwrap()[0].allowed);
}
