//! Rows by key, sums, keys of the API, and what survives a restart.

use super::fixtures::*;
use chimera_stores::{
    ErrorKind, Principal, Role,
    relational::{BillingKey, BillingTotal, Column, Kind, Record, Relational, Transaction},
};
use chrono::{DateTime, Duration, TimeDelta, TimeZone, Utc};
use entity::{
    Strings, api_key, asset, audit_entry, billing_record, campaign, campaign_persona, membership, organization,
    persona, post, user, video, wallet,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Writes a row of each kind and reads each back; the kinds seen must be all there are.
pub async fn every_kind_reads_its_own_write(world: Relations) {
    async fn check<R: Record + PartialEq + std::fmt::Debug>(world: &Relations, row: R, seen: &mut BTreeSet<Kind>) {
        try_insert(world, &world.scope, row.clone()).await.unwrap();
        assert_eq!(get::<R>(world, &world.scope, row.id()).await, Some(row));
        seen.insert(R::KIND);
    }
    let (scope, mut seen) = (world.scope.clone(), BTreeSet::new());
    check(&world, organization(&scope, "own"), &mut seen).await;
    let person = user("a@example.org");
    // A user is seen through a membership, so it is checked after that.
    try_insert(&world, &scope, person.clone()).await.unwrap();
    check(&world, membership(&scope, person.id), &mut seen).await;
    assert_eq!(get::<user::Model>(&world, &scope, person.id).await, Some(person.clone()));
    seen.insert(Kind::User);
    check(&world, api_key::Model { user_id: Some(person.id), ..api_key(&scope, "hash") }, &mut seen).await;
    let picture = asset(&scope);
    check(&world, picture.clone(), &mut seen).await;
    check(&world, asset::Model { source_asset_id: Some(picture.id), ..asset(&scope) }, &mut seen).await;
    let ada = persona::Model { avatar_asset_id: Some(picture.id), ..persona(&scope, "ada") };
    check(&world, ada.clone(), &mut seen).await;
    let launch = campaign::Model {
        starts_at: Some(noon()),
        ends_at: Some(noon() + Duration::days(1)),
        ..campaign(&scope, "Launch")
    };
    check(&world, launch.clone(), &mut seen).await;
    check(&world, link(&launch, &ada), &mut seen).await;
    let film = video::Model { campaign_id: Some(launch.id), asset_id: Some(picture.id), ..video(&ada, "Film") };
    check(&world, film.clone(), &mut seen).await;
    check(&world, post::Model { video_id: Some(film.id), ..post(&ada, "Look") }, &mut seen).await;
    check(&world, wallet(&ada, wallet::Chain::Base, "0x01"), &mut seen).await;
    check(&world, billing_record::Model { campaign_id: Some(launch.id), ..billing(&scope, 5, "EUR") }, &mut seen).await;
    check(&world, budget(&launch, 0, 30, 500), &mut seen).await;
    let told = Transaction { audit: vec![audit("createPersona", ada.id)], ..Transaction::default() };
    world.handle.commit(&scope, &told).await.unwrap();
    let entries = everything::<audit_entry::Model>(&world, &scope).await;
    assert_eq!(get::<audit_entry::Model>(&world, &scope, entries[0].id).await.as_ref(), Some(&entries[0]));
    seen.insert(Kind::AuditEntry);
    assert_eq!(seen, Kind::ALL.iter().copied().collect());
}

pub async fn absent_and_duplicate_keys_keep_their_places(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let keys = [bob.id, Uuid::from_u128(99), ada.id, bob.id];
    let rows = world.handle.get::<persona::Model>(&world.scope, &keys).await.unwrap();
    assert_eq!(rows, [Some(bob.clone()), None, Some(ada.clone()), Some(bob.clone())]);
    let handles = ["bob", "nobody", "ada", "bob", "ADA"].map(str::to_owned);
    let rows = world.handle.find::<persona::Model>(&world.scope, Column::Handle, &handles).await.unwrap();
    assert_eq!(rows, [Some(bob.clone()), None, Some(ada), Some(bob), None]);
}

pub async fn empty_batches_are_answered(world: Relations) {
    seed(&world).await;
    let Relations { handle, scope, .. } = &world;
    assert_eq!(handle.get::<post::Model>(scope, &[]).await.unwrap(), []);
    assert_eq!(handle.find::<post::Model>(scope, Column::ExternalId, &[]).await.unwrap(), []);
    assert_eq!(handle.pages::<post::Model>(scope, &list::<post::Model>(None), &[]).await.unwrap(), []);
    assert_eq!(handle.billing_totals(scope, &[]).await.unwrap(), Vec::<Vec<BillingTotal>>::new());
    assert_eq!(handle.commit(scope, &Transaction::default()).await.unwrap().outbox, []);
    handle.outbox_settle(scope, &[]).await.unwrap();
}

pub async fn a_batch_larger_than_the_limit_is_cut(world: Relations) {
    let (ada, _) = seed(&world).await;
    let limit = world.handle.capabilities().max_batch;
    let mut keys = vec![Uuid::from_u128(99); 2 * limit];
    keys.push(ada.id);
    let rows = world.handle.get::<persona::Model>(&world.scope, &keys).await.unwrap();
    assert_eq!(rows.len(), 2 * limit + 1);
    assert_eq!(rows.iter().flatten().collect::<Vec<_>>(), [&ada]);
    assert_eq!(rows.last().unwrap().as_ref(), Some(&ada));
    let pages = world.handle.pages::<persona::Model>(&world.scope, &list::<persona::Model>(None), &keys).await.unwrap();
    assert_eq!(pages.len(), keys.len());
}

pub async fn unique_columns_find_rows(world: Relations) {
    async fn found<R: Record>(handle: &Relational, world: &Relations, column: Column, value: &str) -> Option<Uuid> {
        let rows = handle.find::<R>(&world.scope, column, &[value.to_owned()]).await.unwrap();
        rows.into_iter().next().unwrap().map(|row| row.id())
    }
    let (ada, _) = seed(&world).await;
    let (scope, handle) = (&world.scope, &world.handle);
    let person = user("a@example.org");
    let launch = campaign::Model { external_id: Some("x".to_owned()), ..campaign(scope, "Launch") };
    let film = video::Model { external_id: Some("x".to_owned()), ..video(&ada, "Film") };
    let note = post::Model { external_id: Some("x".to_owned()), ..post(&ada, "Look") };
    let bill = billing_record::Model { external_id: Some("x".to_owned()), ..billing(scope, 5, "EUR") };
    let cleo = persona::Model { external_id: Some("x".to_owned()), ..persona(scope, "cleo") };
    let purse = wallet(&ada, wallet::Chain::Base, "0x01");
    insert(
        &world,
        scope,
        [
            person.clone().into_row(),
            membership(scope, person.id).into_row(),
            launch.clone().into_row(),
            film.clone().into_row(),
            note.clone().into_row(),
            bill.clone().into_row(),
            cleo.clone().into_row(),
            purse.clone().into_row(),
        ],
    )
    .await;
    use Column::{Address, Email, ExternalId, Handle};
    assert_eq!(found::<organization::Model>(handle, &world, Handle, "own").await, Some(scope.organization_id()));
    assert_eq!(found::<user::Model>(handle, &world, Email, "a@example.org").await, Some(person.id));
    assert_eq!(found::<persona::Model>(handle, &world, Handle, "cleo").await, Some(cleo.id));
    assert_eq!(found::<persona::Model>(handle, &world, ExternalId, "x").await, Some(cleo.id));
    assert_eq!(found::<campaign::Model>(handle, &world, ExternalId, "x").await, Some(launch.id));
    assert_eq!(found::<video::Model>(handle, &world, ExternalId, "x").await, Some(film.id));
    assert_eq!(found::<post::Model>(handle, &world, ExternalId, "x").await, Some(note.id));
    assert_eq!(found::<billing_record::Model>(handle, &world, ExternalId, "x").await, Some(bill.id));
    assert_eq!(found::<wallet::Model>(handle, &world, Address, "0x01").await, Some(purse.id));
    assert_eq!(found::<post::Model>(handle, &world, ExternalId, "y").await, None);
}

pub async fn an_address_on_two_chains_finds_the_oldest_wallet(world: Relations) {
    let (ada, _) = seed(&world).await;
    let first = wallet(&ada, wallet::Chain::Ethereum, "0x01");
    let second = wallet(&ada, wallet::Chain::Base, "0x01");
    // Written the other way round: the id decides, not the order of the rows.
    insert(&world, &world.scope, [second.into_row(), first.clone().into_row()]).await;
    let rows = world.handle.find::<wallet::Model>(&world.scope, Column::Address, &["0x01".to_owned()]).await.unwrap();
    assert_eq!(rows, [Some(first)]);
}

pub async fn a_column_that_is_not_unique_is_refused(world: Relations) {
    seed(&world).await;
    let value = ["Persona ada".to_owned()];
    let error = world.handle.find::<persona::Model>(&world.scope, Column::Name, &value).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("name") && error.message().contains("Persona"), "{error}");
    // Also when the column is unique for another kind, or the batch is empty.
    let error = world.handle.find::<asset::Model>(&world.scope, Column::Id, &value).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

pub async fn a_column_that_a_kind_lacks_is_named(world: Relations) {
    seed(&world).await;
    let value = ["x".to_owned()];
    let error = world.handle.find::<asset::Model>(&world.scope, Column::ExternalId, &value).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("externalId") && error.message().contains("Asset"), "{error}");
}

