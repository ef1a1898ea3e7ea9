//! Rows to write, and short ways to write and read them.

use crate::World;
use chimera_stores::{
    Result, Scope, Slice,
    relational::{
        Audit, Change, Column, Committed, Edge, Order, Outgoing, PageQuery, Record, Relational, Row, Transaction,
    },
};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use entity::{
    Strings, api_key, asset, billing_record, budget, campaign, campaign_persona, membership, organization,
    outbox_entry, persona, post, user, video, wallet,
};
use serde_json::json;
use uuid::Uuid;

pub type Relations = World<Relational>;

/// The time every row of these fixtures is made at.
pub fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).unwrap()
}

pub fn organization(scope: &Scope, handle: &str) -> organization::Model {
    organization::Model {
        id: scope.organization_id(),
        handle: handle.to_owned(),
        name: format!("The {handle} organisation"),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn user(email: &str) -> user::Model {
    user::Model {
        id: Uuid::now_v7(),
        email: email.to_owned(),
        name: "A Person".to_owned(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn membership(scope: &Scope, user_id: Uuid) -> membership::Model {
    membership::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        user_id,
        role: membership::Role::Editor,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn api_key(scope: &Scope, hash: &str) -> api_key::Model {
    api_key::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        user_id: None,
        name: "A key".to_owned(),
        prefix: "chm_1234".to_owned(),
        hash: hash.to_owned(),
        role: membership::Role::Editor,
        expires_at: None,
        revoked_at: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn asset(scope: &Scope) -> asset::Model {
    asset::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        kind: asset::Kind::Image,
        status: asset::Status::Ready,
        content_type: "image/png".to_owned(),
        size_bytes: 70,
        sha256: "ab".repeat(32),
        file_name: Some("face.png".to_owned()),
        metadata: json!({"width": 1, "tags": ["a", null, 0.5]}),
        source_asset_id: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn persona(scope: &Scope, handle: &str) -> persona::Model {
    persona::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        external_id: None,
        handle: handle.to_owned(),
        name: format!("Persona {handle}"),
        status: persona::Status::Active,
        avatar_asset_id: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn campaign(scope: &Scope, name: &str) -> campaign::Model {
    campaign::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        external_id: None,
        name: name.to_owned(),
        objective: "Be known".to_owned(),
        status: campaign::Status::Draft,
        starts_at: None,
        ends_at: None,
        budget_minor: Some(10_000),
        currency: "EUR".to_owned(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn link(campaign: &campaign::Model, persona: &persona::Model) -> campaign_persona::Model {
    campaign_persona::Model {
        id: Uuid::now_v7(),
        organization_id: campaign.organization_id,
        campaign_id: campaign.id,
        persona_id: persona.id,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn video(persona: &persona::Model, title: &str) -> video::Model {
    video::Model {
        id: Uuid::now_v7(),
        organization_id: persona.organization_id,
        external_id: None,
        persona_id: persona.id,
        campaign_id: None,
        title: title.to_owned(),
        description: None,
        status: video::Status::Queued,
        category: None,
        tags: Strings(vec!["one".to_owned(), "zwei".to_owned()]),
        duration_ms: Some(1500),
        asset_id: None,
        thumbnail_asset_id: None,
        published_at: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn post(persona: &persona::Model, text: &str) -> post::Model {
    post::Model {
        id: Uuid::now_v7(),
        organization_id: persona.organization_id,
        external_id: None,
        persona_id: persona.id,
        campaign_id: None,
        video_id: None,
        text: text.to_owned(),
        topics: Strings(vec!["rust".to_owned()]),
        platform: "fediverse".to_owned(),
        status: post::Status::Draft,
        scheduled_at: None,
        published_at: None,
        url: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn wallet(persona: &persona::Model, chain: wallet::Chain, address: &str) -> wallet::Model {
    wallet::Model {
        id: Uuid::now_v7(),
        organization_id: persona.organization_id,
        persona_id: persona.id,
        chain,
        address: address.to_owned(),
        label: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn billing(scope: &Scope, amount_minor: i64, currency: &str) -> billing_record::Model {
    billing_record::Model {
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        external_id: None,
        campaign_id: None,
        persona_id: None,
        kind: billing_record::Kind::Render,
        amount_minor,
        currency: currency.to_owned(),
        description: None,
        occurred_at: noon(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

/// A budget of the campaign from one day after noon to another.
pub fn budget(campaign: &campaign::Model, from: i64, to: i64, amount_minor: i64) -> budget::Model {
    budget::Model {
        id: Uuid::now_v7(),
        organization_id: campaign.organization_id,
        campaign_id: campaign.id,
        starts_at: noon() + TimeDelta::days(from),
        ends_at: noon() + TimeDelta::days(to),
        amount_minor,
        currency: campaign.currency.clone(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn audit(action: &'static str, entity_id: Uuid) -> Audit {
    Audit {
        action,
        entity_type: "Persona",
        entity_id,
        request_id: Some("request-1".to_owned()),
        before_hash: None,
        after_hash: Some("cd".repeat(32)),
    }
}

pub fn outgoing(target: outbox_entry::Target, entity_id: Uuid, entity_version: i64) -> Outgoing {
    Outgoing { target, entity_id, entity_version, body: json!({"version": entity_version}) }
}

pub async fn commit(world: &Relations, scope: &Scope, changes: Vec<Change>) -> Result<Committed> {
    world.handle.commit(scope, &Transaction { changes, ..Transaction::default() }).await
}

pub async fn try_insert(world: &Relations, scope: &Scope, row: impl Record) -> Result<Committed> {
    commit(world, scope, vec![Change::Insert(row.into_row())]).await
}

pub async fn insert(world: &Relations, scope: &Scope, rows: impl IntoIterator<Item = Row>) {
    commit(world, scope, rows.into_iter().map(Change::Insert).collect()).await.unwrap();
}

pub async fn get<R: Record>(world: &Relations, scope: &Scope, id: Uuid) -> Option<R> {
    world.handle.get::<R>(scope, &[id]).await.unwrap().pop().unwrap()
}

/// Both organisations, and two personas of the first.
pub async fn seed(world: &Relations) -> (persona::Model, persona::Model) {
    let (ada, bob) = (persona(&world.scope, "ada"), persona(&world.scope, "bob"));
    let own = organization(&world.scope, "own");
    insert(world, &world.scope, [own.into_row(), ada.clone().into_row(), bob.clone().into_row()]).await;
    insert(world, &world.foreign, [organization(&world.foreign, "foreign").into_row()]).await;
    (ada, bob)
}

/// The first rows of a list that hangs on `edge`, oldest first.
pub fn list<R: Record>(edge: Option<Edge>) -> PageQuery {
    PageQuery {
        kind: R::KIND,
        edge,
        predicates: Vec::new(),
        order: Order { column: Column::Id, descending: false },
        slice: Slice::first(100),
        total: false,
    }
}

/// All rows of a kind that the scope sees, oldest first.
pub async fn everything<R: Record>(world: &Relations, scope: &Scope) -> Vec<R> {
    world.handle.pages::<R>(scope, &list::<R>(None), &[Uuid::nil()]).await.unwrap().remove(0).items
}

pub fn ids<R: Record>(rows: &[R]) -> Vec<Uuid> {
    rows.iter().map(Record::id).collect()
}
