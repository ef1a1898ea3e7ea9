//! Several workers, several organisations, several lives of one store.

use super::*;
use chimera_stores::{
    Scope, Slice,
    episodic::{TaskPageQuery, TaskState, Turn, TurnRole, WindowQuery},
};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, future::join_all};
use serde_json::json;
use std::collections::BTreeSet;

pub async fn no_task_goes_to_two_workers(world: World<Episodic>) {
    let tasks: Vec<NewTask> = (0..1000).map(task).collect();
    for batch in tasks.chunks(world.handle.capabilities().max_batch.min(500)) {
        world.enqueue(batch).await;
    }
    let work = |worker: usize| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let count = 1 + (worker as u32 * 7 + taken.len() as u32) % 40;
                let reserved =
                    handle.reserve(&scope, "render", &format!("worker-{worker}"), count, LEASE).await.unwrap();
                if reserved.is_empty() {
                    return taken;
                }
                let outcomes: Vec<_> = reserved.iter().map(|task| (hold(task), done())).collect();
                for settled in handle.settle(&scope, &outcomes).await.unwrap() {
                    settled.unwrap();
                }
                taken.extend(ids(&reserved));
            }
        })
    };
    let taken = join_all((0..8).map(work)).await;
    let mut taken: Vec<Uuid> = taken.into_iter().flat_map(Result::unwrap).collect();
    taken.sort_unstable();
    assert_eq!(taken, tasks.iter().map(|task| task.id).collect::<Vec<_>>());
}

pub async fn concurrent_enqueues_of_a_key_make_one_task(world: World<Episodic>) {
    let enqueue = |number| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move { handle.enqueue(&scope, &[keyed(number, "key")]).await.unwrap().remove(0).unwrap() })
    };
    let enqueued: Vec<_> = join_all((0..16).map(enqueue)).await.into_iter().map(|done| done.unwrap()).collect();
    assert_eq!(enqueued.iter().filter(|enqueued| !enqueued.deduplicated).count(), 1);
    assert_eq!(enqueued.iter().map(|enqueued| enqueued.task.id).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(world.reserve(16).await.len(), 1);
}

pub async fn concurrent_settlements_have_one_winner(world: World<Episodic>) {
    world.enqueue(&[task(1)]).await;
    let held = hold(&world.reserve(1).await[0]);
    let settle = |number: u32| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        let outcome = Outcome::Complete { result: Some(json!(number)) };
        tokio::spawn(async move { handle.settle(&scope, &[(held, outcome)]).await.unwrap().remove(0) })
    };
    let settled = join_all((0..16).map(settle)).await.into_iter().map(|done| done.unwrap());
    let (won, lost): (Vec<_>, Vec<_>) = settled.partition(|settled| settled.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 15));
    assert!(lost.into_iter().all(|lost| kind(lost) == ErrorKind::Conflict));
    assert_eq!(world.task(1).await.unwrap().result, won[0].as_ref().unwrap().result);
}

fn any_task() -> TaskPageQuery {
    TaskPageQuery { persona_id: None, campaign_id: None, queue: None, states: vec![], slice: Slice::first(100) }
}

