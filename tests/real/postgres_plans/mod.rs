//! How PostgreSQL answers each question of the relational port, on 200,000 rows a table: never by reading a whole table,
//! and never by sorting more than a page.
//!
//! A list that the API offers in an order has its line in [`LISTS`]. All calls are made twice: with the plans that the
//! server makes for the values at hand, and with generic ones, which it changes to after some repeats.

mod data;
mod plan;

use chimera_stores::{
    Address, Position, Scope, Slice, SortValue, SystemClock,
    relational::{
        Audit, BillingKey, Change, Column, Edge, Kind, Order, Outgoing, PageQuery, PostgresOptions, Predicate,
        RelationalAdapter, Row, Settlement, SpendGroup, SpendQuery, SqlRelational, Transaction, Value,
    },
};
use chrono::{DateTime, TimeZone, Utc};
use data::{LARGE, PARENTS, ROWS, id};
use entity::outbox_entry::Target;
use plan::{Bounds, Log};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use test_servers::{Flavour, Postgres, have};
use uuid::Uuid;

/// Rows of a page.
const PAGE: u32 = 20;
/// Parents of a batch of pages, the one with a tenth of all children among them.
const BATCH: i64 = 25;

/// Every list of the API: what of, under which parent, and the columns it may be ordered by apart from the id.
const LISTS: &[(Kind, Option<Edge>, &[Column])] = &[
    (Kind::Membership, None, &[]),
    (Kind::ApiKey, None, &[]),
    (Kind::Persona, None, &[Column::UpdatedAt, Column::Handle, Column::Name]),
    (Kind::Campaign, None, &[Column::UpdatedAt, Column::Name]),
    (Kind::Post, None, &[Column::UpdatedAt]),
    (Kind::Video, None, &[Column::UpdatedAt, Column::Title]),
    (Kind::Asset, None, &[]),
    (Kind::Wallet, None, &[]),
    (Kind::BillingRecord, None, &[Column::OccurredAt, Column::AmountMinor]),
    (Kind::AuditEntry, None, &[]),
    (Kind::Post, Some(Edge::Column(Column::PersonaId)), &[Column::UpdatedAt]),
    (Kind::Video, Some(Edge::Column(Column::PersonaId)), &[Column::UpdatedAt, Column::Title]),
    (Kind::Wallet, Some(Edge::Column(Column::PersonaId)), &[]),
    (Kind::BillingRecord, Some(Edge::Column(Column::PersonaId)), &[Column::OccurredAt]),
    (Kind::Post, Some(Edge::Column(Column::CampaignId)), &[]),
    (Kind::Video, Some(Edge::Column(Column::CampaignId)), &[]),
    (Kind::BillingRecord, Some(Edge::Column(Column::CampaignId)), &[Column::OccurredAt, Column::AmountMinor]),
    (Kind::CampaignPersona, Some(Edge::Column(Column::CampaignId)), &[]),
    (Kind::CampaignPersona, Some(Edge::Column(Column::PersonaId)), &[]),
    (Kind::Budget, Some(Edge::Column(Column::CampaignId)), &[]),
    (Kind::Post, Some(Edge::Column(Column::VideoId)), &[]),
    (Kind::Asset, Some(Edge::Column(Column::SourceAssetId)), &[]),
    (Kind::AuditEntry, Some(Edge::Column(Column::EntityId)), &[]),
    (Kind::Persona, Some(Edge::CampaignPersona), &[]),
    // No index can hold an order of rows of one table under a parent of another: the campaigns of one persona are
    // sorted, and there are ten here.
    (Kind::Campaign, Some(Edge::CampaignPersona), &[Column::UpdatedAt, Column::Name]),
];

