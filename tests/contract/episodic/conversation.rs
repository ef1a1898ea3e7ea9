//! Windows, sessions, live events.

use super::*;
use chimera_stores::{
    Clock,
    episodic::{Turn, TurnRole, WindowQuery},
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use serde_json::json;
use std::collections::BTreeSet;

const MINUTE: Duration = Duration::from_secs(60);

/// A turn said `ago` seconds before now.
fn turn(world: &World<Episodic>, number: u128, ago: i64) -> Turn {
    Turn {
        id: id(number),
        persona_id: id(50),
        conversation: "fans".to_owned(),
        role: TurnRole::User,
        text: format!("turn {number}"),
        tokens: 10,
        at: world.clock.now() - TimeDelta::seconds(ago),
    }
}

fn window() -> WindowQuery {
    let max_age = Duration::from_secs(3600);
    WindowQuery { persona_id: id(50), conversation: None, max_age, max_turns: 100, max_tokens: None }
}

async fn seen(world: &World<Episodic>, query: WindowQuery) -> Vec<u128> {
    let turns = world.handle.windows(&world.scope, &[query]).await.unwrap().remove(0);
    turns.iter().map(|turn| turn.id.as_u128() - id(0).as_u128()).collect()
}

pub async fn a_window_is_the_newest_turns_oldest_first(world: World<Episodic>) {
    let other = Turn { persona_id: id(51), ..turn(&world, 9, 15) };
    // Appended out of order, and in two goes.
    let turns = [turn(&world, 3, 10), turn(&world, 1, 30), other.clone()];
    world.handle.append_turns(&world.scope, &turns).await.unwrap();
    world.handle.append_turns(&world.scope, &[turn(&world, 4, 0), turn(&world, 2, 20)]).await.unwrap();
    assert_eq!(seen(&world, window()).await, [1, 2, 3, 4]);
    assert_eq!(seen(&world, WindowQuery { max_turns: 2, ..window() }).await, [3, 4]);
    assert_eq!(seen(&world, WindowQuery { max_turns: 0, ..window() }).await, []);
    let queries = [
        WindowQuery { persona_id: id(51), ..window() },
        WindowQuery { persona_id: id(52), ..window() },
        WindowQuery { max_turns: 1, ..window() },
        WindowQuery { persona_id: id(51), ..window() },
    ];
    let windows = world.handle.windows(&world.scope, &queries).await.unwrap();
    assert_eq!(windows, [vec![other.clone()], vec![], vec![turn(&world, 4, 0)], vec![other]]);
}

pub async fn a_window_ends_at_the_first_turn_that_does_not_fit(world: World<Episodic>) {
    let sized = |number, ago, tokens| Turn { tokens, ..turn(&world, number, ago) };
    let turns = [sized(1, 40, 1), sized(2, 30, 0), sized(3, 20, 50), sized(4, 10, 10), sized(5, 0, 10)];
    world.handle.append_turns(&world.scope, &turns).await.unwrap();
    let within = |max_tokens| seen(&world, WindowQuery { max_tokens: Some(max_tokens), ..window() });
    assert_eq!(within(0).await, []);
    assert_eq!(within(9).await, []);
    assert_eq!(within(10).await, [5]);
    assert_eq!(within(20).await, [4, 5]);
    assert_eq!(within(69).await, [4, 5], "the small old ones do not slip past the one that does not fit");
    assert_eq!(within(70).await, [2, 3, 4, 5]);
    assert_eq!(within(u32::MAX).await, [1, 2, 3, 4, 5]);
}

pub async fn a_window_has_a_greatest_age(world: World<Episodic>) {
    let turns = [turn(&world, 1, 61), turn(&world, 2, 60), turn(&world, 3, 59)];
    world.handle.append_turns(&world.scope, &turns).await.unwrap();
    assert_eq!(seen(&world, WindowQuery { max_age: MINUTE, ..window() }).await, [2, 3]);
    assert_eq!(seen(&world, WindowQuery { max_age: Duration::ZERO, ..window() }).await, []);
    assert_eq!(seen(&world, WindowQuery { max_age: Duration::MAX, ..window() }).await, [1, 2, 3]);
    world.pass(1);
    assert_eq!(seen(&world, WindowQuery { max_age: MINUTE, ..window() }).await, [3]);
    world.pass(-2);
    assert_eq!(seen(&world, WindowQuery { max_age: MINUTE, ..window() }).await, [1, 2, 3]);
}

pub async fn a_window_can_be_of_one_conversation(world: World<Episodic>) {
    let of = |number, ago, name: &str| Turn { conversation: name.to_owned(), ..turn(&world, number, ago) };
    let turns = [of(1, 40, "fans"), of(2, 30, "crew 🎬"), of(3, 20, "fans"), of(4, 10, "crew 🎬")];
    world.handle.append_turns(&world.scope, &turns).await.unwrap();
    let named = |name: &str, max_turns| WindowQuery { conversation: Some(name.to_owned()), max_turns, ..window() };
    assert_eq!(seen(&world, named("fans", 10)).await, [1, 3]);
    assert_eq!(seen(&world, named("crew 🎬", 1)).await, [4]);
    assert_eq!(seen(&world, named("nobody", 10)).await, []);
    assert_eq!(seen(&world, WindowQuery { max_tokens: Some(10), ..named("fans", 10) }).await, [3]);
    assert_eq!(seen(&world, WindowQuery { max_age: Duration::from_secs(25), ..named("fans", 10) }).await, [3]);
}

pub async fn turns_of_one_moment_are_ordered_by_id(world: World<Episodic>) {
    let turns: Vec<Turn> = [3, 1, 2].map(|number| turn(&world, number, 5)).to_vec();
    world.handle.append_turns(&world.scope, &turns).await.unwrap();
    assert_eq!(seen(&world, window()).await, [1, 2, 3]);
    assert_eq!(seen(&world, WindowQuery { max_turns: 2, ..window() }).await, [2, 3]);
}

pub async fn a_turn_is_appended_once(world: World<Episodic>) {
    let first = turn(&world, 1, 10);
    let other = Turn { text: "other".to_owned(), at: world.clock.now(), ..first.clone() };
    world.handle.append_turns(&world.scope, &[first.clone(), other.clone()]).await.unwrap();
    world.handle.append_turns(&world.scope, &[other, turn(&world, 2, 0)]).await.unwrap();
    let turns = world.handle.windows(&world.scope, &[window()]).await.unwrap().remove(0);
    assert_eq!(turns, [first, turn(&world, 2, 0)]);
}

pub async fn old_turns_are_forgotten(world: World<Episodic>) {
    let keeps = i64::try_from(world.handle.capabilities().window_seconds).unwrap();
    let any_age = WindowQuery { max_age: Duration::MAX, ..window() };
    world.handle.append_turns(&world.scope, &[turn(&world, 1, 0), turn(&world, 2, keeps + 1)]).await.unwrap();
    assert_eq!(seen(&world, any_age.clone()).await, [1], "one that is too old when it comes is not kept");
    world.pass(keeps - 1);
    world.handle.append_turns(&world.scope, &[turn(&world, 3, 0)]).await.unwrap();
    assert_eq!(seen(&world, any_age.clone()).await, [1, 3]);
    world.pass(2);
    assert_eq!(seen(&world, any_age.clone()).await, [3]);
    let world = world.reopen().await;
    assert_eq!(seen(&world, any_age).await, [3]);
}

pub async fn concurrent_turns_all_arrive(world: World<Episodic>) {
    let append = |writer: u128| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        let turns: Vec<Turn> = (0..10).map(|number| turn(&world, writer * 5 + number, 0)).collect();
        tokio::spawn(async move {
            for turn in turns {
                handle.append_turns(&scope, &[turn]).await.unwrap();
            }
        })
    };
    // The ranges overlap by half: every turn but some at the ends is appended by two writers.
    for result in join_all((0..8).map(append)).await {
        result.unwrap();
    }
    assert_eq!(seen(&world, window()).await, (0..45).collect::<Vec<_>>());
}

