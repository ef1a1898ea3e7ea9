//! What an organisation makes: assets, personas, campaigns, videos, posts.

use crate::draft::{Draft, LARGEST_AMOUNT, drop_tables};
use sea_orm_migration::{prelude::*, schema::*};

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        asset().create(manager).await?;
        persona().create(manager).await?;
        campaign().create(manager).await?;
        Draft::tenant("campaign_persona")
            .part_of("campaign_id", "campaign")
            .part_of("persona_id", "persona")
            .stamps()
            .unique(&["organization_id", "campaign_id", "persona_id"])
            .create(manager)
            .await?;
        video().create(manager).await?;
        post().create(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["post", "video", "campaign_persona", "campaign", "persona", "asset"]).await
    }
}

fn asset() -> Draft {
    Draft::tenant("asset")
        .one_of("kind", &["IMAGE", "VIDEO", "AUDIO", "THUMBNAIL", "OTHER"])
        .one_of("status", &["PENDING", "READY"])
        .column(string("content_type"))
        .column(big_integer("size_bytes"))
        .column(string("sha256"))
        .column(string_null("file_name"))
        .column(json_binary("metadata"))
        .reference_null("source_asset_id", "asset")
        .stamps()
        .check("size_bytes", Expr::col("size_bytes").gte(0))
}

fn persona() -> Draft {
    Draft::tenant("persona")
        .column(string_null("external_id"))
        .column(string("handle"))
        .column(string("name"))
        .one_of("status", &["DRAFT", "ACTIVE", "PAUSED", "RETIRED"])
        .reference_null("avatar_asset_id", "asset")
        .stamps()
        .check("handle", Expr::col("handle").ne(""))
        .unique(&["organization_id", "handle"])
        .unique(&["organization_id", "external_id"])
}

fn campaign() -> Draft {
    let budget = Expr::col("budget_minor").is_null().or(Expr::col("budget_minor").between(0, LARGEST_AMOUNT));
    let dates = Expr::col("starts_at")
        .is_null()
        .or(Expr::col("ends_at").is_null())
        .or(Expr::col("ends_at").gt(Expr::col("starts_at")));
    Draft::tenant("campaign")
        .column(string_null("external_id"))
        .column(string("name"))
        .column(text("objective"))
        .one_of("status", &["DRAFT", "ACTIVE", "PAUSED", "COMPLETED", "CANCELLED"])
        .column(timestamp_with_time_zone_null("starts_at"))
        .column(timestamp_with_time_zone_null("ends_at"))
        .column(big_integer_null("budget_minor"))
        .column(string("currency"))
        .stamps()
        .check("ends_at", dates)
        .check("budget_minor", budget)
        .check("currency", Func::cust("length").arg(Expr::col("currency")).eq(3))
        .unique(&["organization_id", "external_id"])
}

fn video() -> Draft {
    Draft::tenant("video")
        .column(string_null("external_id"))
        .reference("persona_id", "persona")
        .reference_null("campaign_id", "campaign")
        .column(text("title"))
        .column(text_null("description"))
        .one_of("status", &["QUEUED", "RENDERING", "READY", "PUBLISHED", "FAILED"])
        .column(string_null("category"))
        .column(json_binary("tags"))
        .column(big_integer_null("duration_ms"))
        .reference_null("asset_id", "asset")
        .reference_null("thumbnail_asset_id", "asset")
        .column(timestamp_with_time_zone_null("published_at"))
        .stamps()
        .check("duration_ms", Expr::col("duration_ms").is_null().or(Expr::col("duration_ms").gte(0)))
        .unique(&["organization_id", "external_id"])
}

fn post() -> Draft {
    Draft::tenant("post")
        .column(string_null("external_id"))
        .reference("persona_id", "persona")
        .reference_null("campaign_id", "campaign")
        .reference_null("video_id", "video")
        .column(text("text"))
        .column(json_binary("topics"))
        .column(string("platform"))
        .one_of("status", &["DRAFT", "SCHEDULED", "PUBLISHED", "FAILED"])
        .column(timestamp_with_time_zone_null("scheduled_at"))
        .column(timestamp_with_time_zone_null("published_at"))
        .column(string_null("url"))
        .stamps()
        .unique(&["organization_id", "external_id"])
}
