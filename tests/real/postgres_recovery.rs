//! A server that goes away and comes back: no restart of ours, and no caller who pays for the connections it cut.

use crate::support::{open, organization, persona, persona_model, postgres, scope, write};
use chimera_stores::{
    ErrorKind,
    relational::{Change, Column, Kind, Record, RelationalAdapter, Row, Transaction},
};
use futures_util::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_cut_trouble_nobody() {
    let Some(mut server) = postgres() else { return };
    let store = open(&server.owned("cut")).await.unwrap();
    let own = scope(1);
    write(&store, &own, vec![organization(&own, "own"), persona(&own, "ada")]).await;
    let ask = async || store.find(&own, Kind::Persona, Column::Handle, &["ada".to_owned()]).await;
    // As many connections as the pool may have.
    let fill = async || join_all((0..64).map(|_| ask())).await;
    assert!(fill().await.iter().all(Result::is_ok));
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'chimera'";
    assert_ne!(server.sql("cut", cut).trim(), "0");
    assert!(ask().await.unwrap()[0].is_some(), "a read after an administrator cut every connection");
    assert!(fill().await.iter().all(Result::is_ok));
    server.sql("cut", cut);
    // A write goes out once, and still finds a connection that works.
    write(&store, &own, vec![persona(&own, "bob")]).await;
    assert!(fill().await.iter().all(Result::is_ok));
    server.restart();
    write(&store, &own, vec![persona(&own, "cleo")]).await;
    assert!(fill().await.iter().all(Result::is_ok));
    server.kill();
    let error = ask().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.restart();
    assert!(ask().await.unwrap()[0].is_some());
    assert!(fill().await.iter().all(Result::is_ok));
}

/// Another release that is rolled out beside this one migrates while this one runs: what the server has planned for our
/// connections no longer fits the tables.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_somebody_else_changes_trouble_nobody() {
    let Some(server) = postgres() else { return };
    let store = open(&server.owned("changed")).await.unwrap();
    let own = scope(1);
    let mut ada = persona_model(&own, "ada");
    write(&store, &own, vec![organization(&own, "own"), ada.clone().into_row()]).await;
    let ask = async || store.find(&own, Kind::Persona, Column::Handle, &["ada".to_owned()]).await;
    let fill = async || join_all((0..64).map(|_| ask())).await;
    let mut rename = async |name: &str| {
        (ada.name, ada.version) = (name.to_owned(), ada.version + 1);
        let changes = vec![Change::Update(ada.clone().into_row())];
        store.commit(&own, &Transaction { changes, ..Transaction::default() }).await
    };
    rename("first").await.unwrap();
    let none: Vec<chimera_stores::StoreError> = Vec::new();
    for (number, change) in [
        "ALTER TABLE persona ADD COLUMN nickname varchar NULL",
        "ALTER TABLE persona ALTER COLUMN name TYPE text, ALTER COLUMN handle TYPE text",
        "ALTER TABLE persona ALTER COLUMN name TYPE varchar, ALTER COLUMN handle TYPE varchar",
        "ALTER TABLE persona DROP COLUMN nickname",
    ]
    .into_iter()
    .enumerate()
    {
        // Each connection of the pool has its plans.
        for _ in 0..3 {
            assert!(fill().await.iter().all(Result::is_ok));
        }
        server.sql("changed", change);
        // The first to find out is a writer here and a reader there.
        if number % 2 == 0 {
            rename(change).await.unwrap();
        }
        let failed: Vec<_> = fill().await.into_iter().filter_map(Result::err).collect();
        assert_eq!(format!("{failed:?}"), format!("{none:?}"), "{change}");
        rename(&format!("after {number}")).await.unwrap();
        let found = ask().await.unwrap();
        assert!(matches!(&found[..], [Some(Row::Persona(row))] if row.name == format!("after {number}")), "{found:?}");
    }
}
