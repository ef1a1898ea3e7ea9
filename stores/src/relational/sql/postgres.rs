//! Opening a PostgreSQL database: the options of its connections, the pool, and what is asked of the server before the
//! first call. Whatever stands in the way is said in words that its operator can act on.
//!
//! Nothing here knows a table; that is the rest of the adapter's.

use super::{STORE, fault, pool::Pool, session::Session};
use crate::{
    Address, Finding, Result,
    error::{ErrorKind, StoreError},
};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqlxError, Statement,
    sqlx::{
        Connection, PgConnection, Row,
        error::DatabaseError,
        postgres::{PgConnectOptions, PgDatabaseError},
    },
};
use std::{str::FromStr, time::Duration};

/// The oldest server that is supported, as `server_version_num` has it.
const OLDEST: i32 = 150_000;
/// Prepared statements kept by a connection: some twenty shapes for each of the fourteen kinds.
const STATEMENTS: usize = 512;
/// How long the first connection may take.
const OPENING: Duration = Duration::from_secs(10);
/// A transaction that does nothing for this long belongs to a process that is gone or stuck; it must not hold locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(60);

/// How the connections of a PostgreSQL database are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Connections at the most.
    pub connections: u32,
    /// How long a call may take: statements end by themselves then, and waiting for a connection ends before.
    pub deadline: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connections: 16, deadline: Duration::from_secs(2) }
    }
}

/// Connects once to see what is there, and makes the pool; answers also whether row-level security binds this role.
pub(super) async fn connect(address: &Address, options: PostgresOptions) -> Result<(Pool, bool)> {
    let connect = connect_options(address, options)?;
    let place = address.to_string();
    let first = tokio::time::timeout(OPENING, PgConnection::connect_with(&connect));
    let mut first = match first.await {
        Ok(opened) => opened.map_err(|error| refused(&place, &connect, error))?,
        Err(_) => return Err(unreachable(&place, SqlxError::PoolTimedOut)),
    };
    let walled = check_server(&mut first, &place).await?;
    // The server notices the end of a connection by itself when this fails.
    let _ = first.close().await;
    // Below the deadline of the caller, who then hears that the database is overloaded and not that it is slow.
    Ok((Pool::new(connect, options.connections, options.deadline.mul_f64(0.75)), walled))
}

pub(super) fn connect_options(address: &Address, options: PostgresOptions) -> Result<PgConnectOptions> {
    let parsed = PgConnectOptions::from_str(address.expose()).map_err(|error| {
        StoreError::with_source(STORE, ErrorKind::Invalid, format!("{address} is not the URL of a database"), error)
            .with_advice("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with signs such as @ or / in the password percent-encoded")
    })?;
    Ok(parsed.application_name("chimera").statement_cache_capacity(STATEMENTS).options([
        ("statement_timeout", options.deadline.as_millis().to_string()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION.as_millis().to_string()),
        ("timezone", "UTC".to_owned()),
    ]))
}

/// Refuses a server that is too old, or that keeps text in another encoding. Answers whether row-level security binds
/// this role.
async fn check_server(connection: &mut PgConnection, place: &str) -> Result<bool> {
    let sql = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
               current_setting('server_encoding'), \
               NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)";
    let row = sea_orm::sqlx::query(sql).fetch_one(connection).await;
    let told = row.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)));
    let (number, version, encoding, walled): (i32, String, String, bool) =
        told.map_err(|error| fault::opening(place, error))?;
    supported(place, number, &version, &encoding)?;
    Ok(walled)
}

fn supported(place: &str, number: i32, version: &str, encoding: &str) -> Result<()> {
    if number < OLDEST {
        let message = format!("{place} runs PostgreSQL {version}, which is too old");
        return Err(StoreError::new(STORE, ErrorKind::Unsupported, message)
            .with_advice(format!("the oldest version that is supported is {}; upgrade the server", OLDEST / 10_000)));
    }
    if encoding != "UTF8" {
        let message = format!("{place} keeps text as {encoding}");
        return Err(StoreError::new(STORE, ErrorKind::Unsupported, message)
            .with_advice("make a database with ENCODING 'UTF8' TEMPLATE template0, and name it in the URL"));
    }
    Ok(())
}