pub async fn another_organization_sees_no_tasks(world: World<Episodic>) {
    let (handle, foreign) = (&world.handle, &world.foreign);
    let of_persona = |number| NewTask { persona_id: Some(id(50)), campaign_id: Some(id(51)), ..task(number) };
    world.enqueue(&[of_persona(1), of_persona(2), of_persona(3)]).await;
    let held = world.reserve(2).await;
    world.settle(hold(&held[1]), failed(false)).await.unwrap();
    let before: Vec<_> = [1, 2, 3].map(|number| world.task(number)).into_iter().collect();
    let before = join_all(before).await;

    assert_eq!(handle.tasks(foreign, &[id(1), id(2), id(3)]).await.unwrap(), [None, None, None]);
    assert_eq!(handle.reserve(foreign, "render", "thief", 10, LEASE).await.unwrap(), []);
    let held = hold(&held[0]);
    let beat = handle.heartbeat(foreign, &[(held, Some(0.5))], LEASE).await.unwrap().remove(0);
    assert_eq!(kind(beat), ErrorKind::Conflict);
    assert_eq!(kind(handle.settle(foreign, &[(held, done())]).await.unwrap().remove(0)), ErrorKind::Conflict);
    assert_eq!(kind(handle.replay(foreign, &[id(2)]).await.unwrap().remove(0)), ErrorKind::NotFound);
    assert_eq!(handle.queues(foreign, &[]).await.unwrap(), []);
    let named = handle.queues(foreign, &["render".to_owned()]).await.unwrap().remove(0);
    assert_eq!((named.ready, named.leased, named.dead), (0, 0, 0));
    let queries = [
        any_task(),
        TaskPageQuery { persona_id: Some(id(50)), ..any_task() },
        TaskPageQuery { campaign_id: Some(id(51)), ..any_task() },
        TaskPageQuery { queue: Some("render".to_owned()), ..any_task() },
        TaskPageQuery { states: vec![TaskState::Ready, TaskState::Dead], ..any_task() },
    ];
    for page in handle.task_pages(foreign, &queries).await.unwrap() {
        assert_eq!((page.items.len(), page.has_previous, page.has_next), (0, false, false));
    }
    // The same ids and keys are free for it, and its work is its own.
    let own = handle.enqueue(foreign, &[keyed(1, "key")]).await.unwrap().remove(0).unwrap();
    assert!(!own.deduplicated);
    world.enqueue(&[keyed(4, "key")]).await;
    assert_eq!(ids(&handle.reserve(foreign, "render", "worker", 10, LEASE).await.unwrap()), [id(1)]);
    let after = join_all([1, 2, 3].map(|number| world.task(number))).await;
    assert_eq!(after, before);
}

fn turn(number: u128, at: DateTime<Utc>) -> Turn {
    Turn {
        id: id(number),
        persona_id: id(50),
        conversation: "fans".to_owned(),
        role: TurnRole::User,
        text: "hello".to_owned(),
        tokens: 1,
        at,
    }
}

fn window() -> WindowQuery {
    WindowQuery {
        persona_id: id(50),
        conversation: None,
        max_age: Duration::from_secs(3600),
        max_turns: 100,
        max_tokens: None,
    }
}

async fn turns(world: &World<Episodic>, scope: &Scope) -> Vec<Uuid> {
    world.handle.windows(scope, &[window()]).await.unwrap().remove(0).iter().map(|turn| turn.id).collect()
}

pub async fn another_organization_sees_no_conversations(world: World<Episodic>) {
    use chimera_stores::Clock;
    let (handle, scope, foreign) = (&world.handle, &world.scope, &world.foreign);
    let minute = Duration::from_secs(60);
    handle.append_turns(scope, &[turn(1, world.clock.now())]).await.unwrap();
    handle.put_session(scope, "session", &json!({ "of": "one" }), minute).await.unwrap();
    assert_eq!(turns(&world, foreign).await, Vec::<Uuid>::new());
    assert_eq!(handle.session(foreign, "session", None).await.unwrap(), None);
    assert_eq!(handle.session(foreign, "session", Some(minute)).await.unwrap(), None);
    handle.end_session(foreign, "session").await.unwrap();
    // The same ids are free for it.
    handle.append_turns(foreign, &[turn(1, world.clock.now()), turn(2, world.clock.now())]).await.unwrap();
    handle.put_session(foreign, "session", &json!({ "of": "two" }), minute).await.unwrap();
    assert_eq!(turns(&world, foreign).await, [id(1), id(2)]);
    assert_eq!(turns(&world, scope).await, [id(1)]);
    assert_eq!(handle.session(scope, "session", None).await.unwrap().unwrap().data, json!({ "of": "one" }));

    let mut own = handle.subscribe(scope, "tasks").await.unwrap();
    let mut other = handle.subscribe(foreign, "tasks").await.unwrap();
    handle.publish(scope, "tasks", &json!(1)).await.unwrap();
    handle.publish(foreign, "tasks", &json!(2)).await.unwrap();
    assert_eq!(own.next().await.unwrap().payload, json!(1));
    assert_eq!(other.next().await.unwrap().payload, json!(2));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(own.next().now_or_never().is_none() && other.next().now_or_never().is_none());
}