pub async fn wrong_turns_are_invalid(world: World<Episodic>) {
    let append = |turn: Turn| async { world.handle.append_turns(&world.scope, &[turn]).await };
    let valid = turn(&world, 1, 0);
    for wrong in [
        Turn { conversation: String::new(), ..valid.clone() },
        Turn { conversation: "c".repeat(129), ..valid.clone() },
        Turn { text: String::new(), ..valid.clone() },
        Turn { text: "t".repeat(16_385), ..valid.clone() },
    ] {
        assert_eq!(kind(append(wrong).await), ErrorKind::Invalid);
    }
    append(Turn { text: "t".repeat(16_384), ..valid }).await.unwrap();
    let too_many: Vec<Turn> =
        (0..=world.handle.capabilities().max_batch as u128).map(|number| turn(&world, number, 0)).collect();
    assert_eq!(kind(world.handle.append_turns(&world.scope, &too_many).await), ErrorKind::Invalid);
    assert_eq!(seen(&world, window()).await, [1]);
}

pub async fn a_turn_is_at_most_a_day_ahead(world: World<Episodic>) {
    let ahead = |number, millis| {
        let at = world.clock.now() + TimeDelta::milliseconds(millis);
        Turn { at, ..turn(&world, number, 0) }
    };
    let day = 86_400_000;
    let refused = world.handle.append_turns(&world.scope, &[turn(&world, 1, 0), ahead(2, day + 1)]).await;
    assert_eq!(kind(refused), ErrorKind::Invalid);
    assert_eq!(seen(&world, window()).await, [], "and nothing of the batch is kept");
    world.handle.append_turns(&world.scope, &[turn(&world, 1, 0), ahead(2, day)]).await.unwrap();
    assert_eq!(seen(&world, window()).await, [1, 2]);
    world.pass(1);
    world.handle.append_turns(&world.scope, &[ahead(3, day)]).await.unwrap();
    assert_eq!(seen(&world, WindowQuery { max_turns: 2, ..window() }).await, [2, 3]);
}

