//! Organisations, their users, and how both get in.

use crate::draft::{Draft, drop_tables};
use sea_orm_migration::{prelude::*, schema::*};

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const ROLES: &[&str] = &["VIEWER", "EDITOR", "ADMIN"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        Draft::global("organization")
            .column(string("handle"))
            .column(string("name"))
            .stamps()
            .check("handle", Expr::col("handle").ne(""))
            .unique(&["handle"])
            .create(manager)
            .await?;
        Draft::global("user")
            .column(string("email"))
            .column(string("name"))
            .stamps()
            .check("email", Expr::col("email").ne(""))
            .unique(&["email"])
            .create(manager)
            .await?;
        Draft::tenant("membership")
            .user(uuid("user_id"))
            .one_of("role", ROLES)
            .stamps()
            .unique(&["organization_id", "user_id"])
            .create(manager)
            .await?;
        Draft::tenant("api_key")
            .user(uuid_null("user_id"))
            .column(string("name"))
            .column(string("prefix"))
            .column(string("hash"))
            .one_of("role", ROLES)
            .column(timestamp_with_time_zone_null("expires_at"))
            .column(timestamp_with_time_zone_null("revoked_at"))
            .stamps()
            .unique(&["hash"])
            .create(manager)
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["api_key", "membership", "user", "organization"]).await
    }
}
