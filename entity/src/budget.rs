//! What a campaign may spend within a period. Periods of one campaign and currency do not overlap.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// One row of `budget`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "budget")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// Which campaign spends it.
    pub campaign_id: Uuid,
    /// The first moment of the period.
    pub starts_at: DateTimeUtc,
    /// The first moment after the period.
    pub ends_at: DateTimeUtc,
    /// The most that may be spent, in minor units of `currency`.
    pub amount_minor: i64,
    /// ISO 4217 code; charges in other currencies do not count.
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
