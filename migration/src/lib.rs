//! Schema migrations of the relational store, the same for SQLite and PostgreSQL.
//!
//! # Forward only, on data that people have
//!
//! Every migration can be undone, which the tests do, but a schema that holds people's data only ever goes forward. A
//! change that old and new programs cannot share is made in two releases, *expand* then *contract*:
//!
//! 1. **Expand.** Add the new column or table, nullable or with a default; write both; fill the old rows. The release
//!    before this one still runs on it, so a rolling update and a step back to the previous release are both safe.
//! 2. **Contract.** Once no running program reads the old shape, a later release drops it.
//!
//! A file that has been released is never edited, nor are the helpers of `draft` that it uses: what ran on one
//! machine must be what runs on the next. Values in checks are spelt out here rather than taken from the entities,
//! because the entities move on.
//!
//! # Rules of the schema
//!
//! - A foreign key to a row of an organisation holds `(organization_id, <column>)`, so that no row can refer to
//!   another organisation's, whatever the program above does.
//! - Constraints are named `ck_<table>_<column>`, `fk_<table>_<column>`, `ex_<table>_period` and
//!   `uq_<table>__<column>[__<column>]`. The
//!   adapter reads the column out of the name (or, on SQLite, out of the message) to tell the caller what was wrong.
//! - Text is compared by its bytes: on PostgreSQL every column of text has the `C` collation, whatever the database's.
//! - On PostgreSQL every table has row-level security, also against its owner, by the setting `chimera.organization` of
//!   the transaction (`chimera.system` is `on` where all rows are meant). A migration that makes a table gives it a policy.

mod draft;
mod m20260101_000001_tenancy;
mod m20260101_000002_catalogue;
mod m20260101_000003_money;
mod m20260101_000004_journal;
mod m20260301_000005_budget;
mod m20260301_000006_walls;
mod m20260301_000007_orders;
mod m20260301_000008_outbox;

pub use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// All migrations in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20260101_000001_tenancy::Migration),
            Box::new(m20260101_000002_catalogue::Migration),
            Box::new(m20260101_000003_money::Migration),
            Box::new(m20260101_000004_journal::Migration),
            Box::new(m20260301_000005_budget::Migration),
            Box::new(m20260301_000006_walls::Migration),
            Box::new(m20260301_000007_orders::Migration),
            Box::new(m20260301_000008_outbox::Migration),
        ]
    }
}
