//! Metadata of a media object; its bytes live in the media store under its id.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What a media object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A picture.
    #[sea_orm(string_value = "IMAGE")]
    Image,
    /// Moving pictures.
    #[sea_orm(string_value = "VIDEO")]
    Video,
    /// Sound.
    #[sea_orm(string_value = "AUDIO")]
    Audio,
    /// A small still.
    #[sea_orm(string_value = "THUMBNAIL")]
    Thumbnail,
    /// Anything else.
    #[sea_orm(string_value = "OTHER")]
    Other,
}

/// Whether the bytes of an asset are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// An upload was requested.
    #[sea_orm(string_value = "PENDING")]
    Pending,
    /// The bytes are stored and checked.
    #[sea_orm(string_value = "READY")]
    Ready,
}

/// One row of `asset`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "asset")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// What it shows.
    pub kind: Kind,
    /// Whether its bytes are there.
    pub status: Status,
    /// Media type, such as `image/png`.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: i64,
    /// SHA-256 of the bytes, in hex.
    pub sha256: String,
    /// The name it was uploaded with.
    pub file_name: Option<String>,
    /// Free metadata: a JSON object.
    #[sea_orm(column_type = "JsonBinary")]
    pub metadata: Json,
    /// What it was made from.
    pub source_asset_id: Option<Uuid>,
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
