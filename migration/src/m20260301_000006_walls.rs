//! What PostgreSQL guards by itself: text compared by its bytes whatever the database's collation, rows of the
//! organisation at hand only, and an audit log that not even its owner may change.
//!
//! SQLite compares text by its bytes anyway, has no roles, and its file belongs to one process; there this step does
//! nothing.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// The step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Tables whose rows carry their organisation.
const TENANT: &[&str] = &[
    "membership",
    "api_key",
    "asset",
    "persona",
    "campaign",
    "campaign_persona",
    "video",
    "post",
    "wallet",
    "billing_record",
    "budget",
    "audit_entry",
    "outbox_entry",
];

/// The organisation of the transaction. In a select of its own, so that it is worked out once a statement and not for
/// each row; empty once a transaction that set it has ended.
const OWN: &str = "(SELECT nullif(current_setting('chimera.organization', true), '')::uuid)";
/// Whether the transaction is the program's own and sees all organisations.
const SYSTEM: &str = "(SELECT current_setting('chimera.system', true) = 'on')";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let connection = manager.get_connection();
        connection.execute_unprepared(&collate("\"C\"")).await?;
        for table in TENANT {
            let own = format!("organization_id = {OWN} OR {SYSTEM}");
            connection.execute_unprepared(&wall(table, &own, &own)).await?;
        }
        let own = format!("id = {OWN} OR {SYSTEM}");
        connection.execute_unprepared(&wall("organization", &own, &own)).await?;
        // A user belongs to the organisations of their memberships. A new one has none yet, so anybody may make one.
        let member = format!(
            "EXISTS (SELECT 1 FROM membership WHERE membership.user_id = \"user\".id \
             AND membership.organization_id = {OWN}) OR {SYSTEM}"
        );
        connection.execute_unprepared(&wall("user", &member, "true")).await?;
        for sql in AUDIT_UP {
            connection.execute_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let connection = manager.get_connection();
        connection.execute_unprepared("GRANT UPDATE, DELETE, TRUNCATE ON audit_entry TO CURRENT_USER").await?;
        for table in TENANT.iter().chain(&["organization", "user"]) {
            let sql = format!(
                "DROP POLICY own_organization ON \"{table}\"; ALTER TABLE \"{table}\" NO FORCE ROW LEVEL SECURITY; \
                 ALTER TABLE \"{table}\" DISABLE ROW LEVEL SECURITY"
            );
            connection.execute_unprepared(&sql).await?;
        }
        connection.execute_unprepared(&collate("\"default\"")).await.map(drop)
    }
}

/// The triggers raise before the grants are asked for when a superuser writes; an ordinary owner meets the missing grant.
/// The one column is for the checks of foreign keys, which lock rows with the rights of the table's owner; the
/// trigger stands before it too.
const AUDIT_UP: &[&str] = &[
    "REVOKE ALL ON audit_entry FROM PUBLIC",
    "REVOKE UPDATE, DELETE, TRUNCATE ON audit_entry FROM CURRENT_USER",
    "GRANT UPDATE (id) ON audit_entry TO CURRENT_USER",
];

/// One policy for every command, also for the owner of the table.
fn wall(table: &str, seen: &str, written: &str) -> String {
    format!(
        "ALTER TABLE \"{table}\" ENABLE ROW LEVEL SECURITY; ALTER TABLE \"{table}\" FORCE ROW LEVEL SECURITY; \
         CREATE POLICY own_organization ON \"{table}\" USING ({seen}) WITH CHECK ({written})"
    )
}

/// Gives every column of text in the program's tables this collation.
fn collate(collation: &str) -> String {
    let tables = TENANT.iter().chain(&["organization", "user"]).map(|table| format!("'{table}'"));
    let tables = tables.collect::<Vec<_>>().join(", ");
    format!(
        "DO $$ DECLARE one record; BEGIN \
         FOR one IN SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = current_schema()::regnamespace \
         AND c.relname IN ({tables}) AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.atttypid IN ('text'::regtype, 'varchar'::regtype) LOOP \
         EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE %s COLLATE {collation}', one.relname, one.attname, one.type); \
         END LOOP; END $$"
    )
}
