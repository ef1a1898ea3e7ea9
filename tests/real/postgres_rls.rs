//! The second wall: a statement that forgets its filter finds the rows of its organisation, and none without one.

use crate::support::{open, organization, persona, postgres, scope, write};
use test_servers::Postgres;

const TABLES: &str = "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace \
                      AND c.relkind IN ('r', 'p') AND c.relname <> 'seaql_migrations'";

fn begun(server: &Postgres, url: &str, organization: u128, sql: &str) -> String {
    let id = uuid::Uuid::from_u128(organization);
    let said = server.sql_at(url, &format!("BEGIN; SET LOCAL chimera.organization TO '{id}'; {sql}; ROLLBACK"));
    said.trim().to_owned()
}

#[tokio::test]
async fn a_query_without_a_filter_returns_nothing_of_others() {
    let Some(server) = postgres() else { return };
    let url = server.owned("walled");
    let store = open(&url).await.unwrap();
    for (number, handle) in [(1, "own"), (2, "foreign")] {
        let own = scope(number);
        write(&store, &own, vec![organization(&own, handle), persona(&own, &format!("of-{handle}"))]).await;
    }
    assert_eq!(server.sql("walled", "SELECT count(*) FROM persona").trim(), "2", "a superuser sees all");
    let handles = "SELECT string_agg(handle, ' ' ORDER BY handle) FROM persona";
    assert_eq!(server.sql_at(&url, handles).trim(), "", "no organisation, no rows");
    assert_eq!(begun(&server, &url, 1, handles), "of-own");
    assert_eq!(begun(&server, &url, 2, handles), "of-foreign");
    assert_eq!(begun(&server, &url, 3, handles), "");
    assert_eq!(begun(&server, &url, 1, "SELECT handle FROM organization"), "own");
    assert_eq!(begun(&server, &url, 1, "SELECT count(*) FROM audit_entry"), "2");
    // Writes that forget it change no others, and put nothing there.
    let changed =
        "WITH changed AS (UPDATE persona SET name = 'x' RETURNING handle) SELECT string_agg(handle, ' ') FROM changed";
    assert_eq!(begun(&server, &url, 1, changed), "of-own");
    let gone = "WITH gone AS (DELETE FROM persona RETURNING handle) SELECT string_agg(handle, ' ') FROM gone";
    assert_eq!(begun(&server, &url, 1, gone), "of-own");
    let (own, foreign) = (uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2));
    let moved =
        format!("BEGIN; SET LOCAL chimera.organization TO '{own}'; UPDATE persona SET organization_id = '{foreign}'");
    assert!(server.refusal(&url, &moved).contains("row-level security"));
    // After the transaction the setting is gone, and an empty one is no organisation.
    let after = format!("BEGIN; SET LOCAL chimera.organization TO '{own}'; COMMIT; {handles}");
    assert_eq!(server.sql_at(&url, &after).trim(), "");
    assert_eq!(server.sql_at(&url, &format!("SET chimera.system TO 'on'; {handles}")).trim(), "of-foreign of-own");
}

/// A table that is added without a wall is found here.
#[tokio::test]
async fn every_table_has_its_wall() {
    let Some(server) = postgres() else { return };
    open(&server.owned("walls")).await.unwrap();
    let all = server.sql("walls", TABLES);
    assert!(all.lines().count() >= 15, "{all}");
    let bare = format!(
        "{TABLES} AND NOT (c.relrowsecurity AND c.relforcerowsecurity \
         AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid))"
    );
    assert_eq!(server.sql("walls", &bare), "");
}
