//! The relay's side: what is due, in which order, and what becomes of it.

use super::fixtures::*;
use chimera_stores::relational::{Settlement, Transaction};
use chrono::{DateTime, Duration, TimeZone, Utc};
use entity::outbox_entry::{Model, Target};
use uuid::Uuid;

const ONE: Uuid = Uuid::from_u128(101);
const TWO: Uuid = Uuid::from_u128(102);

fn midnight() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()
}

/// Commits entries in one transaction and returns their sequence numbers.
async fn queue(world: &Relations, entries: &[(Target, Uuid, i64)]) -> Vec<i64> {
    let outbox = entries.iter().map(|(target, id, version)| outgoing(*target, *id, *version)).collect();
    let transaction = Transaction { outbox, ..Transaction::default() };
    let committed = world.handle.commit(&world.scope, &transaction).await.unwrap();
    assert!(committed.outbox.iter().map(|(_, target)| target).eq(entries.iter().map(|(target, ..)| target)));
    committed.outbox.into_iter().map(|(sequence, _)| sequence).collect()
}

async fn due(world: &Relations, target: Target, limit: u32) -> Vec<Model> {
    world.handle.outbox_due(&world.scope, target, limit).await.unwrap()
}

async fn due_now(world: &Relations) -> Vec<i64> {
    due(world, Target::Search, 100).await.iter().map(|entry| entry.sequence).collect()
}

fn retry(at: DateTime<Utc>) -> Settlement {
    Settlement::Retry { not_before: at, error: "the store is away".to_owned() }
}

pub async fn entries_come_in_order_of_commit(world: Relations) {
    seed(&world).await;
    let first = queue(&world, &[(Target::Search, TWO, 1), (Target::Memory, TWO, 1), (Target::Search, ONE, 1)]).await;
    let second = queue(&world, &[(Target::Search, TWO, 2)]).await;
    assert!(first.is_sorted() && second[0] > first[2]);
    let entries = due(&world, Target::Search, 100).await;
    let expected = Model {
        sequence: first[0],
        organization_id: world.scope.organization_id(),
        target: Target::Search,
        entity_id: TWO,
        entity_version: 1,
        body: serde_json::json!({"version": 1}),
        attempts: 0,
        last_error: None,
        not_before: None,
        created_at: midnight(),
    };
    assert_eq!(entries[0], expected);
    assert_eq!(due_now(&world).await, [first[0], first[2], second[0]]);
    assert_eq!(due(&world, Target::Search, 2).await, entries[..2]);
    assert_eq!(due(&world, Target::Search, 0).await, []);
    assert_eq!(due(&world, Target::Memory, 100).await.len(), 1);
    // Entries of every organisation are the relay's.
    assert_eq!(world.handle.outbox_due(&world.foreign, Target::Search, 100).await.unwrap(), entries);
}

pub async fn an_entry_that_waits_holds_back_its_entity(world: Relations) {
    seed(&world).await;
    let search =
        [(Target::Search, ONE, 1), (Target::Search, TWO, 1), (Target::Search, ONE, 2), (Target::Memory, ONE, 2)];
    let numbers = queue(&world, &search).await;
    let later = midnight() + Duration::seconds(10);
    world.handle.outbox_settle(&world.scope, &[(numbers[0], retry(later))]).await.unwrap();
    assert_eq!(due_now(&world).await, [numbers[1]], "the newer entry of the same entity waits too");
    assert_eq!(due(&world, Target::Memory, 10).await.len(), 1, "but not for another target");
    world.clock.advance(Duration::seconds(10));
    assert_eq!(due_now(&world).await, [numbers[0], numbers[1], numbers[2]]);
    let waited = due(&world, Target::Search, 1).await.remove(0);
    assert_eq!((waited.attempts, waited.not_before), (1, Some(later)));
    assert_eq!(waited.last_error.as_deref(), Some("the store is away"));
    // A newer entry that waits holds back nothing older.
    world.handle.outbox_settle(&world.scope, &[(numbers[2], retry(later + Duration::hours(1)))]).await.unwrap();
    assert_eq!(due_now(&world).await, [numbers[0], numbers[1]]);
    world.clock.advance(Duration::seconds(-5));
    assert_eq!(due_now(&world).await, [numbers[1]], "the clock jumped back");
}

pub async fn settling_twice_is_settling_once(world: Relations) {
    seed(&world).await;
    let numbers = queue(&world, &[(Target::Search, ONE, 1), (Target::Search, TWO, 1)]).await;
    let settlements = [
        (numbers[0], Settlement::Done),
        (numbers[1], retry(midnight())),
        (12_345, Settlement::Done),
        (12_346, retry(midnight())),
    ];
    for _ in 0..2 {
        world.handle.outbox_settle(&world.scope, &settlements).await.unwrap();
        assert_eq!(due_now(&world).await, [numbers[1]]);
    }
    assert_eq!(world.handle.outbox_depth(&world.scope).await.unwrap()[&Target::Search], 1);
}

pub async fn depth_counts_each_target(world: Relations) {
    seed(&world).await;
    let depth = world.handle.outbox_depth(&world.scope).await.unwrap();
    assert_eq!((depth[&Target::Search], depth[&Target::Memory]), (0, 0));
    let numbers = queue(&world, &[(Target::Search, ONE, 1), (Target::Search, TWO, 1), (Target::Memory, ONE, 1)]).await;
    // What waits counts as well: it is still to be done.
    let waits = [(numbers[0], retry(midnight() + Duration::days(1)))];
    world.handle.outbox_settle(&world.scope, &waits).await.unwrap();
    let depth = world.handle.outbox_depth(&world.scope).await.unwrap();
    assert_eq!((depth[&Target::Search], depth[&Target::Memory]), (2, 1));
}

pub async fn sequence_numbers_are_not_used_again(world: Relations) {
    seed(&world).await;
    let numbers = queue(&world, &[(Target::Search, ONE, 1), (Target::Search, TWO, 1)]).await;
    let done: Vec<_> = numbers.iter().map(|number| (*number, Settlement::Done)).collect();
    world.handle.outbox_settle(&world.scope, &done).await.unwrap();
    let world = world.reopen().await;
    assert!(queue(&world, &[(Target::Search, ONE, 2)]).await[0] > numbers[1]);
}
