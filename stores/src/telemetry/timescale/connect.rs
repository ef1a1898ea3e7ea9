//! Connections: from the URL to pools whose sessions are set up alike, and what the server must be to serve.
//!
//! Two pools: one answers calls, and a statement of it ends after [`STATEMENT_TIMEOUT`] even when nobody waits for it
//! any more; the other does the housekeeping, which may take its time.

use super::fault::{failed, refused};
use crate::{
    Address, Result,
    error::{ErrorKind, Store, StoreError},
};
use sea_orm::sqlx::{
    self, AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{str::FromStr, time::Duration};

/// How long a statement of a call may take on the server: no caller waits longer than this.
const STATEMENT_TIMEOUT: &str = "30s";
/// How long a call waits for a connection: below the guard's own deadline, so that the caller learns why.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A connection that was idle longer than this is tried before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// The oldest server that is served: what is older no longer gets fixes from its makers for long, and is not tried.
const OLDEST_SERVER: i32 = 150_000;
/// The oldest TimescaleDB that is served: roll-ups on roll-ups without an internal partial form, and deletes of
/// compressed rows, work from here on.
const OLDEST_EXTENSION: (u32, u32) = (2, 13);

/// Which of the two adapters this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Hypertables, continuous aggregates, policies.
    Timescale,
    /// Native partitions, tables of roll-ups.
    Plain,
}

impl Flavour {
    /// The adapter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timescale => "timescale",
            Self::Plain => "postgres-telemetry",
        }
    }
}

/// What a look at the server found.
#[derive(Clone, Debug)]
pub struct Server {
    /// Such as 150018.
    pub version: i32,
    /// Version and schema of TimescaleDB in this database.
    pub extension: Option<(String, String)>,
    /// Whether the server loads TimescaleDB when it starts.
    pub preloaded: bool,
    /// Whether TimescaleDB could be created here.
    pub installable: bool,
    /// Whether our schema is there.
    pub has_schema: bool,
}

/// The pools.
#[derive(Clone)]
pub struct Pools {
    /// For calls.
    pub calls: PgPool,
    /// For housekeeping.
    pub chores: PgPool,
}

/// The driver's options for a URL of any of our schemes.
pub fn options(address: &Address) -> Result<PgConnectOptions> {
    let (_, rest) = address.expose().split_once(':').unwrap_or(("", ""));
    let options = PgConnectOptions::from_str(&format!("postgres:{rest}")).map_err(failed)?;
    Ok(options.application_name("chimera-telemetry").statement_cache_capacity(256))
}

/// Looks at the server, and creates the extension where the URL's scheme demands it.
///
/// # Errors
/// What keeps this server from being used, with what to do about it.
pub async fn inspect(options: &PgConnectOptions, schema: &str, required: bool) -> Result<Server> {
    let mut server = look(options, schema).await?;
    supported(server.version)?;
    // A schema that is there without the extension is refused later on: nothing is to be changed for that.
    if required && server.extension.is_none() && !server.has_schema {
        create_extension(options, &server).await?;
        server = look(options, schema).await?;
    }
    let Some((version, _)) = &server.extension else { return Ok(server) };
    if !server.preloaded {
        // The server answers without the rows that are compressed, and hides what is written meanwhile later on.
        return Err(refused(
            ErrorKind::Unavailable,
            "TimescaleDB is in this database and not preloaded by the server: compressed rows would be missing",
            "set `shared_preload_libraries = 'timescaledb'` on the server and restart it",
        ));
    }
    supported_extension(version)?;
    Ok(server)
}

fn supported(version: i32) -> Result<()> {
    if version >= OLDEST_SERVER {
        return Ok(());
    }
    let message = format!("PostgreSQL {} is too old", version / 10_000);
    let advice = format!("use PostgreSQL {} or newer", OLDEST_SERVER / 10_000);
    Err(refused(ErrorKind::Unsupported, message, advice))
}

fn supported_extension(version: &str) -> Result<()> {
    if parse_version(version) >= OLDEST_EXTENSION {
        return Ok(());
    }
    let (major, minor) = OLDEST_EXTENSION;
    let advice = format!("use TimescaleDB {major}.{minor} or newer: ALTER EXTENSION timescaledb UPDATE");
    Err(refused(ErrorKind::Unsupported, format!("TimescaleDB {version} is too old"), advice))
}

