//! The connections to PostgreSQL, and what to do when the server goes away and comes back.
//!
//! Connections are not tested before use: that would be a round trip for each call. Instead, when one turns out to be
//! lost, all that were opened before that moment are thrown away as they come up, and the transaction that was about
//! to begin begins on a new one. So a restarted server costs its callers nothing, however many dead connections the
//! pool holds.

use super::{
    STORE, fault,
    session::{Mode, PgSession, Reach, Session, begin_statement},
};
use crate::{
    Result,
    error::{ErrorKind, StoreError},
};
use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr, SqlxError,
    sqlx::{
        AssertSqlSafe, Connection, PgConnection, PgPool,
        error::DatabaseError,
        pool::PoolConnectionMetadata,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How often a transaction begins anew because its connection was lost. The second begins on a new connection.
const BEGINNINGS: u32 = 3;
/// A connection that nobody has used for this long is tested first: firewalls forget those without a word.
const UNTESTED: Duration = Duration::from_secs(30);

/// Connections to one server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    connections: PgPool,
    losses: Arc<Losses>,
    /// How a connection is made, and whose turn it is to try one.
    options: Arc<PgConnectOptions>,
    probing: Arc<Mutex<()>>,
    most: u32,
}

impl Pool {
    /// A pool of at most `most` connections, each made when it is first needed. Whoever waits longer than `patience`
    /// for one is told that the database is overloaded.
    pub(super) fn new(options: PgConnectOptions, most: u32, patience: Duration) -> Self {
        let losses = Arc::new(Losses::new());
        let known = losses.clone();
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(patience)
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let usable = !known.after(meta.age);
                Box::pin(async move { Ok(usable && is_alive(connection, &meta).await) })
            });
        let (options, probing) = (Arc::new(options), Arc::default());
        Self { connections: pool.connect_lazy_with((*options).clone()), losses, options, probing, most }
    }

    /// The pool as SeaORM's migrations want it: without an organisation, so that row-level security hides all rows.
    pub(super) fn database(&self) -> DatabaseConnection {
        self.connections.clone().into()
    }

    /// How its connections are made, for those that must not come out of it.
    pub(super) fn options(&self) -> Arc<PgConnectOptions> {
        self.connections.connect_options()
    }

    /// Connections at the most.
    pub(super) fn most(&self) -> u32 {
        self.most
    }

    /// Begins a transaction. Nothing has happened yet when its connection turns out to be lost, so it tries another.
    pub(super) async fn begin(&self, mode: Mode, reach: Reach) -> Result<Session> {
        let mut beginnings = 1;
        loop {
            if !self.losses.working() {
                self.probe().await?;
            }
            let statement = AssertSqlSafe(begin_statement(mode, reach));
            match self.connections.begin_with(statement).await {
                Ok(open) => {
                    self.losses.works();
                    return Ok(Session::Postgres(PgSession::new(open, self.losses.clone())));
                }
                Err(error) if self.losses.note(&error) && beginnings < BEGINNINGS => beginnings += 1,
                // It waits for connections as long as it may, and does not tell why none came.
                Err(error @ SqlxError::PoolTimedOut) if self.connections.size() < self.most => {
                    self.losses.doubt();
                    self.probe().await?;
                    return Err(away(error));
                }
                Err(error) => return Err(refused(error)),
            }
        }
    }

    /// Tries to connect, one caller at a time, when the last that was heard of the server was that it is gone. The pool
    /// would try again and again, as long as a caller may wait, where a server that is down or full says so at once.
    async fn probe(&self) -> Result<()> {
        let _turn = self.probing.lock().await;
        if self.losses.working() {
            return Ok(());
        }
        match tokio::time::timeout(PROBE, PgConnection::connect_with(&self.options)).await {
            Ok(Ok(connection)) => {
                self.losses.works();
                // The server notices the end of a connection by itself when this fails.
                let _ = connection.close().await;
                Ok(())
            }
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(away(SqlxError::PoolTimedOut)),
        }
    }
}

/// The longest that a server which works takes to let somebody in, on a bad day.
const PROBE: Duration = Duration::from_millis(500);

fn away(error: SqlxError) -> StoreError {
    StoreError::with_source(STORE, ErrorKind::Unavailable, "the database does not answer", error)
}

/// Why no transaction began.
fn refused(error: SqlxError) -> StoreError {
    match error.as_database_error().and_then(DatabaseError::code).as_deref() {
        // What a standby says to `BEGIN READ WRITE`: a feature that it does not support.
        Some("0A000") => StoreError::with_source(STORE, ErrorKind::Unavailable, fault::ONLY_READ, error),
        _ => fault::database(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))),
    }
}

async fn is_alive(connection: &mut PgConnection, meta: &PoolConnectionMetadata) -> bool {
    meta.idle_for < UNTESTED || connection.ping().await.is_ok()
}

/// When a connection was last found to be lost, or of no more use.
pub(super) struct Losses {
    since: Instant,
    /// Microseconds from `since`; 0 for never.
    last: AtomicU64,
    working: AtomicBool,
}

impl Losses {
    fn new() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0), working: AtomicBool::new(true) }
    }

    /// Takes note when the error means that the connection is gone; answers whether it does.
    pub(super) fn note(&self, error: &SqlxError) -> bool {
        let lost = is_loss(error);
        if lost {
            self.condemn();
            self.working.store(false, Ordering::Relaxed);
        }
        lost
    }

    /// Has all connections thrown away that were opened before now.
    pub(super) fn condemn(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// It is not known whether the server is there.
    fn doubt(&self) {
        self.working.store(false, Ordering::Relaxed);
    }

    fn works(&self) {
        self.working.store(true, Ordering::Relaxed);
    }

    fn working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    /// Whether a loss came after a connection of this age was opened.
    fn after(&self, age: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != 0 && self.now().saturating_sub(micros(age)) <= last
    }

    fn now(&self) -> u64 {
        micros(self.since.elapsed()).max(1)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whether the connection that said this cannot be used again. The codes are those with which a server that stops, or
/// an administrator, ends a connection.
fn is_loss(error: &SqlxError) -> bool {
    match error {
        SqlxError::Io(_) | SqlxError::Tls(_) | SqlxError::Protocol(_) => true,
        SqlxError::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_condemns_what_was_opened_before_it() {
        let losses = Losses::new();
        assert!(!losses.after(Duration::from_secs(9)), "nothing was lost yet");
        assert!(!losses.note(&SqlxError::PoolTimedOut) && losses.working(), "a full pool is no loss");
        assert!(losses.note(&SqlxError::Io(std::io::ErrorKind::ConnectionReset.into())));
        assert!(!losses.working());
        std::thread::sleep(Duration::from_millis(20));
        assert!(losses.after(Duration::from_secs(9)));
        assert!(!losses.after(Duration::from_millis(1)), "it was opened after the loss");
        losses.works();
        assert!(losses.working() && losses.after(Duration::from_secs(9)));

        let losses = Losses::new();
        losses.condemn();
        assert!(losses.working() && losses.after(Duration::from_secs(9)), "the server itself is there");
    }
}
