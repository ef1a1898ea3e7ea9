//! What stands in the way of opening a PostgreSQL database is said in words, with advice, and without a password.

use crate::support::{lock, open, organization, postgres, scope, write};
use chimera_stores::{ErrorKind, relational::RelationalAdapter};
use test_servers::OWNER;

#[tokio::test]
async fn what_stands_in_the_way_is_told() {
    let Some(server) = postgres() else { return };
    lock(&server);
    let port = server.port();
    server.owned("good");
    server.sql("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0; ");
    server.sql("postgres", "CREATE DATABASE closed");
    server.sql("postgres", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC");
    server.create("foreign");
    server.owned("reading");
    server.sql("postgres", "ALTER DATABASE reading SET default_transaction_read_only TO on");
    // The reload of the rules is not waited for by the server.
    let locked = format!("postgres://locked:wrong@127.0.0.1:{port}/good");
    while open(&locked).await.is_err_and(|error| !error.message().contains("password")) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let cases = [
        (locked, ErrorKind::Unavailable, "password of the user locked is wrong", "percent-encoded"),
        (format!("postgres://barred@127.0.0.1:{port}/good"), ErrorKind::Unavailable, "barred in", "pg_hba.conf"),
        (format!("postgres://nobody@127.0.0.1:{port}/good"), ErrorKind::Unavailable, "nobody in", "role exists"),
        (
            format!("postgres://{OWNER}@127.0.0.1:{port}/gone"),
            ErrorKind::Unavailable,
            "no such database",
            "CREATE DATABASE",
        ),
        (
            format!("postgres://{OWNER}@127.0.0.1:{port}/closed"),
            ErrorKind::Unavailable,
            "may not connect",
            "GRANT CONNECT",
        ),
        (
            format!("postgres://{OWNER}@127.0.0.1:{port}/foreign"),
            ErrorKind::Unavailable,
            "may not create",
            "GRANT CREATE",
        ),
        (format!("postgres://{OWNER}@127.0.0.1:{port}/reading"), ErrorKind::Unavailable, "only reads", "primary"),
        (format!("postgres://app@127.0.0.1:{port}/latin"), ErrorKind::Unsupported, "LATIN1", "UTF8"),
        (
            "postgres://app:secret@127.0.0.1:1/good".to_owned(),
            ErrorKind::Unavailable,
            "cannot be reached",
            "host and port",
        ),
        (
            "postgres://app:secret@no.such.host.invalid/good".to_owned(),
            ErrorKind::Unavailable,
            "cannot be reached",
            "host",
        ),
        ("postgres://app:secret@:x/good".to_owned(), ErrorKind::Invalid, "not the URL", "percent-encoded"),
    ];
    for (url, kind, words, advice) in cases {
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error:?}");
        assert!(error.message().contains(words), "{url}: {error}");
        assert!(error.advice().unwrap().contains(advice), "{url}: {:?}", error.advice());
        let shown = format!("{error} {:?}", error.advice());
        assert!(!shown.contains("secret") && !shown.contains(":wrong"), "{shown}");
    }
    open(&format!("postgres://locked:right@127.0.0.1:{port}/good")).await.unwrap_err();
    server.sql("good", "GRANT CREATE ON SCHEMA public TO locked");
    let error = open(&format!("postgres://locked:right@127.0.0.1:{port}/good")).await.unwrap_err();
    assert!(error.message().contains("extension"), "{error:?}");
    assert!(error.advice().unwrap().contains("CREATE EXTENSION btree_gist"), "{error:?}");
    server.sql("good", "CREATE EXTENSION btree_gist");
    open(&format!("postgres://locked:right@127.0.0.1:{port}/good")).await.unwrap();
}

/// A role that may only use the tables runs on a schema that another role keeps up to date.
#[tokio::test]
async fn a_role_without_the_right_to_migrate_runs_on_a_current_schema() {
    let Some(server) = postgres() else { return };
    open(&server.owned("shared")).await.unwrap();
    server.sql(
        "shared",
        "CREATE ROLE user_only LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO user_only; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO user_only; REVOKE UPDATE, DELETE ON audit_entry FROM user_only",
    );
    let store = open(&format!("postgres://user_only@127.0.0.1:{}/shared", server.port())).await.unwrap();
    let own = scope(1);
    write(&store, &own, vec![organization(&own, "own")]).await;
    assert!(store.capabilities().row_level_security);
    store.health().await.unwrap();
}

#[tokio::test]
async fn findings_tell_what_an_operator_should_know() {
    let Some(server) = postgres() else { return };
    let told = async |url: &str| {
        let store = open(url).await.unwrap();
        let findings = store.findings().await.unwrap();
        (store.capabilities().row_level_security, findings.into_iter().map(|it| it.message).collect::<Vec<_>>())
    };
    // The servers of the tests run with `fsync=off`.
    let (walled, findings) = told(&server.owned("found")).await;
    assert!(walled);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("lose acknowledged writes"), "{findings:?}");
    let (walled, findings) = told(&server.url("found")).await;
    assert!(!walled);
    assert!(findings.iter().any(|finding| finding.contains("superuser")), "{findings:?}");
}
