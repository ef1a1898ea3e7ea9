//! Who did what. The database refuses to change or delete it.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// One row of `audit_entry`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "audit_entry")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// `user:<id>`, `api_key:<id>` or `system`.
    pub actor: String,
    /// The mutation, such as `createCampaign`.
    pub action: String,
    /// Type of what was changed, as in the API.
    pub entity_type: String,
    /// Id of what was changed.
    pub entity_id: Uuid,
    /// The request it came with.
    pub request_id: Option<String>,
    /// SHA-256 of the row before, in hex.
    pub before_hash: Option<String>,
    /// SHA-256 of the row after, in hex.
    pub after_hash: Option<String>,
    /// When it happened.
    pub created_at: DateTimeUtc,
}

/// Relations live in the foreign keys of the migrations; queries join by column.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
