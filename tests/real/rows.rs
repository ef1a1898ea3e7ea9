//! Rows to write.

use chimera_stores::Scope;
use chrono::{DateTime, TimeZone, Utc};
use uuid::Uuid;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 12, 0, 0).unwrap()
}

/// The organisation of these rows.
pub fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

pub fn organization() -> entity::organization::Model {
    entity::organization::Model {
        id: scope().organization_id(),
        handle: "own".to_owned(),
        name: "An organisation".to_owned(),
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}

pub fn persona(handle: &str) -> entity::persona::Model {
    entity::persona::Model {
        id: Uuid::now_v7(),
        organization_id: scope().organization_id(),
        external_id: None,
        handle: handle.to_owned(),
        name: format!("Persona {handle}"),
        status: entity::persona::Status::Active,
        avatar_asset_id: None,
        created_at: noon(),
        updated_at: noon(),
        version: 1,
    }
}
