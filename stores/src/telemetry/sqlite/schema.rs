//! Opening `telemetry.db`: whose file it is, whether it is whole, its schema, and what the driver's errors mean.
//!
//! A file is looked at before anything is written to it: a foreign or damaged one is refused as it lies there.

use crate::{
    Result,
    error::{ErrorKind, Store, StoreError},
};
use sea_orm::{
    ConnAcquireErr, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    Statement, TransactionTrait, sqlx,
};
use std::{path::Path, time::Duration};

const STORE: Store = Store::Telemetry;
/// `ctel`: what makes the file ours.
const APPLICATION_ID: i64 = 0x6374_656c;
/// Readers at the same time; more than two cores' worth of them only wait for the disk.
const READERS: u32 = 4;
/// How long a statement waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// The schema's versions in order; `user_version` says how many were applied. Append only.
///
/// Times are microseconds since the Unix epoch, ids their 16 bytes. `gpu_seconds_bits` is the float's bit pattern: for
/// numbers that are not negative it sorts as the number does, and no conversion to text and back can change it.
/// Every index ends in `(at, id, stage)`, so that a page is picked without touching the table.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE IF NOT EXISTS events (
        sequence INTEGER PRIMARY KEY,
        organization_id BLOB NOT NULL,
        id BLOB NOT NULL,
        video_id BLOB NOT NULL,
        persona_id BLOB NOT NULL,
        campaign_id BLOB,
        stage INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 4),
        at INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
        cost_micros INTEGER NOT NULL CHECK (cost_micros >= 0),
        frames INTEGER NOT NULL CHECK (frames >= 0),
        gpu_seconds_bits INTEGER NOT NULL CHECK (gpu_seconds_bits >= 0),
        succeeded INTEGER NOT NULL CHECK (succeeded IN (0, 1)),
        UNIQUE (organization_id, id)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS events_by_organization ON events (organization_id, at, id, stage);
    CREATE INDEX IF NOT EXISTS events_by_persona ON events (organization_id, persona_id, at, id, stage);
    CREATE INDEX IF NOT EXISTS events_by_campaign ON events (organization_id, campaign_id, at, id, stage)
        WHERE campaign_id IS NOT NULL;
    CREATE INDEX IF NOT EXISTS events_by_video ON events (organization_id, video_id, at, id, stage);
"];

/// The one connection that writes, and those that read beside it.
pub struct Connections {
    /// A pool of one.
    pub writer: DatabaseConnection,
    /// A pool that cannot write.
    pub readers: DatabaseConnection,
}

/// Opens or makes the file.
pub async fn open(path: &Path) -> Result<Connections> {
    let failed = |error| store_error(path, error);
    let writer = connect(path, 1, false).await.map_err(failed)?;
    let version = check(&writer, path).await?;
    // Kept by the file itself, so that every later connection has it too.
    writer.execute_unprepared("PRAGMA journal_mode = WAL").await.map_err(failed)?;
    migrate(&writer, version).await.map_err(failed)?;
    let readers = connect(path, READERS, true).await.map_err(failed)?;
    Ok(Connections { writer, readers })
}

async fn connect(path: &Path, connections: u32, read_only: bool) -> Result<DatabaseConnection, DbErr> {
    let file = path.to_owned();
    // The URL only picks the driver: a path may hold characters that a URL cannot.
    let mut options = ConnectOptions::new("sqlite:telemetry.db");
    options.max_connections(connections).sqlx_logging(false).map_sqlx_sqlite_opts(move |options| {
        let options = options
            .filename(&file)
            .create_if_missing(!read_only)
            .busy_timeout(BUSY)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
        if read_only { options.pragma("query_only", "ON") } else { options }
    });
    Database::connect(options).await
}

/// Refuses what is not ours or not whole; how many migrations it has seen.
async fn check(writer: &DatabaseConnection, path: &Path) -> Result<usize> {
    let failed = |error| store_error(path, error);
    let owner = number(writer, "SELECT application_id FROM pragma_application_id").await.map_err(failed)?;
    let version = number(writer, "SELECT user_version FROM pragma_user_version").await.map_err(failed)?;
    let tables = number(writer, "SELECT COUNT(*) FROM sqlite_schema").await.map_err(failed)?;
    let fresh = owner == 0 && version == 0 && tables == 0;
    let version =
        usize::try_from(version).ok().filter(|_| fresh || owner == APPLICATION_ID).ok_or_else(|| corrupt(path))?;
    if version > MIGRATIONS.len() {
        let message = format!("{} was written by a newer version of this program", path.display());
        return Err(StoreError::unsupported(STORE, message));
    }
    let quick = Statement::from_string(DbBackend::Sqlite, "PRAGMA quick_check(1)");
    let row = writer.query_one_raw(quick).await.map_err(failed)?;
    let answer = row.and_then(|row| row.try_get_by_index::<String>(0).ok());
    if answer.as_deref() == Some("ok") { Ok(version) } else { Err(corrupt(path)) }
}

async fn number(connection: &DatabaseConnection, sql: &str) -> Result<i64, DbErr> {
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
    row.ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))?.try_get_by_index(0)
}

/// Each version commits with its number, so that a crash leaves the one or the other.
async fn migrate(writer: &DatabaseConnection, version: usize) -> Result<(), DbErr> {
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = writer.begin().await?;
        transaction.execute_unprepared(sql).await?;
        let stamp = format!("PRAGMA user_version = {}; PRAGMA application_id = {APPLICATION_ID}", index + 1);
        transaction.execute_unprepared(&stamp).await?;
        transaction.commit().await?;
    }
    Ok(())
}

fn corrupt(path: &Path) -> StoreError {
    StoreError::new(STORE, ErrorKind::Corrupt, damaged(path))
}

fn damaged(path: &Path) -> String {
    format!("{} is damaged or not a file of this program; restore it from a backup or move it away", path.display())
}

/// What the driver's error means to a caller.
pub fn store_error(path: &Path, error: DbErr) -> StoreError {
    let (kind, message) = match (primary_code(&error), &error) {
        (Some(11 | 26), _) => (ErrorKind::Corrupt, damaged(path)),
        (Some(5 | 6), _) => (ErrorKind::Unavailable, format!("{} is held by another process", path.display())),
        (Some(13), _) => (ErrorKind::Unavailable, format!("the disk of {} is full", path.display())),
        (Some(3 | 8 | 10 | 14), _) => (ErrorKind::Unavailable, format!("{} cannot be read or written", path.display())),
        (_, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) => {
            (ErrorKind::Overloaded, "too many statements are waiting for the file".to_owned())
        }
        (_, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => {
            (ErrorKind::Unavailable, format!("{} cannot be opened", path.display()))
        }
        // A column that does not hold what the schema says.
        (_, DbErr::Type(_) | DbErr::TryIntoErr { .. }) => (ErrorKind::Corrupt, damaged(path)),
        _ => (ErrorKind::Internal, "a statement failed".to_owned()),
    };
    StoreError::with_source(STORE, kind, message, error)
}

/// SQLite's primary result code: <https://www.sqlite.org/rescode.html>.
fn primary_code(error: &DbErr) -> Option<i64> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let extended: i64 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
