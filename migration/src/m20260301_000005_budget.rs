//! Budgets of campaigns for periods that do not overlap.

use crate::draft::{Draft, LARGEST_AMOUNT, drop_tables};
use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        Draft::tenant("budget")
            .part_of("campaign_id", "campaign")
            .column(timestamp_with_time_zone("starts_at"))
            .column(timestamp_with_time_zone("ends_at"))
            .column(big_integer("amount_minor"))
            .column(string("currency"))
            .stamps()
            .check("ends_at", Expr::col("ends_at").gt(Expr::col("starts_at")))
            .check("amount_minor", Expr::col("amount_minor").between(0, LARGEST_AMOUNT))
            .check("currency", Func::cust("length").arg(Expr::col("currency")).eq(3))
            .create(manager)
            .await?;
        for sql in no_overlap(manager.get_database_backend())? {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
    }

    /// The extension stays: others may have come to use it.
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["budget"]).await
    }
}

/// What refuses a period that overlaps with another one of the campaign and currency. It goes with the table.
fn no_overlap(backend: DbBackend) -> Result<&'static [&'static str], DbErr> {
    match backend {
        // Times are text of one shape, whose order is that of the times.
        DbBackend::Sqlite => Ok(&[
            "CREATE TRIGGER budget_no_overlap_of_new BEFORE INSERT ON budget WHEN EXISTS (SELECT 1 FROM budget AS b \
             WHERE b.organization_id = NEW.organization_id AND b.campaign_id = NEW.campaign_id \
             AND b.currency = NEW.currency AND b.starts_at < NEW.ends_at AND b.ends_at > NEW.starts_at) \
             BEGIN SELECT RAISE(ABORT, 'EXCLUDE constraint failed: ex_budget_period'); END",
            "CREATE TRIGGER budget_no_overlap_of_changed BEFORE UPDATE ON budget WHEN EXISTS (SELECT 1 FROM budget AS b \
             WHERE b.organization_id = NEW.organization_id AND b.campaign_id = NEW.campaign_id \
             AND b.currency = NEW.currency AND b.starts_at < NEW.ends_at AND b.ends_at > NEW.starts_at \
             AND b.id <> OLD.id) \
             BEGIN SELECT RAISE(ABORT, 'EXCLUDE constraint failed: ex_budget_period'); END",
        ]),
        DbBackend::Postgres => Ok(&[
            // A trusted extension: the owner of a database may create it.
            "CREATE EXTENSION IF NOT EXISTS btree_gist",
            "ALTER TABLE budget ADD CONSTRAINT ex_budget_period EXCLUDE USING gist (organization_id WITH =, \
             campaign_id WITH =, currency WITH =, tstzrange(starts_at, ends_at) WITH &&)",
        ]),
        other => Err(DbErr::BackendNotSupported { db: other.as_str(), ctx: "budget periods" }),
    }
}