/// Conditions that the API puts on lists.
fn filters() -> Vec<(Kind, Vec<Predicate>)> {
    let text = |words: &[&str]| words.iter().map(|word| Value::Text((*word).to_owned())).collect::<Vec<_>>();
    let (from, to) = (Some(Value::Time(day(10))), Some(Value::Time(day(40))));
    vec![
        (Kind::Persona, vec![Predicate::In(Column::Status, text(&["ACTIVE"]))]),
        (Kind::Persona, vec![Predicate::In(Column::Handle, text(&["p2", "p4", "p6"]))]),
        (Kind::Campaign, vec![Predicate::In(Column::Status, text(&["ACTIVE", "DRAFT"]))]),
        (Kind::Campaign, vec![Predicate::Contains(Column::Name, "77".to_owned())]),
        (Kind::Post, vec![Predicate::In(Column::Status, text(&["PUBLISHED"]))]),
        (Kind::Post, vec![Predicate::In(Column::Platform, text(&["tiktok", "x"]))]),
        (Kind::Post, vec![Predicate::Range(Column::PublishedAt, from.clone(), to.clone())]),
        (Kind::Video, vec![Predicate::In(Column::Status, text(&["PUBLISHED"]))]),
        (Kind::Video, vec![Predicate::In(Column::Category, text(&["travel"]))]),
        (Kind::Video, vec![Predicate::Contains(Column::Title, "77".to_owned())]),
        (Kind::AuditEntry, vec![Predicate::In(Column::Actor, text(&["user:42"]))]),
        (Kind::AuditEntry, vec![Predicate::In(Column::Action, text(&["createPost"]))]),
        (Kind::AuditEntry, vec![Predicate::Range(Column::CreatedAt, from, to)]),
    ]
}

fn day(number: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap() + chrono::TimeDelta::days(number)
}

/// The adapter, the log of its server, and what was wrong so far.
struct Look {
    adapter: SqlRelational,
    scope: Scope,
    log: Log,
    statements: usize,
    faults: Vec<String>,
}

impl Look {
    async fn open(server: &Postgres, url: &str) -> Self {
        let patient = PostgresOptions { deadline: Duration::from_secs(60), ..PostgresOptions::default() };
        let adapter = SqlRelational::open_postgres(&Address::new(url), patient, Arc::new(SystemClock)).await.unwrap();
        let scope = Scope::system(id("organization", LARGE));
        Self { adapter, scope, log: Log::of(server), statements: 0, faults: Vec::new() }
    }

    /// Holds the plans of the call that was just made against what it may cost.
    fn check(&mut self, call: &str, bounds: Bounds) {
        let plans = self.log.plans();
        assert!(!plans.is_empty(), "no plan was logged for {call}");
        for plan in &plans {
            self.statements += 1;
            for fault in plan::faults(plan, bounds) {
                self.faults.push(format!("{call}: {fault}\n{}", plan::outline(plan)));
            }
        }
    }

    async fn keys(&mut self) {
        let bounds = Bounds { sorted: 100.0, touched: Some(450.0) };
        for kind in Kind::ALL {
            let table = table(*kind);
            let ids: Vec<Uuid> = (0..100).map(|n| if n % 3 == 0 { Uuid::now_v7() } else { id(table, n * 7) }).collect();
            self.adapter.get(&self.scope, *kind, &ids).await.unwrap();
            self.check(&format!("get {kind:?}"), bounds);
        }
        for (kind, column, prefix) in [
            (Kind::Organization, Column::Handle, "org"),
            (Kind::Persona, Column::Handle, "p"),
            (Kind::Persona, Column::ExternalId, "x"),
            (Kind::Campaign, Column::ExternalId, "x"),
            (Kind::Post, Column::ExternalId, "x"),
            (Kind::Video, Column::ExternalId, "x"),
            (Kind::BillingRecord, Column::ExternalId, "x"),
            (Kind::Wallet, Column::Address, "0x"),
            (Kind::User, Column::Email, "user"),
        ] {
            let suffix = if kind == Kind::User { "@example.com" } else { "" };
            let values: Vec<String> = (0..100).map(|n| format!("{prefix}{}{suffix}", n * 8)).collect();
            let found = self.adapter.find(&self.scope, kind, column, &values).await.unwrap();
            assert!(found.iter().any(Option::is_some), "{kind:?} by {column:?} found nothing");
            self.check(&format!("find {kind:?} by {column:?}"), bounds);
        }
    }

