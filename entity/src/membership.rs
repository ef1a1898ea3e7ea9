//! What a user may do in an organisation.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What a member may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Reads everything.
    #[sea_orm(string_value = "VIEWER")]
    Viewer,
    /// Also writes content.
    #[sea_orm(string_value = "EDITOR")]
    Editor,
    /// Also wallets, billing, keys and the audit log.
    #[sea_orm(string_value = "ADMIN")]
    Admin,
}

/// One row of `membership`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "membership")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// The member.
    pub user_id: Uuid,
    /// What the member may do.
    pub role: Role,
    /// When the row was made.
    pub created_at: DateTimeUtc,
    /// When the row last changed.
    pub updated_at: DateTimeUtc,
    /// Grows by one with every update.
    pub version: i64,
}

/// Relations live in the foreign keys of the migrations; queries join by column.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
