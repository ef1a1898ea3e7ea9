//! Organisations do not see, change or refer to each other's rows.

use super::fixtures::*;
use chimera_stores::{
    ErrorKind,
    relational::{BillingKey, Change, Column, Edge, Record, Row, Transaction},
};
use entity::{
    api_key, asset, audit_entry, billing_record, campaign, campaign_persona, membership, organization, persona, post,
    user, video, wallet,
};
use uuid::Uuid;

/// A row of each kind in the world's own organisation.
async fn one_of_each(world: &Relations) -> Vec<Row> {
    let (ada, _) = seed(world).await;
    let scope = &world.scope;
    let person = user("a@example.org");
    let launch = campaign::Model { external_id: Some("x".to_owned()), ..campaign(scope, "Launch") };
    let film = video(&ada, "Film");
    let rows = vec![
        person.clone().into_row(),
        membership(scope, person.id).into_row(),
        api_key(scope, "hash").into_row(),
        asset(scope).into_row(),
        launch.clone().into_row(),
        link(&launch, &ada).into_row(),
        film.clone().into_row(),
        post(&ada, "Look").into_row(),
        wallet(&ada, wallet::Chain::Base, "0x01").into_row(),
        billing_record::Model { campaign_id: Some(launch.id), ..billing(scope, 5, "EUR") }.into_row(),
    ];
    insert(world, scope, rows.clone()).await;
    let told = Transaction { audit: vec![audit("createPersona", ada.id)], ..Transaction::default() };
    world.handle.commit(scope, &told).await.unwrap();
    let audited = everything::<audit_entry::Model>(world, scope).await.remove(0);
    rows.into_iter().chain([organization(scope, "own").into_row(), ada.into_row(), audited.into_row()]).collect()
}

/// By id and as a list, to both organisations.
async fn seen<R: Record>(world: &Relations, rows: &[Row]) {
    let ids: Vec<_> = rows.iter().filter_map(|row| R::from_row(row.clone())).map(|row| row.id()).collect();
    assert!(!ids.is_empty(), "{} is not covered", R::KIND.name());
    let (own, foreign) = (&world.scope, &world.foreign);
    assert!(world.handle.get::<R>(own, &ids).await.unwrap().iter().all(Option::is_some), "{}", R::KIND.name());
    assert!(world.handle.get::<R>(foreign, &ids).await.unwrap().iter().all(Option::is_none), "{}", R::KIND.name());
    let mut query = list::<R>(None);
    query.total = true;
    for (scope, shown) in [(own, true), (foreign, false)] {
        let page = world.handle.pages::<R>(scope, &query, &[Uuid::nil()]).await.unwrap().remove(0);
        assert_eq!(page.items.iter().any(|row| ids.contains(&row.id())), shown, "{}", R::KIND.name());
        assert_eq!(page.total, Some(page.items.len() as u64), "{}", R::KIND.name());
    }
}

