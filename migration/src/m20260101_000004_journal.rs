//! The audit log, which the database itself refuses to change, and the outbox.

use crate::draft::{Draft, drop_tables};
use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        Draft::tenant("audit_entry")
            .column(string("actor"))
            .column(string("action"))
            .column(string("entity_type"))
            .column(uuid("entity_id"))
            .column(string_null("request_id"))
            .column(string_null("before_hash"))
            .column(string_null("after_hash"))
            .column(timestamp_with_time_zone("created_at"))
            .index(&["organization_id", "entity_id", "id"])
            .index(&["organization_id", "actor", "id"])
            .create(manager)
            .await?;
        for sql in append_only(manager.get_database_backend())? {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Draft::bare("outbox_entry")
            .column(ColumnDef::new("sequence").big_integer().not_null().auto_increment().primary_key().take())
            .organization()
            .one_of("target", &["MEMORY", "SEARCH"])
            .column(uuid("entity_id"))
            .column(big_integer("entity_version"))
            .column(json_binary("body"))
            .column(integer("attempts"))
            .column(text_null("last_error"))
            .column(timestamp_with_time_zone_null("not_before"))
            .column(timestamp_with_time_zone("created_at"))
            .check("attempts", Expr::col("attempts").gte(0))
            .index(&["target", "entity_id", "sequence"])
            .index(&["target", "sequence"])
            .create(manager)
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["outbox_entry", "audit_entry"]).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            manager.get_connection().execute_unprepared("DROP FUNCTION audit_entry_is_append_only()").await?;
        }
        Ok(())
    }
}

/// The triggers that refuse to change or delete an audit entry. They go with the table.
fn append_only(backend: DbBackend) -> Result<&'static [&'static str], DbErr> {
    match backend {
        DbBackend::Sqlite => Ok(&[
            "CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry \
             BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END",
            "CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry \
             BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END",
        ]),
        DbBackend::Postgres => Ok(&[
            "CREATE FUNCTION audit_entry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'audit entries are append-only'; END $$",
            "CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry \
             FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_is_append_only()",
        ]),
        other => Err(DbErr::BackendNotSupported { db: other.as_str(), ctx: "audit triggers" }),
    }
}