/// Why the first connection was refused.
fn refused(place: &str, options: &PgConnectOptions, error: SqlxError) -> StoreError {
    let user = options.get_username();
    let code = error.as_database_error().and_then(DatabaseError::code).unwrap_or_default().into_owned();
    let (reason, advice) = match code.as_str() {
        "28P01" => (
            format!("the password of the user {user} is wrong"),
            "check the user and the password in the URL; signs such as @ or / are percent-encoded there".to_owned(),
        ),
        "28000" => (
            format!("the server does not let the user {user} in"),
            "check that the role exists and may log in, and that pg_hba.conf has a line for this user, database and \
             address (with or without TLS)"
                .to_owned(),
        ),
        "3D000" => (
            "there is no such database".to_owned(),
            format!("make it as a superuser: CREATE DATABASE … OWNER {user} ENCODING 'UTF8' TEMPLATE template0"),
        ),
        "42501" => (
            format!("the user {user} may not connect to this database"),
            format!("GRANT CONNECT ON DATABASE … TO {user}"),
        ),
        "53300" => (
            "the server has no connection left".to_owned(),
            "raise max_connections of the server, or lower relational.pool of every replica".to_owned(),
        ),
        "57P03" => ("the server is starting up or shutting down".to_owned(), "try again shortly".to_owned()),
        "" => return unreachable(place, error),
        _ => return fault::opening(place, error),
    };
    let message = format!("{place} cannot be opened: {reason}");
    StoreError::with_source(STORE, ErrorKind::Unavailable, message, error).with_advice(advice)
}

fn unreachable(place: &str, error: SqlxError) -> StoreError {
    let (reason, advice) = match &error {
        SqlxError::Tls(_) => (
            "no TLS connection could be made",
            "check sslmode and sslrootcert in the URL, and the server's certificate",
        ),
        SqlxError::PoolTimedOut => {
            ("the server does not answer", "check host and port in the URL, and that no firewall drops the connection")
        }
        SqlxError::Io(_) => (
            "the server cannot be reached",
            "check host and port in the URL, that the server runs, and that its listen_addresses include that host",
        ),
        _ => return fault::opening(place, error),
    };
    let message = format!("{place} cannot be opened: {reason}");
    StoreError::with_source(STORE, ErrorKind::Unavailable, message, error).with_advice(advice)
}

/// Whether a statement was prepared on tables that somebody has changed since, as a newer release does that migrates
/// while this one runs. It fails on its connection for as long as that is open. The code alone stands for anything that
/// is not supported, and the words are in the server's language: the place in the server's code is neither.
pub(super) fn is_outdated(error: &dyn DatabaseError) -> bool {
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine);
    error.code().as_deref() == Some("0A000") && routine == Some("RevalidateCachedQuery")
}

/// The kind of a failure that is not about a constraint: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) fn failure(error: &dyn DatabaseError) -> (ErrorKind, &'static str) {
    let code = error.code().unwrap_or_default();
    match &*code {
        "0A000" if is_outdated(error) => (ErrorKind::Unavailable, "the tables were changed while this program runs"),
        "40001" | "40P01" => (ErrorKind::Overloaded, "too many writes of the same rows are under way"),
        "55P03" => (ErrorKind::Overloaded, "the rows are held by another writer"),
        "53200" => (ErrorKind::Overloaded, "the database has no memory left"),
        "53300" => (ErrorKind::Overloaded, "the database has no connection left"),
        "57014" => (ErrorKind::Timeout, "the database did not answer in time"),
        "53100" => (ErrorKind::Unavailable, "the disk of the database is full"),
        "25006" => (ErrorKind::Unavailable, fault::ONLY_READ),
        // Row-level security uses the same code as a missing grant, and only a defect of this program meets it.
        "42501" if error.message().contains("row-level security") => {
            (ErrorKind::Forbidden, "the row belongs to another organisation")
        }
        "42501" => (ErrorKind::Unavailable, "the role of this program lacks a grant in the database"),
        "42P01" | "42703" | "3F000" => (ErrorKind::Unavailable, "the database lacks a table of this program"),
        "22021" | "22P05" => (ErrorKind::Invalid, "text holds a character that the database cannot keep"),
        "22003" | "22001" | "54000" => (ErrorKind::Invalid, "a value is too large for the database"),
        "XX001" | "XX002" => (ErrorKind::Corrupt, "the database is damaged"),
        code => match code.get(..2) {
            Some("08" | "57" | "25") => (ErrorKind::Unavailable, "the database closed the connection"),
            Some("58" | "53") => (ErrorKind::Unavailable, "the database cannot use its disk or memory"),
            _ => (ErrorKind::Internal, "the database refused a statement"),
        },
    }
}