pub async fn another_organisation_reads_nothing(world: Relations) {
    let rows = one_of_each(&world).await;
    seen::<organization::Model>(&world, &rows).await;
    seen::<user::Model>(&world, &rows).await;
    seen::<membership::Model>(&world, &rows).await;
    seen::<api_key::Model>(&world, &rows).await;
    seen::<asset::Model>(&world, &rows).await;
    seen::<persona::Model>(&world, &rows).await;
    seen::<campaign::Model>(&world, &rows).await;
    seen::<campaign_persona::Model>(&world, &rows).await;
    seen::<video::Model>(&world, &rows).await;
    seen::<post::Model>(&world, &rows).await;
    seen::<wallet::Model>(&world, &rows).await;
    seen::<billing_record::Model>(&world, &rows).await;
    seen::<audit_entry::Model>(&world, &rows).await;

    let (handle, foreign) = (&world.handle, &world.foreign);
    let find = |value: &str| vec![value.to_owned()];
    assert_eq!(handle.find::<organization::Model>(foreign, Column::Handle, &find("own")).await.unwrap(), [None]);
    assert_eq!(handle.find::<persona::Model>(foreign, Column::Handle, &find("ada")).await.unwrap(), [None]);
    assert_eq!(handle.find::<user::Model>(foreign, Column::Email, &find("a@example.org")).await.unwrap(), [None]);
    assert_eq!(handle.find::<campaign::Model>(foreign, Column::ExternalId, &find("x")).await.unwrap(), [None]);
    assert_eq!(handle.find::<wallet::Model>(foreign, Column::Address, &find("0x01")).await.unwrap(), [None]);

    let own = |kind| rows.iter().find(|row| row.kind() == kind).unwrap().id();
    let (ada, launch) = (own(persona::Model::KIND), own(campaign::Model::KIND));
    let posts = list::<post::Model>(Some(Edge::Column(Column::PersonaId)));
    assert!(handle.pages::<post::Model>(foreign, &posts, &[ada]).await.unwrap()[0].items.is_empty());
    let personas = list::<persona::Model>(Some(Edge::CampaignPersona));
    assert_eq!(handle.pages::<persona::Model>(&world.scope, &personas, &[launch]).await.unwrap()[0].items.len(), 1);
    assert!(handle.pages::<persona::Model>(foreign, &personas, &[launch]).await.unwrap()[0].items.is_empty());
    for parent in [None, Some((Column::CampaignId, launch))] {
        let key = [BillingKey { parent, from: None, to: None }];
        assert_eq!(handle.billing_totals(&world.scope, &key).await.unwrap()[0].len(), 1);
        assert!(handle.billing_totals(foreign, &key).await.unwrap()[0].is_empty());
    }
}

