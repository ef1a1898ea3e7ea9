//! Transactions: all or nothing, one winner, and an error that names what stood in the way.

use super::fixtures::*;
use chimera_stores::{
    ErrorKind, Principal, Role, Scope,
    relational::{Change, Column, Kind, Record, Row, Transaction},
};
use chrono::{Duration, TimeZone, Utc};
use entity::{
    asset, audit_entry, billing_record, campaign, campaign_persona, membership, outbox_entry, persona, post, video,
    wallet,
};
use std::{
    future::{Future, poll_fn},
    task::Poll,
    time::Duration as StdDuration,
};
use uuid::Uuid;

pub async fn an_update_needs_the_version_before(world: Relations) {
    let (ada, _) = seed(&world).await;
    let next = persona::Model { name: "Ada L.".to_owned(), version: 2, ..ada.clone() };
    commit(&world, &world.scope, vec![Change::Update(next.clone().into_row())]).await.unwrap();
    assert_eq!(get::<persona::Model>(&world, &world.scope, ada.id).await, Some(next.clone()));
    for version in [2, 4, 1, 0, i64::MIN] {
        let late = persona::Model { name: "Late".to_owned(), version, ..ada.clone() };
        let error = commit(&world, &world.scope, vec![Change::Update(late.into_row())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "version {version}");
        assert!(error.message().contains("changed by someone else"), "{error}");
    }
    assert_eq!(get::<persona::Model>(&world, &world.scope, ada.id).await, Some(next));
    let unknown = persona::Model { version: 2, ..persona(&world.scope, "unknown") };
    let error = commit(&world, &world.scope, vec![Change::Update(unknown.into_row())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

pub async fn a_new_row_has_version_one(world: Relations) {
    seed(&world).await;
    for version in [0, 2, -1] {
        let row = persona::Model { version, ..persona(&world.scope, "eve") };
        let error = try_insert(&world, &world.scope, row).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

pub async fn a_unique_key_in_the_way_is_named(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let scope = &world.scope;
    let x = || Some("x".to_owned());
    let person = user("a@example.org");
    let launch = campaign::Model { external_id: x(), ..campaign(scope, "Launch") };
    let tie = link(&launch, &ada);
    insert(
        &world,
        scope,
        [
            person.clone().into_row(),
            membership(scope, person.id).into_row(),
            api_key(scope, "hash").into_row(),
            launch.clone().into_row(),
            tie.clone().into_row(),
            persona::Model { external_id: x(), ..persona(scope, "cleo") }.into_row(),
            video::Model { external_id: x(), ..video(&ada, "Film") }.into_row(),
            post::Model { external_id: x(), ..post(&ada, "Look") }.into_row(),
            billing_record::Model { external_id: x(), ..billing(scope, 5, "EUR") }.into_row(),
            wallet(&ada, wallet::Chain::Base, "0x01").into_row(),
        ],
    )
    .await;
    let again: Vec<(&str, Row)> = vec![
        ("handle", persona(scope, "ada").into_row()),
        ("id", persona::Model { id: ada.id, ..persona(scope, "other") }.into_row()),
        ("externalId", persona::Model { external_id: x(), ..persona(scope, "other") }.into_row()),
        ("externalId", campaign::Model { external_id: x(), ..campaign(scope, "Launch") }.into_row()),
        ("externalId", video::Model { external_id: x(), ..video(&bob, "Film") }.into_row()),
        ("externalId", post::Model { external_id: x(), ..post(&bob, "Look") }.into_row()),
        ("externalId", billing_record::Model { external_id: x(), ..billing(scope, 5, "EUR") }.into_row()),
        ("email", user("a@example.org").into_row()),
        ("userId", membership(scope, person.id).into_row()),
        ("hash", api_key(scope, "hash").into_row()),
        ("campaignId and personaId", link(&launch, &ada).into_row()),
        ("chain and address", wallet(&bob, wallet::Chain::Base, "0x01").into_row()),
    ];
    for (field, row) in again {
        let error = commit(&world, scope, vec![Change::Insert(row.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{row:?}");
        assert!(error.message().ends_with(&format!("the same {field}")), "{field}: {error}");
        assert!(error.message().contains(row.kind().name()), "{error}");
    }
    let error = commit(
        &world,
        scope,
        vec![Change::Update(persona::Model { handle: "ada".to_owned(), version: 2, ..bob }.into_row())],
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("handle"), "{error}");
    // Rows without an external id do not stand in each other's way.
    insert(&world, scope, [post(&ada, "one").into_row(), post(&ada, "two").into_row()]).await;
    assert_eq!(get::<campaign_persona::Model>(&world, scope, tie.id).await, Some(tie));
}

pub async fn a_missing_reference_is_named(world: Relations) {
    let (ada, _) = seed(&world).await;
    let scope = &world.scope;
    let nowhere = Some(Uuid::from_u128(99));
    let lost = |id: Uuid| persona::Model { id, ..ada.clone() };
    let rows: Vec<(&str, Row)> = vec![
        ("personaId", post(&lost(Uuid::from_u128(99)), "Look").into_row()),
        ("campaignId", post::Model { campaign_id: nowhere, ..post(&ada, "Look") }.into_row()),
        ("videoId", post::Model { video_id: nowhere, ..post(&ada, "Look") }.into_row()),
        ("thumbnailAssetId", video::Model { thumbnail_asset_id: nowhere, ..video(&ada, "Film") }.into_row()),
        ("sourceAssetId", asset::Model { source_asset_id: nowhere, ..asset(scope) }.into_row()),
        ("avatarAssetId", persona::Model { avatar_asset_id: nowhere, ..persona(scope, "eve") }.into_row()),
        ("campaignId", link(&campaign(scope, "unwritten"), &ada).into_row()),
        ("userId", membership(scope, Uuid::from_u128(99)).into_row()),
        ("personaId", wallet(&lost(Uuid::from_u128(99)), wallet::Chain::Local, "a").into_row()),
        ("campaignId", billing_record::Model { campaign_id: nowhere, ..billing(scope, 1, "EUR") }.into_row()),
    ];
    for (column, row) in rows {
        let error = commit(&world, scope, vec![Change::Insert(row.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{row:?}");
        assert!(error.message().starts_with(column), "{column}: {error}");
        assert!(error.message().contains("does not exist"), "{error}");
    }
    // An organisation that does not exist, by row, audit entry and outbox entry.
    let ghost = Scope::system(Uuid::from_u128(99));
    let transactions = [
        Transaction { changes: vec![Change::Insert(asset(&ghost).into_row())], ..Transaction::default() },
        Transaction { audit: vec![audit("createPersona", ada.id)], ..Transaction::default() },
        Transaction { outbox: vec![outgoing(outbox_entry::Target::Search, ada.id, 1)], ..Transaction::default() },
    ];
    for transaction in transactions {
        let error = world.handle.commit(&ghost, &transaction).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().starts_with("organizationId"), "{error}");
    }
}

pub async fn rules_about_values_are_kept(world: Relations) {
    let (ada, _) = seed(&world).await;
    let scope = &world.scope;
    let dated = |starts, ends| campaign::Model { starts_at: Some(starts), ends_at: Some(ends), ..campaign(scope, "c") };
    let rows: Vec<(&str, Row)> = vec![
        ("endsAt", dated(noon(), noon()).into_row()),
        ("endsAt", dated(noon() + Duration::microseconds(1), noon()).into_row()),
        ("budgetMinor", campaign::Model { budget_minor: Some(-1), ..campaign(scope, "c") }.into_row()),
        ("budgetMinor", campaign::Model { budget_minor: Some(i64::MAX), ..campaign(scope, "c") }.into_row()),
        ("currency", campaign::Model { currency: "EURO".to_owned(), ..campaign(scope, "c") }.into_row()),
        ("currency", billing(scope, 1, "").into_row()),
        ("amountMinor", billing(scope, -1, "EUR").into_row()),
        ("amountMinor", billing(scope, i64::MAX, "EUR").into_row()),
        (
            "amountMinor",
            billing_record::Model { kind: billing_record::Kind::Credit, ..billing(scope, 1, "EUR") }.into_row(),
        ),
        ("sizeBytes", asset::Model { size_bytes: -1, ..asset(scope) }.into_row()),
        ("durationMs", video::Model { duration_ms: Some(-1), ..video(&ada, "v") }.into_row()),
        ("handle", persona(scope, "").into_row()),
        ("email", user("").into_row()),
        ("address", wallet(&ada, wallet::Chain::Local, "").into_row()),
    ];
    for (column, row) in rows {
        let error = commit(&world, scope, vec![Change::Insert(row.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{row:?}");
        assert!(error.message().starts_with(column), "{column}: {error}");
    }
    let soon = dated(noon(), noon() + Duration::microseconds(1));
    let open = campaign::Model { starts_at: None, budget_minor: None, ..soon.clone() };
    let open = campaign::Model { id: Uuid::now_v7(), ..open };
    let credit = billing_record::Model { kind: billing_record::Kind::Credit, ..billing(scope, -1, "EUR") };
    insert(&world, scope, [soon.clone().into_row(), open.into_row(), credit.into_row()]).await;
    let worse = campaign::Model { ends_at: Some(noon()), version: 2, ..soon };
    let error = commit(&world, scope, vec![Change::Update(worse.into_row())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// How much of everything there is.
async fn census(world: &Relations) -> (usize, usize, u64) {
    let personas = everything::<persona::Model>(world, &world.scope).await.len();
    let audits = everything::<audit_entry::Model>(world, &world.scope).await.len();
    let depth = world.handle.outbox_depth(&world.scope).await.unwrap();
    (personas, audits, depth.values().sum())
}

fn whole(scope: &Scope, handle: &str) -> Transaction {
    let row = persona(scope, handle);
    Transaction {
        audit: vec![audit("createPersona", row.id)],
        outbox: vec![
            outgoing(outbox_entry::Target::Search, row.id, 1),
            outgoing(outbox_entry::Target::Memory, row.id, 1),
        ],
        changes: vec![Change::Insert(row.into_row())],
    }
}

pub async fn a_failed_transaction_leaves_nothing(world: Relations) {
    let (ada, _) = seed(&world).await;
    let before = census(&world).await;
    let last_straws = [
        Change::Insert(persona(&world.scope, "ada").into_row()),
        Change::Insert(post(&persona(&world.scope, "unwritten"), "Look").into_row()),
        Change::Insert(billing(&world.scope, -1, "EUR").into_row()),
        Change::Update(persona::Model { version: 9, ..ada.clone() }.into_row()),
        Change::Delete(Kind::Post, Uuid::from_u128(99)),
    ];
    for change in last_straws {
        let mut transaction = whole(&world.scope, "eve");
        let next = persona::Model { name: "Changed".to_owned(), version: 2, ..ada.clone() };
        transaction.changes.push(Change::Update(next.into_row()));
        transaction.changes.push(change);
        world.handle.commit(&world.scope, &transaction).await.unwrap_err();
        assert_eq!(census(&world).await, before);
        assert_eq!(get::<persona::Model>(&world, &world.scope, ada.id).await.as_ref(), Some(&ada));
    }
    world.handle.commit(&world.scope, &whole(&world.scope, "eve")).await.unwrap();
    assert_eq!(census(&world).await, (before.0 + 1, before.1 + 1, before.2 + 2));
}

pub async fn a_cancelled_commit_is_whole_or_absent(world: Relations) {
    seed(&world).await;
    let (personas, audits, entries) = census(&world).await;
    let (mut acknowledged, mut cancelled) = (0, 0);
    for number in 0..60_u64 {
        let transaction = whole(&world.scope, &format!("handle-{number}"));
        let mut commit = Box::pin(world.handle.commit(&world.scope, &transaction));
        // The first poll only begins: what is dropped after it is cancelled on any machine. The others get further and
        // further on their way.
        let mut once = async || poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        let mut outcome = once().await;
        for _ in 0..number {
            if outcome.is_ready() {
                break;
            }
            tokio::time::sleep(StdDuration::from_micros(20)).await;
            outcome = once().await;
        }
        match outcome {
            Poll::Ready(result) => acknowledged += usize::from(result.is_ok()),
            Poll::Pending => cancelled += 1,
        }
    }
    assert!(cancelled > 0, "nothing was cancelled");
    // What was cancelled on its way may still land, but not after a commit that follows it.
    world.handle.commit(&world.scope, &whole(&world.scope, "afterwards")).await.unwrap();
    let (found, told, queued) = census(&world).await;
    let written = found - personas;
    assert!(written > acknowledged, "{written} were written, {acknowledged} acknowledged, and one afterwards");
    assert_eq!((told - audits, queued - entries), (written, 2 * written as u64));
}

pub async fn rows_are_written_in_order(world: Relations) {
    seed(&world).await;
    let eve = persona(&world.scope, "eve");
    let note = post(&eve, "first");
    let changed = post::Model { text: "second".to_owned(), version: 2, ..note.clone() };
    let changes = vec![
        Change::Insert(eve.clone().into_row()),
        Change::Insert(note.clone().into_row()),
        Change::Update(changed.clone().into_row()),
    ];
    commit(&world, &world.scope, changes).await.unwrap();
    assert_eq!(get::<post::Model>(&world, &world.scope, note.id).await, Some(changed));
    let changes = vec![
        Change::Delete(Kind::Post, note.id),
        Change::Delete(Kind::Persona, eve.id),
        // The handle is free again.
        Change::Insert(persona(&world.scope, "eve").into_row()),
    ];
    commit(&world, &world.scope, changes).await.unwrap();
    let finn = persona(&world.scope, "finn");
    let changes = vec![Change::Insert(post(&finn, "too early").into_row()), Change::Insert(finn.into_row())];
    let error = commit(&world, &world.scope, changes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

pub async fn audit_entries_tell_who_and_when(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let key = Scope::new(world.scope.organization_id(), Principal::ApiKey(Uuid::from_u128(8)), Role::Editor);
    let both = Transaction { audit: vec![audit("a", ada.id), audit("b", bob.id)], ..Transaction::default() };
    world.handle.commit(&world.scope, &both).await.unwrap();
    world.clock.advance(Duration::seconds(1));
    let later = Transaction { audit: vec![audit("c", ada.id)], ..Transaction::default() };
    world.handle.commit(&key, &later).await.unwrap();
    world.handle.commit(&Scope::system(world.scope.organization_id()), &later).await.unwrap();
    let entries = everything::<audit_entry::Model>(&world, &world.scope).await;
    let midnight = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    let told: Vec<_> =
        entries.iter().map(|entry| (entry.action.as_str(), entry.actor.as_str(), entry.created_at)).collect();
    let person = format!("user:{}", Uuid::from_u128(7));
    let machine = format!("api_key:{}", Uuid::from_u128(8));
    let second = midnight + Duration::seconds(1);
    assert_eq!(
        told,
        [("a", &*person, midnight), ("b", &*person, midnight), ("c", &*machine, second), ("c", "system", second)]
    );
    let first = &entries[0];
    assert_eq!(first.organization_id, world.scope.organization_id());
    assert_eq!((first.entity_type.as_str(), first.entity_id), ("Persona", ada.id));
    assert_eq!(first.request_id.as_deref(), Some("request-1"));
    assert_eq!((first.before_hash.as_deref(), first.after_hash.as_deref()), (None, Some("cd".repeat(32).as_str())));
}

pub async fn audit_entries_are_not_changed_as_rows(world: Relations) {
    let (ada, _) = seed(&world).await;
    let told = Transaction { audit: vec![audit("createPersona", ada.id)], ..Transaction::default() };
    world.handle.commit(&world.scope, &told).await.unwrap();
    let entry = everything::<audit_entry::Model>(&world, &world.scope).await.remove(0);
    let forged = audit_entry::Model { id: Uuid::now_v7(), actor: "system".to_owned(), ..entry.clone() };
    for change in [
        Change::Insert(forged.clone().into_row()),
        Change::Update(audit_entry::Model { id: entry.id, ..forged }.into_row()),
        Change::Delete(Kind::AuditEntry, entry.id),
    ] {
        let error = commit(&world, &world.scope, vec![change]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(everything::<audit_entry::Model>(&world, &world.scope).await, [entry]);
}

pub async fn audit_order_survives_a_clock_that_jumps_back(world: Relations) {
    let (ada, _) = seed(&world).await;
    for action in ["first", "second", "third"] {
        let told = Transaction { audit: vec![audit(action, ada.id)], ..Transaction::default() };
        world.handle.commit(&world.scope, &told).await.unwrap();
        world.clock.advance(Duration::hours(-1));
    }
    let entries = everything::<audit_entry::Model>(&world, &world.scope).await;
    assert_eq!(entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
    assert!(entries[0].created_at > entries[2].created_at, "the time is the clock's all the same");
}

pub async fn deleted_rows_are_gone(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let launch = campaign(&world.scope, "Launch");
    let ties = [link(&launch, &ada), link(&launch, &bob)];
    insert(&world, &world.scope, [launch.clone().into_row(), ties[0].clone().into_row(), ties[1].clone().into_row()])
        .await;
    commit(&world, &world.scope, vec![Change::Delete(Kind::Persona, bob.id)]).await.unwrap();
    assert_eq!(get::<persona::Model>(&world, &world.scope, bob.id).await, None);
    // A link means nothing without both its sides, so it goes with either.
    assert_eq!(ids(&everything::<campaign_persona::Model>(&world, &world.scope).await), [ties[0].id]);
    let error = commit(&world, &world.scope, vec![Change::Delete(Kind::Persona, bob.id)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

pub async fn a_row_that_is_referred_to_stays(world: Relations) {
    let (ada, _) = seed(&world).await;
    let note = post(&ada, "Look");
    insert(&world, &world.scope, [note.clone().into_row()]).await;
    for (kind, id) in [(Kind::Persona, ada.id), (Kind::Organization, world.scope.organization_id())] {
        let error = commit(&world, &world.scope, vec![Change::Delete(kind, id)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains(kind.name()), "{error}");
    }
    let changes = vec![Change::Delete(Kind::Post, note.id), Change::Delete(Kind::Persona, ada.id)];
    commit(&world, &world.scope, changes).await.unwrap();
}

pub async fn a_user_without_memberships_can_be_deleted(world: Relations) {
    seed(&world).await;
    let (person, other) = (user("a@example.org"), user("b@example.org"));
    let (own, theirs) = (membership(&world.scope, person.id), membership(&world.foreign, person.id));
    insert(&world, &world.scope, [person.clone().into_row(), own.clone().into_row(), other.clone().into_row()]).await;
    insert(&world, &world.foreign, [theirs.clone().into_row()]).await;
    let leave = vec![Change::Delete(Kind::Membership, own.id), Change::Delete(Kind::User, person.id)];
    let error = commit(&world, &world.scope, leave).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "the user is now only of the other organisation");
    assert!(get::<membership::Model>(&world, &world.scope, own.id).await.is_some());
    commit(&world, &world.scope, vec![Change::Delete(Kind::Membership, own.id)]).await.unwrap();
    let leave = vec![Change::Delete(Kind::Membership, theirs.id), Change::Delete(Kind::User, person.id)];
    commit(&world, &world.foreign, leave).await.unwrap();
    // The address is free again.
    try_insert(&world, &world.scope, user("a@example.org")).await.unwrap();
    commit(&world, &world.scope, vec![Change::Delete(Kind::User, other.id)]).await.unwrap();
}

pub async fn one_of_many_writers_wins_each_version(world: Relations) {
    let (ada, _) = seed(&world).await;
    for version in 2..=4_i64 {
        let writers = (0..16).map(|writer| {
            let (handle, scope) = (world.handle.clone(), world.scope.clone());
            let row = persona::Model { name: format!("writer {writer}"), version, ..ada.clone() };
            let changes = vec![Change::Update(row.clone().into_row())];
            tokio::spawn(async move {
                let result = handle.commit(&scope, &Transaction { changes, ..Transaction::default() }).await;
                result.map(|_| row).map_err(|error| error.kind())
            })
        });
        let results: Vec<_> = futures_util::future::join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "version {version}: {results:?}");
        assert!(
            results.iter().all(|result| !matches!(result, Err(kind) if *kind != ErrorKind::Conflict)),
            "{results:?}"
        );
        assert_eq!(get::<persona::Model>(&world, &world.scope, ada.id).await.as_ref(), Some(winners[0]));
    }
}

pub async fn one_of_many_writers_gets_the_handle(world: Relations) {
    seed(&world).await;
    let writers = (0..16).map(|_| try_insert(&world, &world.scope, persona(&world.scope, "wanted")));
    let results = futures_util::future::join_all(writers).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().flat_map(|result| result.as_ref().err()).all(|error| error.kind() == ErrorKind::Conflict));
    let found =
        world.handle.find::<persona::Model>(&world.scope, Column::Handle, &["wanted".to_owned()]).await.unwrap();
    assert!(found[0].is_some());
}