pub async fn empty_unicode_and_huge_values_round_trip(world: Relations) {
    let (ada, _) = seed(&world).await;
    let odd = "naïve \u{1F600} \u{202E} e\u{301} '\"; DROP TABLE post; -- % _ \\ \n\t";
    for text in ["", " ", odd, "%", "null", "00ff"] {
        let row = post::Model {
            topics: Strings(vec![text.to_owned()]),
            url: Some(text.to_owned()),
            external_id: Some(text.to_owned()),
            ..post(&ada, text)
        };
        try_insert(&world, &world.scope, row.clone()).await.unwrap();
        let found =
            world.handle.find::<post::Model>(&world.scope, Column::ExternalId, &[text.to_owned()]).await.unwrap();
        assert_eq!(found, [Some(row)]);
    }
    let huge = post(&ada, &"\u{1F600}a".repeat(1 << 20));
    try_insert(&world, &world.scope, huge.clone()).await.unwrap();
    assert_eq!(get::<post::Model>(&world, &world.scope, huge.id).await, Some(huge));
    let bare = post::Model { topics: Strings(Vec::new()), ..post(&ada, "bare") };
    try_insert(&world, &world.scope, bare.clone()).await.unwrap();
    assert_eq!(get::<post::Model>(&world, &world.scope, bare.id).await, Some(bare));
    let numbers = asset::Model {
        metadata: serde_json::json!({"min": i64::MIN, "max": u64::MAX, "fine": 2.000000000000001, "": [[], {}]}),
        ..asset(&world.scope)
    };
    try_insert(&world, &world.scope, numbers.clone()).await.unwrap();
    assert_eq!(get::<asset::Model>(&world, &world.scope, numbers.id).await, Some(numbers));
}

