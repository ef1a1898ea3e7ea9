//! An amount charged or paid.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What an amount was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Rendering.
    #[sea_orm(string_value = "RENDER")]
    Render,
    /// Storage and delivery.
    #[sea_orm(string_value = "STORAGE")]
    Storage,
    /// Calls of other services.
    #[sea_orm(string_value = "API")]
    Api,
    /// Paid reach.
    #[sea_orm(string_value = "PROMOTION")]
    Promotion,
    /// Use of the platform.
    #[sea_orm(string_value = "PLATFORM")]
    Platform,
    /// Given back.
    #[sea_orm(string_value = "CREDIT")]
    Credit,
}

/// One row of `billing_record`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "billing_record")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// For which persona.
    pub persona_id: Option<Uuid>,
    /// For what.
    pub kind: Kind,
    /// Amount in minor units of `currency`; negative for a credit.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Words for people.
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    /// When it was incurred.
    pub occurred_at: DateTimeUtc,
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
