//! Indexes for the orders that lists are offered in, so that a page is read where it stands and nothing is sorted.
//!
//! An order that the API offers needs its index for each parent that it is offered under: the parent's columns, the
//! column of the order, and the id that tells equals apart. `tests/real/postgres_plans.rs` lists them all and finds the
//! one that is missing.

use crate::draft::{add_indexes, drop_indexes};
use sea_orm_migration::prelude::*;

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Tables, and the columns of their new indexes.
const INDEXES: &[(&str, &[&str])] = &[
    ("persona", &["organization_id", "updated_at", "id"]),
    ("persona", &["organization_id", "name", "id"]),
    ("campaign", &["organization_id", "updated_at", "id"]),
    ("campaign", &["organization_id", "name", "id"]),
    ("post", &["organization_id", "updated_at", "id"]),
    ("post", &["organization_id", "persona_id", "updated_at", "id"]),
    ("video", &["organization_id", "updated_at", "id"]),
    ("video", &["organization_id", "title", "id"]),
    ("video", &["organization_id", "persona_id", "updated_at", "id"]),
    ("video", &["organization_id", "persona_id", "title", "id"]),
    ("billing_record", &["organization_id", "amount_minor", "id"]),
    ("billing_record", &["organization_id", "campaign_id", "amount_minor", "id"]),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_indexes(manager, INDEXES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_indexes(manager, INDEXES).await
    }
}
