//! SeaORM entities of the relational store: columns only, no queries, no rules.
//!
//! Every table but `user` and `outbox_entry` carries the organisation it belongs to. `version` starts at 1 and grows by
//! one with every update; it orders what the outbox sends to the derived stores. Money is an integer of minor units
//! with an ISO 4217 currency.

pub mod api_key;
pub mod asset;
pub mod audit_entry;
pub mod billing_record;
pub mod budget;
pub mod campaign;
pub mod campaign_persona;
pub mod membership;
pub mod organization;
pub mod outbox_entry;
pub mod persona;
pub mod post;
pub mod user;
pub mod video;
pub mod wallet;

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// A list of short strings, stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Strings(pub Vec<String>);