pub async fn times_keep_microseconds(world: Relations) {
    let (ada, _) = seed(&world).await;
    let at = |micros| DateTime::<Utc>::from_timestamp_micros(micros).unwrap();
    for time in
        [at(0), at(1), at(-1), at(1_767_225_600_123_456), at(1_767_225_600_100_000), at(253_402_300_799_999_999)]
    {
        let row = post::Model { published_at: Some(time), created_at: time, ..post(&ada, "then") };
        try_insert(&world, &world.scope, row.clone()).await.unwrap();
        assert_eq!(get::<post::Model>(&world, &world.scope, row.id).await, Some(row));
    }
    // Finer times are cut, not rounded, so that no row seems to be made after what follows it.
    let row = post::Model { created_at: noon() + TimeDelta::nanoseconds(1_999), ..post(&ada, "fine") };
    try_insert(&world, &world.scope, row.clone()).await.unwrap();
    let stored = get::<post::Model>(&world, &world.scope, row.id).await.unwrap();
    assert_eq!(stored.created_at, noon() + TimeDelta::microseconds(1));
    let row = post::Model { published_at: Some(DateTime::<Utc>::MAX_UTC), ..post(&ada, "never") };
    let error = try_insert(&world, &world.scope, row).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("publishedAt"), "{error}");
}

