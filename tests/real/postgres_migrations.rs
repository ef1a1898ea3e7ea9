//! Migrations of a real database: by many replicas at once, and forwards and backwards on rows.

use crate::support::{campaign, charge, open, organization, persona, postgres, scope, write};
use chimera_stores::relational::{Column, Kind, Record, RelationalAdapter};
use futures_util::future::join_all;

const TABLES: &str = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";

#[tokio::test(flavor = "multi_thread")]
async fn many_replicas_start_at_once() {
    let Some(server) = postgres() else { return };
    let url = server.owned("replicas");
    let opened = join_all((0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { open(&url).await })
    }));
    let stores: Vec<_> = opened.await.into_iter().map(|opened| opened.unwrap().unwrap()).collect();
    let applied = server.sql("replicas", "SELECT count(*), count(DISTINCT version) FROM seaql_migrations");
    let (all, distinct) = applied.trim().split_once('|').unwrap();
    assert_eq!(all, distinct, "each was applied once");
    let own = scope(1);
    write(&stores[0], &own, vec![organization(&own, "own")]).await;
    for store in &stores {
        let found = store.find(&own, Kind::Organization, Column::Handle, &["own".to_owned()]).await.unwrap();
        assert!(found[0].is_some());
    }
}

#[tokio::test]
async fn migrations_go_down_and_up_again_on_rows() {
    let Some(server) = postgres() else { return };
    let url = server.owned("moving");
    let store = open(&url).await.unwrap();
    let own = scope(1);
    let launch = campaign(&own, 100);
    let mut rows = vec![organization(&own, "own"), launch.clone().into_row()];
    rows.extend((0..200).map(|number| persona(&own, &format!("p{number}"))));
    rows.push(charge(&launch, 50).into_row());
    write(&store, &own, rows).await;
    let (all, policies) = (server.sql("moving", TABLES), "SELECT count(*) FROM pg_policies");
    let walls = server.sql("moving", policies);
    assert_ne!(walls.trim(), "0");
    let steps: u32 = server.sql("moving", "SELECT count(*) FROM seaql_migrations").trim().parse().unwrap();
    // Down to the oldest schema one step at a time, each on what is left of the rows.
    for left in (1..steps).rev() {
        store.rollback(1).await.unwrap();
        assert_eq!(server.sql("moving", "SELECT count(*) FROM seaql_migrations").trim(), left.to_string());
        assert_eq!(server.sql("moving", "SELECT handle FROM organization").trim(), "own", "what is older stays");
    }
    assert_eq!(server.sql("moving", policies).trim(), "0");
    store.migrate().await.unwrap();
    assert_eq!(server.sql("moving", TABLES), all);
    assert_eq!(server.sql("moving", policies), walls);
    store.migrate().await.unwrap();
    // As it is, and back from nothing.
    write(&store, &own, vec![persona(&own, "ada")]).await;
    let found = store.find(&own, Kind::Persona, Column::Handle, &["ada".to_owned()]).await.unwrap();
    assert!(found[0].is_some());
    store.rollback(steps).await.unwrap();
    assert_eq!(server.sql("moving", TABLES).trim(), "seaql_migrations");
    let store = open(&url).await.unwrap();
    assert_eq!(server.sql("moving", TABLES), all);
    write(&store, &own, vec![organization(&own, "own")]).await;
}

/// Deleting an organisation looks for what refers to it in every one of these tables.
#[tokio::test]
async fn every_reference_to_an_organisation_has_an_index() {
    let Some(server) = postgres() else { return };
    open(&server.owned("references")).await.unwrap();
    let references = "FROM pg_constraint AS c WHERE c.contype = 'f' AND c.confrelid = 'organization'::regclass";
    let all = server.sql("references", &format!("SELECT count(*) {references}"));
    assert!(all.trim().parse::<u32>().unwrap() > 10, "{all}");
    let bare = format!(
        "SELECT c.conrelid::regclass {references} AND NOT EXISTS (SELECT FROM pg_index AS i \
         WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1] AND i.indpred IS NULL)"
    );
    assert_eq!(server.sql("references", &bare).trim(), "");
}

/// The rows of the tables that the newest migrations leave alone are the same after a step back and forth.
#[tokio::test]
async fn the_newest_steps_keep_every_row() {
    let Some(server) = postgres() else { return };
    let store = open(&server.owned("kept")).await.unwrap();
    let own = scope(1);
    let launch = campaign(&own, 100);
    let rows = vec![organization(&own, "own"), launch.clone().into_row(), charge(&launch, 50).into_row()];
    write(&store, &own, rows).await;
    let digest = "SELECT (SELECT md5(string_agg(c::text, ',')) FROM campaign c) \
                  || (SELECT md5(string_agg(b::text, ',')) FROM billing_record b) \
                  || (SELECT md5(string_agg(a::text, ',' ORDER BY a.id)) FROM audit_entry a)";
    let before = server.sql("kept", digest);
    assert_eq!(before.trim().len(), 96);
    store.rollback(3).await.unwrap();
    assert_eq!(server.sql("kept", digest), before);
    store.migrate().await.unwrap();
    assert_eq!(server.sql("kept", digest), before);
}
