//! The audit log, which the database keeps from everybody.

use crate::support::{open, organization, persona, postgres, scope, write};
use chimera_stores::{
    ErrorKind,
    relational::{Change, Kind, RelationalAdapter, Transaction},
};

#[tokio::test]
async fn not_even_its_owner_changes_the_audit_log() {
    let Some(server) = postgres() else { return };
    let url = server.owned("audited");
    let store = open(&url).await.unwrap();
    let own = scope(1);
    write(&store, &own, vec![organization(&own, "own"), persona(&own, "ada")]).await;
    let see_all = "SET chimera.system TO 'on';";
    for sql in ["UPDATE audit_entry SET actor = 'somebody else'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"] {
        // The role of the program lacks the grant; a superuser, who needs none, meets the trigger.
        let said = server.refusal(&url, &format!("{see_all} {sql}"));
        assert!(said.contains("permission denied"), "{sql}: {said}");
        let said = server.refusal(&server.url("audited"), sql);
        assert!(said.contains("append-only"), "{sql}: {said}");
    }
    // The one column that may be named for the sake of foreign keys is behind the trigger.
    let said = server.refusal(&url, &format!("{see_all} UPDATE audit_entry SET id = gen_random_uuid()"));
    assert!(said.contains("append-only"), "{said}");
    assert_eq!(server.sql("audited", "SELECT count(*) FROM audit_entry").trim(), "2");
    // A row that the log refers to is refused in words, not for want of a grant.
    let delete = Transaction {
        changes: vec![Change::Delete(Kind::Organization, own.organization_id())],
        ..Transaction::default()
    };
    let error = store.commit(&own, &delete).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
}
