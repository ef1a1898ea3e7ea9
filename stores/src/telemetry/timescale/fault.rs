//! What the driver's errors mean: each that an operator or a caller meets gets its kind, plain words, and advice.
//!
//! Never shows the driver's text: it may hold values and names of other tenants.

use crate::error::{ErrorKind, Store, StoreError};
use sea_orm::sqlx;

const STORE: Store = Store::Telemetry;

/// The store's error for an error of the driver.
pub fn failed(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    let (kind, message, advice) = match (code.as_deref(), &error) {
        (Some(code), _) => by_code(code),
        (None, sqlx::Error::PoolTimedOut) => {
            (ErrorKind::Overloaded, "no connection became free in time", Some("raise `telemetry.pool`"))
        }
        (None, sqlx::Error::Tls(_)) => {
            (ErrorKind::Unavailable, "no encrypted connection could be made", Some("check `sslmode` in the URL"))
        }
        (None, sqlx::Error::Configuration(_)) => {
            (ErrorKind::Invalid, "the URL of the store is not understood", Some("check `telemetry.url`"))
        }
        (None, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_)) => {
            (ErrorKind::Corrupt, "a column does not hold what this program wrote", None)
        }
        (None, sqlx::Error::Protocol(_) | sqlx::Error::RowNotFound) => {
            (ErrorKind::BadResponse, "the server's answer makes no sense", None)
        }
        (None, sqlx::Error::Encode(_) | sqlx::Error::ColumnIndexOutOfBounds { .. }) => {
            (ErrorKind::Internal, "a statement could not be put together", None)
        }
        // What is left says that the connection is gone, or that the pool is closed.
        (None, _) => (ErrorKind::Unavailable, "the database cannot be reached", Some("check that the server runs")),
    };
    let failed = StoreError::with_source(STORE, kind, message, error);
    match advice {
        Some(advice) => failed.with_advice(advice),
        None => failed,
    }
}

type Meaning = (ErrorKind, &'static str, Option<&'static str>);

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn by_code(code: &str) -> Meaning {
    match code {
        "28P01" | "28000" => {
            (ErrorKind::Unavailable, "the database refuses the user or the password", Some("check `telemetry.url`"))
        }
        "3D000" => (ErrorKind::Unavailable, "the database does not exist", Some("create it, or check `telemetry.url`")),
        "42501" => (
            ErrorKind::Unavailable,
            "the database user lacks a grant",
            Some("let the user own the schema, and grant it CREATE on the database"),
        ),
        "53300" => (
            ErrorKind::Overloaded,
            "the server has no connection left",
            Some("raise `max_connections` of the server, or lower `telemetry.pool`"),
        ),
        "53100" => (ErrorKind::Unavailable, "the server's disk is full", Some("free space on it")),
        "53200" | "53400" => (ErrorKind::Overloaded, "the server lacks memory", None),
        "57014" => (ErrorKind::Timeout, "the statement took too long", None),
        "55P03" => (ErrorKind::Overloaded, "a table is locked", None),
        "40001" | "40P01" => (ErrorKind::Unavailable, "the transaction met another one", None),
        "25006" => (
            ErrorKind::Unavailable,
            "the database can only be read",
            Some("name the primary server, not a replica, in `telemetry.url`"),
        ),
        "42P01" | "42703" | "42883" | "3F000" => (
            ErrorKind::Corrupt,
            "the telemetry schema is not what this program made",
            Some("restore it from a backup, or drop it and start anew"),
        ),
        _ if code.starts_with("08") || code.starts_with("57P") => {
            (ErrorKind::Unavailable, "the server ended the connection", Some("check that the server runs"))
        }
        _ if code.starts_with("XX") || code.starts_with("58") => {
            (ErrorKind::Corrupt, "the server cannot read what it stored", Some("look at the server's own log"))
        }
        _ => (ErrorKind::Internal, "a statement failed", None),
    }
}

/// A refusal at start, with what to do.
pub fn refused(kind: ErrorKind, message: impl Into<String>, advice: impl Into<String>) -> StoreError {
    StoreError::new(STORE, kind, message).with_advice(advice)
}