pub async fn billing_is_summed_by_parent_currency_and_time(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let scope = &world.scope;
    let launch = campaign(scope, "Launch");
    let record =
        |amount, currency: &str, campaign: Option<&campaign::Model>, persona: Option<&persona::Model>, hours| {
            billing_record::Model {
                campaign_id: campaign.map(|campaign| campaign.id),
                persona_id: persona.map(|persona| persona.id),
                kind: if amount < 0 { billing_record::Kind::Credit } else { billing_record::Kind::Render },
                occurred_at: noon() + Duration::hours(hours),
                ..billing(scope, amount, currency)
            }
            .into_row()
        };
    let mut rows = vec![launch.clone().into_row()];
    rows.push(record(100, "USD", Some(&launch), Some(&ada), 0));
    rows.push(record(-30, "USD", Some(&launch), None, 1));
    rows.push(record(7, "EUR", Some(&launch), Some(&bob), 2));
    rows.push(record(1000, "USD", None, None, 3));
    rows.push(record(0, "JPY", None, Some(&ada), 4));
    insert(&world, scope, rows).await;
    let key = |parent, from: Option<i64>, to: Option<i64>| BillingKey {
        parent,
        from: from.map(|hours| noon() + Duration::hours(hours)),
        to: to.map(|hours| noon() + Duration::hours(hours)),
    };
    let keys = [
        key(Some((Column::PersonaId, ada.id)), None, None),
        key(None, None, None),
        key(Some((Column::CampaignId, launch.id)), None, None),
        key(Some((Column::CampaignId, launch.id)), Some(1), Some(2)),
        key(None, Some(3), None),
        key(Some((Column::PersonaId, Uuid::from_u128(99))), None, None),
        key(Some((Column::PersonaId, ada.id)), None, None),
        key(None, None, Some(0)),
    ];
    let total =
        |currency: &str, amount_minor, records| BillingTotal { currency: currency.to_owned(), amount_minor, records };
    let of_ada = vec![total("JPY", 0, 1), total("USD", 100, 1)];
    let expected = [
        of_ada.clone(),
        vec![total("EUR", 7, 1), total("JPY", 0, 1), total("USD", 1070, 3)],
        vec![total("EUR", 7, 1), total("USD", 70, 2)],
        vec![total("USD", -30, 1)],
        vec![total("JPY", 0, 1), total("USD", 1000, 1)],
        vec![],
        of_ada,
        vec![],
    ];
    assert_eq!(world.handle.billing_totals(scope, &keys).await.unwrap(), expected);
    // Bounds beyond what can be stored leave out nothing.
    let (from, to) = (Some(DateTime::<Utc>::MIN_UTC), Some(DateTime::<Utc>::MAX_UTC));
    let keys = [BillingKey { from, to, ..keys[0].clone() }];
    assert_eq!(world.handle.billing_totals(scope, &keys).await.unwrap(), expected[..1]);
}

