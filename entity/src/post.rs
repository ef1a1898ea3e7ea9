//! A text that a persona publishes.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Where a post stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Being written.
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    /// Waits for its time.
    #[sea_orm(string_value = "SCHEDULED")]
    Scheduled,
    /// Out.
    #[sea_orm(string_value = "PUBLISHED")]
    Published,
    /// Could not be published.
    #[sea_orm(string_value = "FAILED")]
    Failed,
}

/// One row of `post`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "post")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Who publishes.
    pub persona_id: Uuid,
    /// For which campaign.
    pub campaign_id: Option<Uuid>,
    /// The video it shows.
    pub video_id: Option<Uuid>,
    /// What it says.
    #[sea_orm(column_type = "Text")]
    pub text: String,
    /// Topics (hashtags without `#`), lower case.
    #[sea_orm(column_type = "JsonBinary")]
    pub topics: super::Strings,
    /// Where it is published, such as `tiktok` or `youtube`.
    pub platform: String,
    /// Where it stands.
    pub status: Status,
    /// When it is to be published.
    pub scheduled_at: Option<DateTimeUtc>,
    /// When it was published.
    pub published_at: Option<DateTimeUtc>,
    /// Where it can be seen.
    pub url: Option<String>,
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