pub async fn tasks_and_leases_outlast_a_restart(world: World<Episodic>) {
    let all: Vec<u128> = (1..=5).collect();
    let delayed = NewTask { delay: Duration::from_secs(30), ..keyed(4, "key") };
    world.enqueue(&[task(1), task(2), task(3)]).await;
    let held = world.reserve(3).await;
    world.settle(hold(&held[1]), Outcome::Complete { result: Some(json!([1])) }).await.unwrap();
    world.settle(hold(&held[2]), failed(false)).await.unwrap();
    world.enqueue(&[delayed, NewTask { priority: 9, persona_id: Some(id(50)), ..task(5) }]).await;
    world.handle.heartbeat(&world.scope, &[(hold(&held[0]), Some(0.5))], LEASE).await.unwrap().remove(0).unwrap();
    let before = join_all(all.iter().map(|number| world.task(*number))).await;
    let stats = world.handle.queues(&world.scope, &[]).await.unwrap();
    let pages = world.handle.task_pages(&world.scope, &[any_task()]).await.unwrap();

    let world = world.reopen().await;
    assert_eq!(join_all(all.iter().map(|number| world.task(*number))).await, before);
    assert_eq!(world.handle.queues(&world.scope, &[]).await.unwrap(), stats);
    assert_eq!(world.handle.task_pages(&world.scope, &[any_task()]).await.unwrap(), pages);
    let again = world.handle.enqueue(&world.scope, &[keyed(6, "key"), task(5)]).await.unwrap();
    assert!(again.into_iter().all(|enqueued| enqueued.unwrap().deduplicated));
    // The worker that held a task before still does, and no other one.
    assert_eq!(ids(&world.reserve(10).await), [id(5)]);
    assert_eq!(world.settle(hold(&held[0]), done()).await.unwrap().state, TaskState::Completed);
}

pub async fn turns_and_sessions_outlast_a_restart(world: World<Episodic>) {
    use chimera_stores::Clock;
    let text = "¿qué? 🦁 \u{0}".to_owned();
    let appended = Turn { text, role: TurnRole::Persona, ..turn(1, world.clock.now()) };
    world.handle.append_turns(&world.scope, std::slice::from_ref(&appended)).await.unwrap();
    let ttl = Duration::from_secs(600);
    let kept = world.handle.put_session(&world.scope, "kept 🗝", &json!({ "a": [1, "ü"] }), ttl).await.unwrap();
    world.handle.put_session(&world.scope, "ended", &json!(1), ttl).await.unwrap();
    world.handle.end_session(&world.scope, "ended").await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.handle.windows(&world.scope, &[window()]).await.unwrap(), [[appended.clone()]]);
    assert_eq!(world.handle.session(&world.scope, "kept 🗝", None).await.unwrap(), Some(kept));
    assert_eq!(world.handle.session(&world.scope, "ended", None).await.unwrap(), None);
    world.handle.append_turns(&world.scope, &[Turn { text: "other".to_owned(), ..appended.clone() }]).await.unwrap();
    assert_eq!(world.handle.windows(&world.scope, &[window()]).await.unwrap(), [[appended]]);
}

pub async fn time_passes_while_the_store_is_closed(world: World<Episodic>) {
    use chimera_stores::Clock;
    world.enqueue(&[task(1), NewTask { delay: Duration::from_secs(100), ..task(2) }, task(3)]).await;
    let held = world.reserve(2).await;
    world.settle(hold(&held[1]), done()).await.unwrap();
    world.handle.append_turns(&world.scope, &[turn(1, world.clock.now())]).await.unwrap();
    world.handle.put_session(&world.scope, "session", &json!(1), Duration::from_secs(60)).await.unwrap();
    let clock = world.clock.clone();
    clock.advance(TimeDelta::seconds(4000));
    let world = world.reopen().await;
    assert_eq!(world.task(3).await, None);
    assert_eq!(ids(&world.reserve(10).await), [id(1), id(2)]);
    assert_eq!(kind(world.settle(hold(&held[0]), done()).await), ErrorKind::Conflict);
    assert_eq!(turns(&world, &world.scope).await, Vec::<Uuid>::new());
    assert_eq!(world.handle.session(&world.scope, "session", None).await.unwrap(), None);
}
