//! An address of a persona on a chain.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// The chains a wallet can live on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Chain {
    /// The embedded chain of this installation.
    #[sea_orm(string_value = "LOCAL")]
    Local,
    /// Ethereum mainnet.
    #[sea_orm(string_value = "ETHEREUM")]
    Ethereum,
    /// Base, a rollup on Ethereum.
    #[sea_orm(string_value = "BASE")]
    Base,
    /// Solana mainnet.
    #[sea_orm(string_value = "SOLANA")]
    Solana,
}

/// One row of `wallet`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "wallet")]
pub struct Model {
    /// Primary key (UUIDv7, so that it orders by creation).
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub organization_id: Uuid,
    /// Whose wallet it is.
    pub persona_id: Uuid,
    /// On which chain.
    pub chain: Chain,
    /// The address in the chain's own notation.
    pub address: String,
    /// What it is for.
    pub label: Option<String>,
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
