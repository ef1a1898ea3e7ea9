//! A change that a derived store has yet to apply, in the order it was committed.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A store that is fed by the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Target {
    /// The memory store.
    #[sea_orm(string_value = "MEMORY")]
    Memory,
    /// The search store.
    #[sea_orm(string_value = "SEARCH")]
    Search,
}

/// One row of `outbox_entry`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "outbox_entry")]
pub struct Model {
    /// Order of commit.
    #[sea_orm(primary_key)]
    pub sequence: i64,
    /// The tenant.
    pub organization_id: Uuid,
    /// Which store applies it.
    pub target: Target,
    /// What it is about: changes of one entity are applied in order.
    pub entity_id: Uuid,
    /// Version of the entity: a lower one than applied is refused.
    pub entity_version: i64,
    /// The change, as the target's port reads it.
    #[sea_orm(column_type = "JsonBinary")]
    pub body: Json,
    /// How often it was tried.
    pub attempts: i32,
    /// What the last try said.
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    /// When to try again.
    pub not_before: Option<DateTimeUtc>,
    /// When it was committed.
    pub created_at: DateTimeUtc,
}

/// Relations live in the foreign keys of the migrations; queries join by column.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