fn parse_version(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

async fn look(options: &PgConnectOptions, schema: &str) -> Result<Server> {
    let mut connection = PgConnection::connect_with(options).await.map_err(failed)?;
    // The setting is made by the part of TimescaleDB that the server loads when it starts, and any user may see it. Where
    // a file of settings names it without that, it has a value and is not in this view.
    let sql = "SELECT current_setting('server_version_num')::int, \
               EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers'), \
               EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb'), e.extversion, n.nspname::text, \
               to_regclass(format('%I.state', $1::text)) IS NOT NULL \
               FROM (SELECT 1) AS one LEFT JOIN pg_extension AS e ON e.extname = 'timescaledb' \
               LEFT JOIN pg_namespace AS n ON n.oid = e.extnamespace";
    let row = sqlx::query(sql).bind(schema).fetch_one(&mut connection).await.map_err(failed)?;
    let get = || {
        let (version, schema): (Option<String>, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
        Ok(Server {
            version: row.try_get(0)?,
            preloaded: row.try_get(1)?,
            installable: row.try_get(2)?,
            extension: version.zip(schema),
            has_schema: row.try_get(5)?,
        })
    };
    let server = get().map_err(failed)?;
    close(connection).await;
    Ok(server)
}

async fn create_extension(options: &PgConnectOptions, server: &Server) -> Result<()> {
    if !server.installable {
        return Err(refused(
            ErrorKind::Unavailable,
            "the server has no TimescaleDB",
            "install TimescaleDB on the server, or use a `postgres:` URL to do without",
        ));
    }
    if !server.preloaded {
        return Err(refused(
            ErrorKind::Unavailable,
            "the server does not preload TimescaleDB",
            "set `shared_preload_libraries = 'timescaledb'` on the server and restart it",
        ));
    }
    let mut connection = PgConnection::connect_with(options).await.map_err(failed)?;
    // Replicas that start together take turns: two CREATE EXTENSION at once collide.
    let sql = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('chimera telemetry extension', 0)); \
               CREATE EXTENSION IF NOT EXISTS timescaledb; COMMIT";
    let created = connection.execute(sql).await;
    close(connection).await;
    created.map(drop).map_err(|error| {
        let advice = "let a superuser run CREATE EXTENSION timescaledb in this database";
        let message = "TimescaleDB could not be created in this database";
        StoreError::with_source(Store::Telemetry, ErrorKind::Unavailable, message, error).with_advice(advice)
    })
}

async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection was not closed in good order");
    }
}

/// The pools. Connections are made when they are needed.
pub fn pools(options: &PgConnectOptions, server: &Server, schema: &str, calls: u32) -> Pools {
    let path = match &server.extension {
        // Both names are plain words: ours was checked, and the other one comes from the catalogue and is quoted.
        Some((_, extension)) => format!("\"{schema}\", \"{}\"", extension.replace('"', "\"\"")),
        None => format!("\"{schema}\""),
    };
    let pool = |most: u32, timeout: &'static str| {
        let setup = format!(
            "SET search_path = {path}; SET statement_timeout = '{timeout}'; SET jit = off; SET timezone = 'UTC'; \
             SET client_min_messages = warning; SET lock_timeout = '15s'"
        );
        PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let setup = AssertSqlSafe(setup.clone());
                Box::pin(async move { connection.execute(setup).await.map(drop) })
            })
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone())
    };
    Pools { calls: pool(calls.max(2), STATEMENT_TIMEOUT), chores: pool(2, "0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_extensions_are_refused() {
        for version in [150_000, 180_001] {
            supported(version).unwrap();
        }
        for version in ["2.13.0", "2.13.0-dev", "2.22.1", "3.0"] {
            supported_extension(version).unwrap();
        }
        for (refusal, words, advice) in [
            (supported(140_012), "PostgreSQL 14 is too old", "PostgreSQL 15 or newer"),
            (supported_extension("2.12.2"), "TimescaleDB 2.12.2 is too old", "2.13 or newer: ALTER EXTENSION"),
            (supported_extension("1.7.5"), "TimescaleDB 1.7.5 is too old", "2.13 or newer"),
        ] {
            let error = refusal.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unsupported, words));
            assert!(error.advice().is_some_and(|text| text.contains(advice)), "{:?}", error.advice());
        }
    }
}
