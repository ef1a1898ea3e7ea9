//! A campaign of one or more personas.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Being prepared.
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    /// Running.
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    /// Stopped for a while.
    #[sea_orm(string_value = "PAUSED")]
    Paused,
    /// Ended as planned.
    #[sea_orm(string_value = "COMPLETED")]
    Completed,
    /// Ended early.
    #[sea_orm(string_value = "CANCELLED")]
    Cancelled,
}

/// One row of `campaign`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "campaign")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Name shown to people.
    pub name: String,
    /// What it is to achieve.
    #[sea_orm(column_type = "Text")]
    pub objective: String,
    /// Where it stands.
    pub status: Status,
    /// When it begins.
    pub starts_at: Option<DateTimeUtc>,
    /// When it ends; after the start.
    pub ends_at: Option<DateTimeUtc>,
    /// Budget in minor units of `currency`.
    pub budget_minor: Option<i64>,
    /// ISO 4217 code of the budget.
    pub currency: String,
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