pub async fn another_organisation_changes_nothing(world: Relations) {
    let rows = one_of_each(&world).await;
    let foreign = &world.foreign;
    for row in rows.iter().filter(|row| row.kind() != audit_entry::Model::KIND) {
        let error = commit(&world, foreign, vec![Change::Delete(row.kind(), row.id())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let absent = commit(&world, foreign, vec![Change::Delete(row.kind(), Uuid::from_u128(99))]).await.unwrap_err();
        assert_eq!(error.message(), absent.message(), "a foreign row behaves as an absent one");
    }
    // An update must carry the writer's own organisation, and then it finds no such row.
    let Some(Row::Persona(ada)) = rows.iter().find(|row| row.kind() == persona::Model::KIND).cloned() else {
        panic!("no persona");
    };
    let stolen = persona::Model { organization_id: foreign.organization_id(), version: 2, ..ada.clone() };
    let error = commit(&world, foreign, vec![Change::Update(stolen.into_row())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let Some(Row::User(person)) = rows.iter().find(|row| row.kind() == user::Model::KIND).cloned() else {
        panic!("no user");
    };
    let renamed = user::Model { name: "Mallory".to_owned(), version: 2, ..person.clone() };
    let error = commit(&world, foreign, vec![Change::Update(renamed.clone().into_row())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    commit(&world, &world.scope, vec![Change::Update(renamed.clone().into_row())]).await.unwrap();
    assert_eq!(get::<persona::Model>(&world, &world.scope, ada.id).await, Some(ada));
    assert_eq!(get::<user::Model>(&world, &world.scope, person.id).await, Some(renamed));
}

pub async fn another_organisation_is_not_referred_to(world: Relations) {
    let (ada, _) = seed(&world).await;
    let picture = asset(&world.scope);
    let launch = campaign(&world.scope, "Launch");
    let film = video(&ada, "Film");
    insert(&world, &world.scope, [picture.clone().into_row(), launch.clone().into_row(), film.clone().into_row()])
        .await;
    let foreign = &world.foreign;
    let eve = persona(foreign, "eve");
    insert(&world, foreign, [eve.clone().into_row()]).await;
    let organization_id = foreign.organization_id();
    let borrowed: Vec<(&str, Row)> = vec![
        ("personaId", post::Model { organization_id, ..post(&ada, "Look") }.into_row()),
        ("campaignId", post::Model { campaign_id: Some(launch.id), ..post(&eve, "Look") }.into_row()),
        ("videoId", post::Model { video_id: Some(film.id), ..post(&eve, "Look") }.into_row()),
        ("assetId", video::Model { asset_id: Some(picture.id), ..video(&eve, "Film") }.into_row()),
        ("thumbnailAssetId", video::Model { thumbnail_asset_id: Some(picture.id), ..video(&eve, "Film") }.into_row()),
        ("avatarAssetId", persona::Model { avatar_asset_id: Some(picture.id), ..persona(foreign, "eva") }.into_row()),
        ("sourceAssetId", asset::Model { source_asset_id: Some(picture.id), ..asset(foreign) }.into_row()),
        ("campaignId", campaign_persona::Model { organization_id, ..link(&launch, &eve) }.into_row()),
        ("personaId", wallet::Model { organization_id, ..wallet(&ada, wallet::Chain::Base, "0x02") }.into_row()),
        ("campaignId", billing_record::Model { campaign_id: Some(launch.id), ..billing(foreign, 1, "EUR") }.into_row()),
        ("personaId", billing_record::Model { persona_id: Some(ada.id), ..billing(foreign, 1, "EUR") }.into_row()),
    ];
    for (column, row) in borrowed {
        let error = commit(&world, foreign, vec![Change::Insert(row.clone())]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{row:?}");
        assert!(error.message().starts_with(column), "{column}: {error}");
    }
    let moved = persona::Model { avatar_asset_id: Some(picture.id), version: 2, ..eve.clone() };
    let error = commit(&world, foreign, vec![Change::Update(moved.into_row())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(get::<persona::Model>(&world, foreign, eve.id).await, Some(eve));
}

pub async fn rows_of_another_organisation_are_not_written(world: Relations) {
    seed(&world).await;
    for change in [
        Change::Insert(persona(&world.scope, "eve").into_row()),
        Change::Insert(organization(&world.scope, "third").into_row()),
        Change::Update(persona::Model { version: 2, ..persona(&world.scope, "eve") }.into_row()),
    ] {
        let error = commit(&world, &world.foreign, vec![change]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert_eq!(everything::<persona::Model>(&world, &world.scope).await.len(), 2);
}

pub async fn users_are_seen_by_their_organisations(world: Relations) {
    seed(&world).await;
    let (both, own, nobody) = (user("both@example.org"), user("own@example.org"), user("nobody@example.org"));
    insert(&world, &world.scope, [&both, &own, &nobody].map(|person| person.clone().into_row())).await;
    insert(&world, &world.scope, [&both, &own].map(|person| membership(&world.scope, person.id).into_row())).await;
    insert(&world, &world.foreign, [membership(&world.foreign, both.id).into_row()]).await;
    let keys = [both.id, own.id, nobody.id];
    let seen = world.handle.get::<user::Model>(&world.scope, &keys).await.unwrap();
    assert_eq!(seen, [Some(both.clone()), Some(own.clone()), None]);
    let seen = world.handle.get::<user::Model>(&world.foreign, &keys).await.unwrap();
    assert_eq!(seen, [Some(both.clone()), None, None]);
    assert_eq!(ids(&everything::<user::Model>(&world, &world.scope).await), [both.id, own.id]);
    assert_eq!(ids(&everything::<user::Model>(&world, &world.foreign).await), [both.id]);
}

pub async fn the_same_handle_serves_two_organisations(world: Relations) {
    let (ada, _) = seed(&world).await;
    let other = persona::Model { external_id: Some("x".to_owned()), ..persona(&world.foreign, "ada") };
    try_insert(&world, &world.foreign, other.clone()).await.unwrap();
    let handles = ["ada".to_owned()];
    let found = world.handle.find::<persona::Model>(&world.scope, Column::Handle, &handles).await.unwrap();
    assert_eq!(found, [Some(ada)]);
    let found = world.handle.find::<persona::Model>(&world.foreign, Column::Handle, &handles).await.unwrap();
    assert_eq!(found, [Some(other)]);
}
