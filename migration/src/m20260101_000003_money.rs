//! Wallets and billing records.

use crate::draft::{Draft, LARGEST_AMOUNT, drop_tables};
use sea_orm_migration::{prelude::*, schema::*};

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        Draft::tenant("wallet")
            .reference("persona_id", "persona")
            .one_of("chain", &["LOCAL", "ETHEREUM", "BASE", "SOLANA"])
            .column(string("address"))
            .column(string_null("label"))
            .stamps()
            .check("address", Expr::col("address").ne(""))
            .unique(&["organization_id", "chain", "address"])
            .index(&["organization_id", "address"])
            .create(manager)
            .await?;
        billing_record().create(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["billing_record", "wallet"]).await
    }
}

fn billing_record() -> Draft {
    // Only a credit gives back, and nothing else does.
    let amount = Expr::col("kind")
        .eq("CREDIT")
        .and(Expr::col("amount_minor").between(-LARGEST_AMOUNT, 0))
        .or(Expr::col("kind").ne("CREDIT").and(Expr::col("amount_minor").between(0, LARGEST_AMOUNT)));
    Draft::tenant("billing_record")
        .column(string_null("external_id"))
        .reference_null("campaign_id", "campaign")
        .reference_null("persona_id", "persona")
        .one_of("kind", &["RENDER", "STORAGE", "API", "PROMOTION", "PLATFORM", "CREDIT"])
        .column(big_integer("amount_minor"))
        .column(string("currency"))
        .column(text_null("description"))
        .column(timestamp_with_time_zone("occurred_at"))
        .stamps()
        .check("amount_minor", amount)
        .check("currency", Func::cust("length").arg(Expr::col("currency")).eq(3))
        .unique(&["organization_id", "external_id"])
        .index(&["organization_id", "occurred_at", "id"])
        .index(&["organization_id", "campaign_id", "occurred_at", "id"])
        .index(&["organization_id", "persona_id", "occurred_at", "id"])
}