/// The number that replicas agree on when they migrate: `chimera` in ASCII.
const MIGRATING: i64 = 0x0063_6869_6d65_7261;

/// Makes this transaction the only one that migrates until it ends: replicas that start together wait here. It may take
/// longer than a call, and rewrites rows of every organisation.
pub(super) async fn prepare_migration(open: &DatabaseTransaction) -> Result<(), DbErr> {
    let prepare = format!(
        "SET LOCAL statement_timeout TO 0; SET LOCAL chimera.system TO 'on'; SELECT pg_advisory_xact_lock({MIGRATING})"
    );
    open.execute_unprepared(&prepare).await.map(drop)
}

/// Why a migration failed, and what the operator can do about it.
pub(super) fn migration_advice(error: &dyn DatabaseError) -> Option<(&'static str, &'static str)> {
    let about_extension = error.message().contains("extension");
    match error.code().unwrap_or_default().as_ref() {
        "42501" if about_extension => Some((
            "the role of this program may not create an extension",
            "as a superuser, in this database: CREATE EXTENSION btree_gist",
        )),
        "0A000" | "58P01" | "22023" if about_extension => Some((
            "the server lacks the extension btree_gist",
            "install the contrib modules of the server (postgresql-contrib), which have it",
        )),
        "42501" => Some((
            "the role of this program may not create or change its tables",
            "let it own the database (ALTER DATABASE … OWNER TO …) or its schema (GRANT CREATE ON SCHEMA public TO …), \
             or run `chimera migrate` as the role that owns the tables",
        )),
        "25006" => Some((
            "the server only reads: it is a replica, or default_transaction_read_only is on",
            "name the primary server in the URL",
        )),
        _ => None,
    }
}

/// What an operator should know about the server and the role.
pub(super) async fn findings(session: &Session, pool: &Pool) -> Result<Vec<Finding>, DbErr> {
    let sql = "SELECT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS bypass, \
               current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' \
               AND current_setting('synchronous_commit') <> 'off' AS durable, \
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most";
    let row = session.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("settings".to_owned()))?;
    let mut findings = Vec::new();
    if row.try_get::<bool>("", "bypass")? {
        findings.push(Finding::new(
            "the role of this program is a superuser or has BYPASSRLS, so row-level security does not bind it",
            "make an ordinary role, let it own the database, and name it in relational.url",
        ));
    }
    if !row.try_get::<bool>("", "durable")? {
        findings.push(Finding::new(
            "the server may lose acknowledged writes when its machine loses power",
            "turn fsync, full_page_writes and synchronous_commit on",
        ));
    }
    let most = row.try_get::<i32>("", "most")?;
    if i64::from(pool.most()) > i64::from(most) {
        findings.push(Finding::new(
            format!("one replica may open {} connections, and the server allows {most}", pool.most()),
            "lower relational.pool, or raise max_connections of the server",
        ));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_other_encodings_are_refused() {
        assert!(supported("db", 150_000, "15.0", "UTF8").is_ok());
        assert!(supported("db", 180_006, "18.6", "UTF8").is_ok());
        for (number, version, encoding, words, advice) in [
            (140_012, "14.12", "UTF8", "db runs PostgreSQL 14.12, which is too old", "supported is 15"),
            (150_000, "15.0", "SQL_ASCII", "db keeps text as SQL_ASCII", "ENCODING 'UTF8'"),
        ] {
            let error = supported("db", number, version, encoding).unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unsupported, words));
            assert!(error.advice().is_some_and(|text| text.contains(advice)), "{:?}", error.advice());
        }
    }
}