    async fn lists(&mut self) {
        for (kind, edge, orders) in LISTS {
            for column in [Column::Id].iter().chain(*orders) {
                for descending in [false, true] {
                    for (name, slice) in slices(*column) {
                        let order = Order { column: *column, descending };
                        let query =
                            PageQuery { kind: *kind, edge: *edge, predicates: Vec::new(), order, slice, total: false };
                        self.page(&query, name, true).await;
                    }
                }
            }
        }
    }

    async fn filtered(&mut self) {
        for (kind, predicates) in filters() {
            let edges = LISTS.iter().filter(|(of, ..)| *of == kind).map(|(_, edge, _)| *edge);
            for edge in edges.filter(|edge| matches!(edge, None | Some(Edge::Column(Column::PersonaId)))) {
                let slice = Slice::first(PAGE);
                let query = PageQuery {
                    kind,
                    edge,
                    predicates: predicates.clone(),
                    order: Order::default(),
                    slice,
                    total: false,
                };
                self.page(&query, "first", false).await;
            }
        }
    }

    /// The one read that must look at every row of a list; it may not look at those of others.
    async fn totals(&mut self) {
        for (kind, edge, _) in LISTS.iter().filter(|(_, edge, _)| edge.is_some()) {
            let (slice, order) = (Slice::first(1), Order::default());
            let query = PageQuery { kind: *kind, edge: *edge, predicates: Vec::new(), order, slice, total: true };
            self.page(&query, "with its total", false).await;
        }
    }

    async fn page(&mut self, query: &PageQuery, name: &str, bounded: bool) {
        let parents: Vec<Uuid> = match query.edge {
            None => vec![Uuid::nil()],
            Some(edge) => (0..BATCH).map(|n| id(parent(query.kind, edge), n * 4)).collect(),
        };
        let pages = self.adapter.pages(&self.scope, query, &parents).await.unwrap();
        // In the middle of a short list there may be nothing.
        let middle = query.slice.after.is_some() || query.slice.before.is_some();
        assert!(middle || pages.iter().any(|page| !page.items.is_empty()), "{query:?} found nothing");
        let page = f64::from(query.slice.limit + 1);
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let all = page * parents.len() as f64;
        // Through links each row costs one more; PostgreSQL looks ahead by 32 rows where an index holds half of an order.
        let bounds = Bounds { sorted: all, touched: bounded.then_some(2.0 * all + 64.0) };
        let call =
            format!("{:?} under {:?}, {:?}, {name}, where {:?}", query.kind, query.edge, query.order, query.predicates);
        self.check(&call, bounds);
    }

    async fn sums(&mut self) {
        // What is summed is read, and may be sorted into its groups.
        let sums = Bounds { sorted: f64::INFINITY, touched: None };
        let key = |parent, from: i64, to: i64| BillingKey { parent, from: Some(day(from)), to: Some(day(to)) };
        let campaigns = (0..BATCH).map(|n| key(Some((Column::CampaignId, id("campaign", n * 4))), 0, 400));
        self.adapter.billing_totals(&self.scope, &campaigns.collect::<Vec<_>>()).await.unwrap();
        self.check("totals of campaigns", sums);
        let personas = (0..BATCH).map(|n| key(Some((Column::PersonaId, id("persona", n * 4))), 0, 400));
        self.adapter.billing_totals(&self.scope, &personas.collect::<Vec<_>>()).await.unwrap();
        self.check("totals of personas", sums);
        self.adapter.billing_totals(&self.scope, &[key(None, 10, 12), key(None, 12, 14)]).await.unwrap();
        self.check("totals of two days of an organisation", sums);
        let group_by = vec![SpendGroup::Kind, SpendGroup::Day];
        let report = |parent, from: i64, to: i64| SpendQuery {
            parent,
            from: Some(day(from)),
            to: Some(day(to)),
            group_by: group_by.clone(),
            limit: 100,
        };
        for (name, parents) in [("campaign", Column::CampaignId), ("persona", Column::PersonaId)] {
            let reports: Vec<_> = (0..BATCH).map(|n| report(Some((parents, id(name, n * 4))), 0, 400)).collect();
            self.adapter.spend_reports(&self.scope, &reports).await.unwrap();
            self.check(&format!("reports of a {name}"), sums);
        }
        self.adapter.spend_reports(&self.scope, &[report(None, 10, 12), report(None, 12, 14)]).await.unwrap();
        self.check("reports of two days of an organisation", sums);
    }

