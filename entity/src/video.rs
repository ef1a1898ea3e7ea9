//! A video in the catalogue.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Where a video stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Waits to be rendered.
    #[sea_orm(string_value = "QUEUED")]
    Queued,
    /// Is being rendered.
    #[sea_orm(string_value = "RENDERING")]
    Rendering,
    /// Rendered.
    #[sea_orm(string_value = "READY")]
    Ready,
    /// Out.
    #[sea_orm(string_value = "PUBLISHED")]
    Published,
    /// Could not be rendered.
    #[sea_orm(string_value = "FAILED")]
    Failed,
}

/// One row of `video`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "video")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Whose video it is.
    pub persona_id: Uuid,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// Title shown to people.
    #[sea_orm(column_type = "Text")]
    pub title: String,
    /// Longer text.
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// A single category.
    pub category: Option<String>,
    /// Tags.
    #[sea_orm(column_type = "JsonBinary")]
    pub tags: super::Strings,
    /// Length in milliseconds.
    pub duration_ms: Option<i64>,
    /// The rendered file.
    pub asset_id: Option<Uuid>,
    /// A still.
    pub thumbnail_asset_id: Option<Uuid>,
    /// When it was published.
    pub published_at: Option<DateTimeUtc>,
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