pub async fn a_session_is_read_and_replaced(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), None);
    assert_eq!(handle.session(scope, "id", Some(MINUTE)).await.unwrap(), None, "a touch makes nothing");
    let first = handle.put_session(scope, "id", &json!({ "a": "日本", "b": [1, null] }), MINUTE).await.unwrap();
    assert_eq!((first.id.as_str(), first.expires_at), ("id", world.clock.now() + MINUTE));
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), Some(first));
    world.pass(30);
    let second = handle.put_session(scope, "id", &json!("x".repeat(60_000)), MINUTE).await.unwrap();
    assert_eq!(second.expires_at, world.clock.now() + MINUTE);
    world.pass(45);
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), Some(second), "the first one's end is forgotten");
    assert_eq!(handle.session(scope, "ID", None).await.unwrap(), None);
}

pub async fn a_session_expires_and_its_id_is_free_again(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    handle.put_session(scope, "id", &json!(1), MINUTE).await.unwrap();
    world.clock.advance(TimeDelta::milliseconds(59_999));
    assert!(handle.session(scope, "id", None).await.unwrap().is_some());
    world.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(handle.session(scope, "id", Some(MINUTE)).await.unwrap(), None, "a touch does not wake the dead");
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), None);
    handle.end_session(scope, "id").await.unwrap();
    // Put without a look in between: what has expired unseen does not stand in the way either.
    handle.put_session(scope, "id", &json!(2), MINUTE).await.unwrap();
    world.pass(60);
    let third = handle.put_session(scope, "id", &json!(3), MINUTE).await.unwrap();
    world.pass(59);
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), Some(third));
}

pub async fn a_touch_prolongs_a_session(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    handle.put_session(scope, "id", &json!({ "n": 1 }), MINUTE).await.unwrap();
    for _ in 0..5 {
        world.pass(50);
        let touched = handle.session(scope, "id", Some(MINUTE)).await.unwrap().unwrap();
        assert_eq!((&touched.data, touched.expires_at), (&json!({ "n": 1 }), world.clock.now() + MINUTE));
        assert_eq!(handle.session(scope, "id", None).await.unwrap(), Some(touched));
    }
    let world = world.reopen().await;
    world.pass(59);
    assert!(world.handle.session(&world.scope, "id", None).await.unwrap().is_some());
    world.pass(1);
    assert_eq!(world.handle.session(&world.scope, "id", None).await.unwrap(), None, "a look alone prolongs nothing");
}

pub async fn a_session_can_be_ended(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    handle.end_session(scope, "id").await.unwrap();
    handle.put_session(scope, "id", &json!(1), MINUTE).await.unwrap();
    handle.put_session(scope, "other", &json!(2), MINUTE).await.unwrap();
    handle.end_session(scope, "id").await.unwrap();
    handle.end_session(scope, "id").await.unwrap();
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), None);
    assert_eq!(handle.session(scope, "other", None).await.unwrap().unwrap().data, json!(2));
}

