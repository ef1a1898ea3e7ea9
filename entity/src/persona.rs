//! Identity, handle and status of a persona; its definition lives in the memory store.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Whether a persona acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Being prepared.
    #[sea_orm(string_value = "DRAFT")]
    Draft,
    /// Acts.
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    /// Rests, and may act again.
    #[sea_orm(string_value = "PAUSED")]
    Paused,
    /// Will not act again.
    #[sea_orm(string_value = "RETIRED")]
    Retired,
}

/// The most bytes of a handle.
pub const MAX_HANDLE: usize = 64;

/// Whether a persona may have this handle.
///
/// # Errors
/// The rule it breaks, in words.
pub fn check_handle(handle: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if handle.is_empty() || handle.len() > MAX_HANDLE || !handle.bytes().all(plain) {
        return Err(format!("a handle has 1 to {MAX_HANDLE} of a-z, 0-9, `_`, `.` and `-`"));
    }
    Ok(())
}

/// One row of `persona`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "persona")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// Unique in the organisation; [`check_handle`] says what it may be.
    pub handle: String,
    /// Name shown to people.
    pub name: String,
    /// Whether it acts.
    pub status: Status,
    /// Its picture.
    pub avatar_asset_id: Option<Uuid>,
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