pub async fn billing_is_not_summed_by_other_columns(world: Relations) {
    seed(&world).await;
    let keys = [BillingKey { parent: Some((Column::VideoId, Uuid::nil())), from: None, to: None }];
    let error = world.handle.billing_totals(&world.scope, &keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("videoId"), "{error}");
}

pub async fn live_keys_authenticate(world: Relations) {
    seed(&world).await;
    let scope = &world.scope;
    // The clock stands at midnight, twelve hours before the fixtures' noon.
    let midnight = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    let eternal = api_key(scope, "eternal");
    let viewer = api_key::Model { role: membership::Role::Viewer, ..api_key(scope, "viewer") };
    let admin = api_key::Model { role: membership::Role::Admin, ..api_key(scope, "admin") };
    let brief = api_key::Model { expires_at: Some(midnight + Duration::hours(1)), ..api_key(scope, "brief") };
    let revoked = api_key::Model { revoked_at: Some(midnight), ..api_key(scope, "revoked") };
    let rows = [&eternal, &viewer, &admin, &brief, &revoked].map(|key| key.clone().into_row());
    insert(&world, scope, rows).await;
    for (key, role) in
        [(&eternal, Role::Editor), (&viewer, Role::Viewer), (&admin, Role::Admin), (&brief, Role::Editor)]
    {
        let found = world.handle.authenticate(&key.hash).await.unwrap().unwrap();
        assert_eq!(found.organization_id(), scope.organization_id());
        assert_eq!(found.principal(), &Principal::ApiKey(key.id));
        assert_eq!(found.role(), role);
    }
    assert_eq!(world.handle.live_keys().await.unwrap(), 4);
    assert!(world.handle.authenticate("revoked").await.unwrap().is_none());
    assert!(world.handle.authenticate("unknown").await.unwrap().is_none());
    assert!(world.handle.authenticate("").await.unwrap().is_none());
    world.clock.advance(Duration::hours(1));
    assert!(world.handle.authenticate("brief").await.unwrap().is_none(), "it ends at its end");
    world.clock.advance(Duration::microseconds(-1));
    assert!(world.handle.authenticate("brief").await.unwrap().is_some(), "the clock jumped back");
}

pub async fn an_organisation_is_found_by_handle(world: Relations) {
    seed(&world).await;
    let found = world.handle.organization_by_handle("foreign").await.unwrap();
    assert_eq!(found, Some(organization(&world.foreign, "foreign")));
    assert_eq!(world.handle.organization_by_handle("nobody").await.unwrap(), None);
}

pub async fn capabilities_and_health_are_told(world: Relations) {
    let capabilities = world.handle.capabilities();
    assert!(capabilities.durable);
    assert!(capabilities.max_batch >= 100);
    assert!(!capabilities.adapter.is_empty() && !capabilities.place.is_empty());
    world.handle.health(&world.scope).await.unwrap();
}

pub async fn everything_is_there_after_a_restart(world: Relations) {
    let (ada, _) = seed(&world).await;
    let launch = campaign(&world.scope, "Launch");
    let tie = link(&launch, &ada);
    let entry = outgoing(entity::outbox_entry::Target::Search, ada.id, 1);
    insert(&world, &world.scope, [launch.clone().into_row(), tie.clone().into_row()]).await;
    let rest =
        Transaction { audit: vec![audit("createPersona", ada.id)], outbox: vec![entry], ..Transaction::default() };
    let committed = world.handle.commit(&world.scope, &rest).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(get::<persona::Model>(&world, &world.scope, ada.id).await, Some(ada));
    assert_eq!(get::<campaign_persona::Model>(&world, &world.scope, tie.id).await, Some(tie));
    assert_eq!(everything::<audit_entry::Model>(&world, &world.scope).await.len(), 1);
    let due = world.handle.outbox_due(&world.scope, entity::outbox_entry::Target::Search, 10).await.unwrap();
    assert_eq!(due.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [committed.outbox[0].0]);
}