pub async fn wrong_sessions_are_invalid(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    let put = |id: String, data, ttl| async move { handle.put_session(scope, &id, &data, ttl).await };
    assert_eq!(kind(put(String::new(), json!(1), MINUTE).await), ErrorKind::Invalid);
    assert_eq!(kind(put("i".repeat(129), json!(1), MINUTE).await), ErrorKind::Invalid);
    assert_eq!(kind(put("id".to_owned(), json!("x".repeat(65 * 1024)), MINUTE).await), ErrorKind::Invalid);
    for ttl in [Duration::ZERO, Duration::MAX] {
        assert_eq!(kind(put("id".to_owned(), json!(1), ttl).await), ErrorKind::Invalid);
        assert_eq!(kind(handle.session(scope, "id", Some(ttl)).await), ErrorKind::Invalid);
    }
    assert_eq!(kind(handle.publish(scope, "", &json!(1)).await), ErrorKind::Invalid);
    assert_eq!(kind(handle.publish(scope, "topic", &json!("x".repeat(65 * 1024))).await), ErrorKind::Invalid);
    assert_eq!(handle.subscribe(scope, "").await.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    assert_eq!(handle.session(scope, "id", None).await.unwrap(), None);
}

pub async fn a_subscriber_hears_what_is_published_from_then_on(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    handle.publish(scope, "tasks", &json!("before")).await.unwrap();
    let mut both =
        vec![handle.subscribe(scope, "tasks").await.unwrap(), handle.subscribe(scope, "tasks").await.unwrap()];
    for number in 0..20 {
        handle.publish(scope, "tasks", &json!({ "n": number, "🦁": null })).await.unwrap();
    }
    for stream in &mut both {
        for number in 0..20 {
            let event = stream.next().await.unwrap();
            assert_eq!((event.topic.as_str(), event.payload), ("tasks", json!({ "n": number, "🦁": null })));
            assert_eq!(event.at, world.clock.now());
        }
    }
}

pub async fn topics_are_separate(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    let mut tasks = handle.subscribe(scope, "tasks").await.unwrap();
    handle.publish(scope, "task", &json!(1)).await.unwrap();
    handle.publish(scope, "tasks:other", &json!(2)).await.unwrap();
    handle.publish(scope, "tasks", &json!(3)).await.unwrap();
    assert_eq!(tasks.next().await.unwrap().payload, json!(3));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(tasks.next().now_or_never().is_none());
}

pub async fn a_slow_subscriber_loses_the_oldest(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    let mut slow = handle.subscribe(scope, "tasks").await.unwrap();
    let mut quick = handle.subscribe(scope, "tasks").await.unwrap();
    for number in 0..5000 {
        handle.publish(scope, "tasks", &json!(number)).await.unwrap();
        assert_eq!(quick.next().await.unwrap().payload, json!(number));
    }
    let first = slow.next().await.unwrap().payload.as_i64().unwrap();
    assert!(first > 0, "the memory of a subscriber is bounded");
    for number in first + 1..5000 {
        assert_eq!(slow.next().await.unwrap().payload, json!(number), "what is left is the newest, whole and in order");
    }
    handle.publish(scope, "tasks", &json!("on it goes")).await.unwrap();
    assert_eq!(slow.next().await.unwrap().payload, json!("on it goes"));
}

pub async fn a_departed_subscriber_disturbs_nobody(world: World<Episodic>) {
    let (handle, scope) = (&world.handle, &world.scope);
    let gone = handle.subscribe(scope, "tasks").await.unwrap();
    let mut stays = handle.subscribe(scope, "tasks").await.unwrap();
    drop(gone);
    let publish = |number: u32| async move { handle.publish(scope, "tasks", &json!(number)).await.unwrap() };
    join_all((0..10).map(publish)).await;
    let heard: Vec<_> = (&mut stays).take(10).map(|event| event.payload.as_i64().unwrap()).collect().await;
    assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), (0..10).collect());
    drop(stays);
    handle.publish(scope, "tasks", &json!("to nobody")).await.unwrap();
    let mut new = handle.subscribe(scope, "tasks").await.unwrap();
    handle.publish(scope, "tasks", &json!("to one")).await.unwrap();
    assert_eq!(new.next().await.unwrap().payload, json!("to one"));
}
