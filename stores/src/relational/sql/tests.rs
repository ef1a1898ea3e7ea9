//! What the contract cannot see through the port: the file, the schema, the statements, and a process that is killed.

use super::*;
use crate::{
    Slice, SystemClock,
    relational::{Audit, Change, Edge, Order, Outgoing, Record, SpendGroup},
};
use chrono::{DateTime, Utc};
use entity::persona;
use parking_lot::Mutex;
use sea_orm::{DbBackend, Iterable, sea_query::SelectStatement};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

async fn open(path: &Path) -> Result<SqlRelational> {
    SqlRelational::open_sqlite(path, Arc::new(SystemClock)).await
}

async fn fresh() -> (tempfile::TempDir, PathBuf, SqlRelational) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relational.sqlite");
    let store = open(&path).await.unwrap();
    (folder, path, store)
}

async fn close(store: SqlRelational) {
    store.reader.close().await.unwrap();
    store.writer.close().await.unwrap();
}

async fn raw(store: &SqlRelational, sql: &str) -> Result<u64, sea_orm::DbErr> {
    store.writer.execute_unprepared(sql).await.map(|done| done.rows_affected())
}

async fn texts(store: &SqlRelational, sql: &str) -> Vec<String> {
    let rows = store.writer.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn own_organization() -> organization::Model {
    organization::Model {
        id: scope().organization_id(),
        handle: "own".to_owned(),
        name: "Own".to_owned(),
        created_at: time(),
        updated_at: time(),
        version: 1,
    }
}

fn new_persona(handle: &str) -> persona::Model {
    persona::Model {
        id: Uuid::now_v7(),
        organization_id: scope().organization_id(),
        external_id: None,
        handle: handle.to_owned(),
        name: "x".repeat(500),
        status: persona::Status::Active,
        avatar_asset_id: None,
        created_at: time(),
        updated_at: time(),
        version: 1,
    }
}

/// A row, an audit entry and an outbox entry.
fn whole(row: impl Record) -> Transaction {
    let id = row.id();
    let told = Audit {
        action: "create",
        entity_type: "Row",
        entity_id: id,
        request_id: None,
        before_hash: None,
        after_hash: None,
    };
    let body = serde_json::json!({});
    let sent = Outgoing { target: outbox_entry::Target::Search, entity_id: id, entity_version: 1, body };
    Transaction { changes: vec![Change::Insert(row.into_row())], audit: vec![told], outbox: vec![sent] }
}

async fn write(store: &SqlRelational, row: impl Record) {
    store.commit(&scope(), &whole(row)).await.unwrap();
}

#[tokio::test]
async fn the_database_refuses_to_change_or_delete_audit_entries() {
    let (_folder, _, store) = fresh().await;
    write(&store, own_organization()).await;
    for sql in [
        "UPDATE audit_entry SET actor = 'somebody else'",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_entry WHERE actor = 'system'",
    ] {
        let error = raw(&store, sql).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    assert_eq!(texts(&store, "SELECT actor FROM audit_entry").await, ["system"]);
}

#[tokio::test]
async fn migrations_go_up_and_down_and_up_again_on_data() {
    let (_folder, path, store) = fresh().await;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let all = texts(&store, tables).await;
    assert_eq!(all.len(), Kind::ALL.len() + 2, "every kind, the outbox and the list of migrations: {all:?}");
    write(&store, own_organization()).await;
    write(&store, new_persona("ada")).await;
    // One step at a time, each on what is left of the data.
    let steps = u32::try_from(Migrator::migrations().len()).unwrap();
    for _ in 0..3 {
        store.rollback(1).await.unwrap();
    }
    assert_eq!(texts(&store, "SELECT handle FROM persona").await, ["ada"], "what is older stays");
    store.migrate().await.unwrap();
    assert_eq!(texts(&store, tables).await, all);
    write(&store, new_persona("bob")).await;
    assert_eq!(texts(&store, "SELECT handle FROM persona ORDER BY id").await, ["ada", "bob"]);
    store.rollback(steps).await.unwrap();
    assert_eq!(texts(&store, tables).await, ["seaql_migrations"]);
    close(store).await;
    let store = open(&path).await.unwrap();
    assert_eq!(texts(&store, tables).await, all);
    write(&store, own_organization()).await;
    store.migrate().await.unwrap();
}

#[tokio::test]
async fn the_schema_has_the_columns_of_the_entities() {
    async fn check<E: EntityTrait>(store: &SqlRelational) {
        let table = E::default().table_name();
        let expected: Vec<_> = E::Column::iter()
            .map(|column| format!("{} {}", sea_orm::IdenStatic::as_str(&column), !column.def().is_null()))
            .collect();
        let sql = format!("SELECT name || iif(\"notnull\", ' true', ' false') FROM pragma_table_info('{table}')");
        let mut stored = texts(store, &sql).await;
        let mut expected = expected;
        stored.sort();
        expected.sort();
        assert_eq!(stored, expected, "{table}");
    }
    let (_folder, _, store) = fresh().await;
    for kind in Kind::ALL {
        for_kind!(*kind, E => check::<E>(&store).await);
    }
    check::<outbox_entry::Entity>(&store).await;
}

#[tokio::test]
async fn settings_keep_what_is_acknowledged() {
    let (_folder, _, store) = fresh().await;
    assert_eq!(texts(&store, "PRAGMA journal_mode").await, ["wal"]);
    let full = "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous";
    assert_eq!(texts(&store, full).await, ["2"]);
    let keys = "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys";
    assert_eq!(texts(&store, keys).await, ["1"]);
    let error = store.reader.execute_unprepared("DELETE FROM outbox_entry").await.unwrap_err();
    assert_eq!(fault::database(error).kind(), ErrorKind::Unavailable, "a reader cannot write");
}

#[tokio::test]
async fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.sqlite");
    fs::write(&text, "this is not a database at all, only some text\n".repeat(200)).unwrap();
    let other = folder.path().join("other.sqlite");
    let connection = dialect::connect_sqlite_writer(&other).await.unwrap();
    connection.execute_unprepared("CREATE TABLE somebody_elses (id INTEGER PRIMARY KEY)").await.unwrap();
    connection.close().await.unwrap();
    for path in [text, other] {
        let before = fs::read(&path).unwrap();
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.message().starts_with(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before, "it is left alone");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let (folder, path, store) = fresh().await;
    write(&store, own_organization()).await;
    for number in 0..200 {
        store
            .commit(&scope(), &Transaction { outbox: Vec::new(), ..whole(new_persona(&format!("p{number}"))) })
            .await
            .unwrap();
    }
    close(store).await;
    let whole = fs::read(&path).unwrap();
    assert!(open(&path).await.is_ok());
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle..].fill(0xff);
        },
        |bytes| bytes[..16].fill(0),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let path = folder.path().join(format!("damaged-{number}.sqlite"));
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "damage {number}: {error:?}");
        assert!(error.message().starts_with(path.to_str().unwrap()), "{error}");
        assert!(error.message().contains("restore it from a backup"), "{error}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_opened_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing/relational.sqlite")] {
        let error = open(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("cannot be opened"), "{error}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_folder, path, store) = fresh().await;
    raw(&store, "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_future', 0)")
        .await
        .unwrap();
    close(store).await;
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("newer version"), "{error}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_corrupt() {
    let (_folder, _, store) = fresh().await;
    write(&store, own_organization()).await;
    raw(&store, "UPDATE organization SET created_at = 'the day before yesterday'").await.unwrap();
    let error = store.get(&scope(), Kind::Organization, &[scope().organization_id()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.message(), "a stored row cannot be read");
}

#[tokio::test]
async fn a_batch_is_one_statement() {
    let (_folder, _, mut store) = fresh().await;
    write(&store, own_organization()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    store.reader.set_metric_callback(move |info| log.lock().push(info.statement.sql.clone()));
    let ids: Vec<_> = (0..50).map(Uuid::from_u128).collect();
    let statements = |expected: usize| {
        let seen = std::mem::take(&mut *seen.lock());
        assert_eq!(seen.len(), expected, "{seen:?}");
        seen
    };
    store.get(&scope(), Kind::Persona, &ids).await.unwrap();
    let fifty = statements(1);
    store.get(&scope(), Kind::Persona, &ids[..1]).await.unwrap();
    assert_eq!(statements(1), fifty, "one prepared statement for every size");
    store.find(&scope(), Kind::Persona, Column::Handle, &["a".to_owned(), "b".to_owned()]).await.unwrap();
    statements(1);
    let mut query = posts_of_personas();
    store.pages(&scope(), &query, &ids).await.unwrap();
    statements(1);
    query.total = true;
    store.pages(&scope(), &query, &ids).await.unwrap();
    statements(2);
    let parents = [None, Some((Column::CampaignId, ids[1])), Some((Column::PersonaId, ids[2]))];
    let keys = parents.map(|parent| BillingKey { parent, from: None, to: Some(time()) });
    store.billing_totals(&scope(), &keys).await.unwrap();
    statements(1);
    store.spend_reports(&scope(), &spend_queries(&[SpendGroup::Day])).await.unwrap();
    let by_day = statements(1);
    store.spend_reports(&scope(), &spend_queries(&[SpendGroup::Kind, SpendGroup::Persona])).await.unwrap();
    assert_eq!(statements(1), by_day, "one prepared statement whatever it groups by");
}

/// The organisation, a campaign and a persona.
fn spend_queries(group_by: &[SpendGroup]) -> [SpendQuery; 3] {
    [None, Some((Column::CampaignId, Uuid::nil())), Some((Column::PersonaId, Uuid::nil()))].map(|parent| SpendQuery {
        parent,
        from: Some(time()),
        to: None,
        group_by: group_by.to_vec(),
        limit: 10,
    })
}

fn posts_of_personas() -> PageQuery {
    PageQuery {
        kind: Kind::Post,
        edge: Some(Edge::Column(Column::PersonaId)),
        predicates: Vec::new(),
        order: Order::default(),
        slice: Slice::first(20),
        total: false,
    }
}

async fn plan(store: &SqlRelational, statement: &SelectStatement) -> String {
    let mut explained = DbBackend::Sqlite.build(statement);
    explained.sql = format!("EXPLAIN QUERY PLAN {}", explained.sql);
    let rows = store.reader.query_all_raw(explained).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    steps.join("\n")
}

/// A page of the newest rows of a parent must walk an index as far as its limit: no sorting of all the parent's rows,
/// and no scan of the table.
#[tokio::test]
async fn pages_walk_an_index() {
    let (_folder, _, store) = fresh().await;
    let edges = [
        (Kind::Post, Some(Edge::Column(Column::PersonaId))),
        (Kind::Post, Some(Edge::Column(Column::CampaignId))),
        (Kind::Post, None),
        (Kind::Video, Some(Edge::Column(Column::PersonaId))),
        (Kind::Wallet, Some(Edge::Column(Column::PersonaId))),
        (Kind::Asset, Some(Edge::Column(Column::SourceAssetId))),
        (Kind::BillingRecord, Some(Edge::Column(Column::CampaignId))),
        (Kind::AuditEntry, Some(Edge::Column(Column::EntityId))),
        (Kind::AuditEntry, None),
        (Kind::Persona, None),
        (Kind::Campaign, None),
    ];
    for (kind, edge) in edges {
        let query = PageQuery { kind, edge, ..posts_of_personas() };
        let organization = scope().organization_id();
        let statement = for_kind!(kind, E => {
            read::pages_statement::<E>(DbBackend::Sqlite, organization, &query, &[Uuid::nil()])
        });
        let plan = plan(&store, &statement.unwrap()).await;
        let (outer, inner) = plan.split_once("LIST SUBQUERY").expect(&plan);
        assert!(outer.starts_with("SCAN list VIRTUAL TABLE"), "the parents lead: {kind:?} {edge:?}\n{plan}");
        assert!(inner.contains("SEARCH c USING"), "{kind:?} {edge:?}\n{plan}");
        // The one sort left is that of the pages themselves, after the inner query.
        assert!(!plan.contains("SCAN t") && !plan.contains("SCAN c"), "{kind:?} {edge:?}\n{plan}");
        assert!(plan.matches("USE TEMP B-TREE").count() <= 1, "{kind:?} {edge:?}\n{plan}");
    }
}

#[tokio::test]
async fn rows_by_key_and_sums_use_indexes() {
    let (_folder, _, store) = fresh().await;
    let parents = [Some((Column::CampaignId, Uuid::nil())), Some((Column::PersonaId, Uuid::nil())), None];
    let keys = parents.map(|parent| BillingKey { parent, from: Some(time()), to: None });
    let statement = read::billing_statement(DbBackend::Sqlite, scope().organization_id(), &keys).unwrap().unwrap();
    let sums = plan(&store, &statement).await;
    for by in ["organization_id=?", "organization_id=? AND campaign_id=?", "organization_id=? AND persona_id=?"] {
        assert!(sums.contains(&format!("({by} AND occurred_at>? AND occurred_at<?)")), "{sums}");
    }
    let reports = spend_queries(&[SpendGroup::Campaign, SpendGroup::Month]);
    let statement = report::statement(DbBackend::Sqlite, scope().organization_id(), &reports).unwrap();
    let reports = plan(&store, &statement).await;
    for by in ["organization_id=?", "organization_id=? AND campaign_id=?", "organization_id=? AND persona_id=?"] {
        assert!(reports.contains(&format!("({by} AND occurred_at>? AND occurred_at<?)")), "{reports}");
    }
    let (organization, key) = (scope().organization_id(), serde_json::json!("00"));
    for kind in Kind::ALL {
        for column in [Column::Id, Column::Handle, Column::ExternalId, Column::Email, Column::Address] {
            let statement = for_kind!(*kind, E => column::Typed::<E>::new(column).map(|typed| {
                read::by_key_statement(DbBackend::Sqlite, organization, &typed, vec![key.clone()])
            }));
            let Ok(statement) = statement else {
                continue;
            };
            let plan = plan(&store, &statement).await;
            let (first, rest) = plan.split_once('\n').unwrap();
            assert!(first.starts_with("SCAN list VIRTUAL TABLE"), "the keys lead: {kind:?} {column:?}\n{plan}");
            assert!(rest.contains("SEARCH t USING"), "{kind:?} {column:?}\n{plan}");
        }
    }
}

/// The same questions in the other dialect. The contract suite runs them; here the shapes are held.
#[test]
fn the_other_dialect_asks_once_per_batch_too() {
    let organization = scope().organization_id();
    let sql = |statement: &SelectStatement| DbBackend::Postgres.build(statement).sql;
    let parents = [Uuid::nil(), Uuid::from_u128(9)];
    type Posts = entity::post::Entity;
    let pages = read::pages_statement::<Posts>(DbBackend::Postgres, organization, &posts_of_personas(), &parents);
    let pages = sql(&pages.unwrap());
    assert!(pages.contains("INNER JOIN LATERAL (SELECT"), "{pages}");
    let keys = r#"(SELECT unnest(CAST($1 AS uuid[])) AS "key", unnest(CAST($2 AS bigint[])) AS "ordinal") AS "k""#;
    assert!(pages.contains(keys), "{pages}");
    let keys = [BillingKey { parent: None, from: None, to: None }];
    let billing = sql(&read::billing_statement(DbBackend::Postgres, organization, &keys).unwrap().unwrap());
    assert!(billing.contains(r#"unnest(CAST($3 AS timestamptz[])) AS "from_time""#), "{billing}");
    assert!(billing.contains("INNER JOIN LATERAL (SELECT"), "{billing}");
}

const CRASH_CHILD: &str = "CHIMERA_TEST_RELATIONAL_CRASH";

/// Not a test of its own: the process that [`what_was_acknowledged_survives_a_kill`] starts and kills.
#[tokio::test]
#[ignore = "run by another test, which kills it"]
async fn write_until_killed() {
    let Some(path) = std::env::var_os(CRASH_CHILD) else {
        return;
    };
    let store = open(Path::new(&path)).await.unwrap();
    for number in 0.. {
        let handle = format!("{}-{number}", std::process::id());
        write(&store, new_persona(&handle)).await;
        let mut out = std::io::stdout().lock();
        writeln!(out, " acknowledged {handle}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let (_folder, path, store) = fresh().await;
    write(&store, own_organization()).await;
    close(store).await;
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["relational::sql::tests::write_until_killed", "--exact", "--ignored", "--nocapture"])
            .env(CRASH_CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = rand::random_range(1..60);
        let mut seen = 0;
        while seen < enough {
            let line = lines.next().expect("the child writes until it is killed").unwrap();
            if let Some((_, handle)) = line.split_once(" acknowledged ") {
                acknowledged.push(handle.to_owned());
                seen += 1;
            }
        }
        // SIGKILL, most likely in the middle of a transaction.
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            acknowledged.extend(line.split_once(" acknowledged ").map(|(_, handle)| handle.to_owned()));
        }
    }
    let store = open(&path).await.unwrap();
    let found = store.find(&scope(), Kind::Persona, Column::Handle, &acknowledged).await.unwrap();
    assert!(found.iter().all(Option::is_some), "{} of {}", found.iter().flatten().count(), found.len());
    let count = async |sql| texts(&store, sql).await.remove(0);
    let personas: usize = count("SELECT CAST(COUNT(*) AS TEXT) FROM persona").await.parse().unwrap();
    assert!(personas >= acknowledged.len());
    for half in ["audit_entry", "outbox_entry"] {
        let sql = format!("SELECT CAST(COUNT(*) AS TEXT) FROM {half}");
        let entries: usize = texts(&store, &sql).await.remove(0).parse().unwrap();
        assert_eq!(entries, personas + 1, "{half}: one for each persona and one for the organisation");
    }
}