    async fn outbox(&mut self) {
        for target in [Target::Memory, Target::Search] {
            let due = self.adapter.outbox_due(target, 100).await.unwrap();
            assert_eq!(due.len(), 100);
            // One for each entry, and what is older of its entity, which in this data is one at the most.
            self.check("what is due", Bounds { sorted: 100.0, touched: Some(500.0) });
            let later = Settlement::Retry { not_before: Utc::now(), error: "later".to_owned() };
            let settled: Vec<_> = due.iter().take(40).map(|entry| (entry.sequence, Settlement::Done)).collect();
            self.adapter.outbox_settle(&settled).await.unwrap();
            self.adapter.outbox_settle(&[(due[50].sequence, later)]).await.unwrap();
            self.check("settling", Bounds { sorted: 100.0, touched: Some(200.0) });
            let sequences: Vec<_> = due.iter().map(|entry| entry.sequence).collect();
            assert_eq!(self.adapter.outbox_left(&sequences).await.unwrap().len(), 60);
            self.check("what is left", Bounds { sorted: 100.0, touched: Some(200.0) });
        }
    }

    async fn access(&mut self) {
        let bounds = Bounds { sorted: 10.0, touched: Some(10.0) };
        assert!(self.adapter.authenticate("hash42").await.unwrap().is_some());
        self.check("authenticate", bounds);
        assert!(self.adapter.organization_by_handle("org2").await.unwrap().is_some());
        self.check("an organisation by its handle", bounds);
    }

    /// Rows of every kind are made, changed and removed: with them go the look-ups of foreign keys and of triggers.
    async fn writes(&mut self) {
        let bounds = Bounds { sorted: 10.0, touched: Some(60.0) };
        for kind in Kind::ALL.iter().filter(|kind| !matches!(kind, Kind::Organization | Kind::AuditEntry)) {
            // The first rows have children, which stand in the way of their end.
            let number = if matches!(kind, Kind::Persona | Kind::Campaign) { 4 } else { ROWS / 2 % PARENTS };
            let rows = self.adapter.get(&self.scope, *kind, &[id(table(*kind), number)]).await.unwrap();
            self.log.plans();
            let Some(Some(row)) = rows.into_iter().next() else {
                panic!("no {kind:?} {number}");
            };
            let write = async |change| {
                let transaction = Transaction {
                    changes: vec![change],
                    audit: vec![Audit {
                        action: "test",
                        entity_type: kind.name(),
                        entity_id: row.id(),
                        request_id: None,
                        before_hash: None,
                        after_hash: None,
                    }],
                    outbox: vec![Outgoing {
                        target: Target::Search,
                        entity_id: row.id(),
                        entity_version: 2,
                        body: json!({}),
                    }],
                };
                self.adapter.commit(&self.scope, &transaction).await
            };
            write(Change::Update(next(&row))).await.unwrap();
            let removed = write(Change::Delete(*kind, row.id())).await;
            // A row that others refer to stays, after looking for them.
            assert!(
                removed.is_ok()
                    || matches!(kind, Kind::Persona | Kind::Campaign | Kind::Video | Kind::Asset | Kind::User),
                "{kind:?}: {removed:?}"
            );
            self.check(&format!("writing {kind:?}"), bounds);
        }
    }
}

