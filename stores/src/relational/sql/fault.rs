//! What a failure of the database means to the port. The driver's own words go into the source, never into the message.

use super::{STORE, dialect, postgres};
use crate::error::{ErrorKind, StoreError};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlxError, sqlx::error::DatabaseError};
use std::error::Error;

/// The driver's error inside of SeaORM's.
pub(super) fn driver(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// What the database itself said, when it was the database that refused.
pub(super) fn refusal(error: &DbErr) -> Option<&dyn DatabaseError> {
    driver(error).and_then(SqlxError::as_database_error)
}

/// Any failure of a statement.
pub(super) fn database(error: DbErr) -> StoreError {
    let (kind, message) = classify(&error);
    StoreError::with_source(STORE, kind, message, error)
}

fn classify(error: &DbErr) -> (ErrorKind, &'static str) {
    if let Some(error) = driver(error) {
        return classify_driver(error);
    }
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => OVERLOADED,
        DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) | DbErr::Conn(_) => CLOSED,
        DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } | DbErr::ConvertFromU64(_) => UNREADABLE,
        _ => (ErrorKind::Internal, "the database could not be asked"),
    }
}

/// What is said of a database that refuses every write.
pub(super) const ONLY_READ: &str = "the database cannot be written: it is a replica or read-only";
const OVERLOADED: (ErrorKind, &str) = (ErrorKind::Overloaded, "too many calls wait for a connection of the database");
const CLOSED: (ErrorKind, &str) = (ErrorKind::Unavailable, "the database is closed");
const LOST: (ErrorKind, &str) = (ErrorKind::Unavailable, "the connection to the database was lost");
const UNREADABLE: (ErrorKind, &str) = (ErrorKind::Corrupt, "a stored row cannot be read");

fn classify_driver(error: &SqlxError) -> (ErrorKind, &'static str) {
    match error {
        SqlxError::Database(error) => dialect::failure(&**error),
        SqlxError::PoolTimedOut => OVERLOADED,
        SqlxError::PoolClosed | SqlxError::WorkerCrashed => CLOSED,
        SqlxError::Io(_) | SqlxError::Tls(_) => LOST,
        SqlxError::Protocol(_) => (ErrorKind::BadResponse, "the database answered something that makes no sense"),
        SqlxError::Decode(_) | SqlxError::ColumnDecode { .. } => UNREADABLE,
        _ => (ErrorKind::Internal, "the database could not be asked"),
    }
}

/// A failure of the commit itself. When nothing came back, nobody knows whether it was done.
pub(super) fn committing(error: DbErr) -> StoreError {
    let told = database(error);
    if told.kind() != ErrorKind::Unavailable {
        return told;
    }
    let message = "the database went away while the change was committed; it is there whole or not at all";
    StoreError::with_source(STORE, ErrorKind::Unavailable, message, told)
}

/// Whether other transactions got in the way of this one, which may succeed when it is tried again from its beginning.
pub(super) fn is_contention(error: &StoreError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<DbErr>()).and_then(refusal);
    source.and_then(|error| error.code()).is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// Whether the statement was prepared on tables that were changed since. Nothing has happened, and it may succeed on
/// another connection.
pub(super) fn is_outdated(error: &StoreError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<DbErr>()).and_then(refusal);
    source.is_some_and(postgres::is_outdated)
}

/// A failure to open the database at `place`.
pub(super) fn opening(place: &str, error: SqlxError) -> StoreError {
    let (kind, message) = match classify_driver(&error) {
        (ErrorKind::Corrupt, _) => (ErrorKind::Corrupt, damaged(place)),
        (_, reason) => (ErrorKind::Unavailable, format!("{place} cannot be opened: {reason}")),
    };
    StoreError::with_source(STORE, kind, message, error)
}

/// The same, for the first statements.
pub(super) fn opening_database(place: &str, error: DbErr) -> StoreError {
    match classify(&error) {
        (ErrorKind::Corrupt, _) => StoreError::with_source(STORE, ErrorKind::Corrupt, damaged(place), error),
        (kind, reason) => StoreError::with_source(STORE, kind, format!("{place} cannot be opened: {reason}"), error),
    }
}

/// A failure to bring the schema at `place` up to date.
pub(super) fn migrating(place: &str, error: DbErr) -> StoreError {
    match error {
        // The migrator's only use of this variant: a migration was applied that it does not know.
        DbErr::Custom(_) => {
            let message = format!("{place} was changed by a newer version of this program");
            StoreError::with_source(STORE, ErrorKind::Invalid, message, error)
        }
        error => match refusal(&error).and_then(dialect::migration_advice) {
            Some((reason, advice)) => {
                let message = format!("the schema of {place} cannot be brought up to date: {reason}");
                StoreError::with_source(STORE, ErrorKind::Unavailable, message, error).with_advice(advice)
            }
            None => opening_database(place, error),
        },
    }
}

/// What to say about a file that cannot be trusted.
pub(super) fn damaged(place: &str) -> String {
    format!("{place} is damaged or not a database of this program; restore it from a backup or move it away")
}
