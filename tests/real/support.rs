//! Rows and servers that several of these tests want.

use chimera_stores::{
    Address, Result, Scope, SystemClock,
    relational::{Audit, Change, PostgresOptions, Record, RelationalAdapter, Row, SqlRelational, Transaction},
};
use chrono::{DateTime, TimeZone, Utc};
use entity::{billing_record, campaign, organization, persona};
use std::sync::Arc;
use test_servers::{Flavour, Postgres, have};
use uuid::Uuid;

/// A PostgreSQL server; `None` where there is none.
pub fn postgres() -> Option<Postgres> {
    have("postgres", Postgres::found(Flavour::Plain)).then(|| Postgres::start(Flavour::Plain))
}

/// Asks the user `locked` for a password from now on, and lets nobody in as `barred`.
pub fn lock(server: &Postgres) {
    server.sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'");
    server.sql(
        "postgres",
        "DO $$ BEGIN EXECUTE format($f$COPY (VALUES ('host all locked 127.0.0.1/32 scram-sha-256'), \
         ('host all barred 127.0.0.1/32 reject'), ('host all all 127.0.0.1/32 trust')) TO %L$f$, \
         current_setting('hba_file')); END $$; SELECT pg_reload_conf()",
    );
    server.sql("postgres", "CREATE ROLE barred LOGIN");
}

pub async fn open(url: &str) -> Result<SqlRelational> {
    SqlRelational::open_postgres(&Address::new(url), PostgresOptions::default(), Arc::new(SystemClock)).await
}

pub fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).unwrap()
}

/// The program's scope in an organisation with this number.
pub fn scope(number: u128) -> Scope {
    Scope::system(Uuid::from_u128(number))
}

pub fn organization(scope: &Scope, handle: &str) -> Row {
    organization_model(scope, handle).into_row()
}

pub fn organization_model(scope: &Scope, handle: &str) -> organization::Model {
    organization::Model {
        id: scope.organization_id(),
        handle: handle.to_owned(),
        name: handle.to_owned(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn persona(scope: &Scope, handle: &str) -> Row {
    persona_model(scope, handle).into_row()
}

pub fn persona_model(scope: &Scope, handle: &str) -> persona::Model {
    persona::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        external_id: None,
        handle: handle.to_owned(),
        name: handle.to_owned(),
        status: persona::Status::Active,
        avatar_asset_id: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn campaign(scope: &Scope, budget_minor: i64) -> campaign::Model {
    campaign::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        external_id: None,
        name: "Launch".to_owned(),
        objective: "Be known".to_owned(),
        status: campaign::Status::Active,
        starts_at: None,
        ends_at: None,
        budget_minor: Some(budget_minor),
        currency: "EUR".to_owned(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn charge(campaign: &campaign::Model, amount_minor: i64) -> billing_record::Model {
    billing_record::Model {
        id: Uuid::now_v7(),
        organization_id: campaign.organization_id,
        external_id: None,
        campaign_id: Some(campaign.id),
        persona_id: None,
        kind: billing_record::Kind::Render,
        amount_minor,
        currency: campaign.currency.clone(),
        description: None,
        occurred_at: noon(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

/// Rows in one transaction, with an audit entry for each.
pub fn insert(rows: Vec<Row>) -> Transaction {
    let told = |row: &Row| Audit {
        action: "create",
        entity_type: "Row",
        entity_id: row.id(),
        request_id: None,
        before_hash: None,
        after_hash: None,
    };
    let audit = rows.iter().map(told).collect();
    Transaction { audit, changes: rows.into_iter().map(Change::Insert).collect(), ..Transaction::default() }
}

/// Writes rows in one transaction.
pub async fn write(store: &SqlRelational, scope: &Scope, rows: Vec<Row>) {
    store.commit(scope, &insert(rows)).await.unwrap();
}
