//! A server that goes away and comes back: no restart of ours, and no caller who pays for the connections it cut.

use crate::support::{open, organization, persona, postgres, scope, write};
use chimera_stores::{
    ErrorKind,
    relational::{Column, Kind, RelationalAdapter},
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