/// Positions in the middle of a list: the rows there need not exist.
fn slices(column: Column) -> Vec<(&'static str, Slice)> {
    let value = match column {
        Column::UpdatedAt | Column::OccurredAt => SortValue::Int(day(45).timestamp_micros()),
        Column::AmountMinor => SortValue::Int(50_000),
        Column::Handle => SortValue::Text("p5".to_owned()),
        Column::Name => SortValue::Text("Name 5".to_owned()),
        Column::Title => SortValue::Text("Title 5".to_owned()),
        _ => SortValue::Text(String::new()),
    };
    let middle = Position { value, id: Uuid::from_u128(u128::MAX / 2) };
    let first = Slice::first(PAGE);
    vec![
        ("the first", first.clone()),
        ("after a row", Slice { after: Some(middle.clone()), ..first.clone() }),
        ("the last before a row", Slice { before: Some(middle), backward: true, ..first }),
    ]
}

fn parent(kind: Kind, edge: Edge) -> &'static str {
    match (edge, kind) {
        (Edge::CampaignPersona, Kind::Campaign) | (Edge::Column(Column::PersonaId), _) => "persona",
        (Edge::CampaignPersona, _) | (Edge::Column(Column::CampaignId), _) => "campaign",
        (Edge::Column(Column::VideoId), _) => "video",
        (Edge::Column(Column::SourceAssetId), _) => "asset",
        (Edge::Column(Column::EntityId), _) => "post",
        (edge, _) => panic!("which table is the parent of {edge:?}?"),
    }
}

fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Organization => "organization",
        Kind::User => "user",
        Kind::Membership => "membership",
        Kind::ApiKey => "api_key",
        Kind::Persona => "persona",
        Kind::Campaign => "campaign",
        Kind::CampaignPersona => "campaign_persona",
        Kind::Post => "post",
        Kind::Video => "video",
        Kind::Asset => "asset",
        Kind::Wallet => "wallet",
        Kind::BillingRecord => "billing_record",
        Kind::AuditEntry => "audit_entry",
        Kind::Budget => "budget",
    }
}

/// The row with the version that an update of it has.
fn next(row: &Row) -> Row {
    let mut row = row.clone();
    match &mut row {
        Row::Organization(row) => row.version += 1,
        Row::User(row) => row.version += 1,
        Row::Membership(row) => row.version += 1,
        Row::ApiKey(row) => row.version += 1,
        Row::Persona(row) => row.version += 1,
        Row::Campaign(row) => row.version += 1,
        Row::CampaignPersona(row) => row.version += 1,
        Row::Post(row) => row.version += 1,
        Row::Video(row) => row.version += 1,
        Row::Asset(row) => row.version += 1,
        Row::Wallet(row) => row.version += 1,
        Row::BillingRecord(row) => row.version += 1,
        Row::Budget(row) => row.version += 1,
        Row::AuditEntry(_) => {}
    }
    row
}

#[tokio::test]
async fn no_question_reads_a_table_or_sorts_more_than_a_page() {
    if !have("postgres", Postgres::found(Flavour::Plain)) {
        return;
    }
    let server = Postgres::start_with(Flavour::Plain, plan::SETTINGS);
    let url = server.owned("plans");
    drop(Look::open(&server, &url).await);
    data::fill(&server, "plans");
    server.sql("plans", "ALTER DATABASE plans SET auto_explain.log_min_duration = 0");
    let mut faults = Vec::new();
    for mode in ["auto", "force_generic_plan"] {
        server.sql("plans", &format!("ALTER DATABASE plans SET plan_cache_mode = {mode}"));
        let mut look = Look::open(&server, &url).await;
        look.keys().await;
        look.lists().await;
        look.filtered().await;
        look.totals().await;
        look.sums().await;
        look.outbox().await;
        look.access().await;
        if mode == "auto" {
            look.writes().await;
        }
        println!("{mode}: {} plans", look.statements);
        assert!(look.statements > 200, "{} plans are too few", look.statements);
        faults.extend(look.faults.into_iter().map(|fault| format!("{mode}: {fault}")));
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
