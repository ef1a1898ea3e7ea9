//! A read replica of PostgreSQL: which reads may go there, and how it is known that it is not too old.
//!
//! The rule: a read goes to the replica when its scope tolerates an answer that lags ([`Scope::may_lag`]) and the
//! replica is known to be no older than the bound. Everything else goes to the primary: writes, the reads of a mutation,
//! the look-up of API keys, the outbox, and whatever runs without a request. A read that the replica fails is asked of
//! the primary, so a replica can be taken away at any time.
//!
//! How old it is is measured against the primary and not by clocks or by the time of the last transaction, which on a
//! quiet database is old without meaning anything: the position of the primary's log is noted with the time, and the
//! replica is as fresh as the newest note that it has replayed. What cannot be measured, because either server does not
//! answer, is too old as soon as the last measurement is.

use super::{
    SqlRelational,
    pool::Pool,
    postgres::{PostgresOptions, connect_options},
    session::{Mode, Reach, Session},
};
use crate::{
    Address, Finding, Result, Scope,
    error::{ErrorKind, StoreError},
};
use parking_lot::Mutex;
use sea_orm::sqlx::{self, Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::AbortHandle};

/// How long both servers may take to tell where they are.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why reads do not go to the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Unmeasured,
    PrimaryAway,
    Away,
    NoReplica,
    AnotherServer,
    Behind,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Unmeasured => "it has not been measured yet",
            Trouble::PrimaryAway => "the primary does not tell where its log is",
            Trouble::Away => "it does not answer",
            Trouble::NoReplica => "it is not a replica: it takes writes of its own",
            Trouble::AnotherServer => "it replicates another server, or another database was named",
            Trouble::Behind => "it is too far behind",
        })
    }
}

impl Trouble {
    fn advice(self) -> &'static str {
        match self {
            Trouble::Unmeasured => "ask again in a moment",
            Trouble::PrimaryAway => "look at the primary first",
            Trouble::Away => "check relational.replica_url, and that the replica runs with hot_standby = on",
            Trouble::NoReplica => "make it a standby of the primary, or unset relational.replica_url",
            Trouble::AnotherServer => "name a standby of the server in relational.url, and the same database",
            Trouble::Behind => {
                "check pg_stat_replication on the primary and the replica's load, or raise relational.replica_max_lag"
            }
        }
    }
}

/// The replica of one store.
pub(super) struct Replica {
    pool: Pool,
    /// How long a read may take there, so that the primary has as much time again.
    budget: Duration,
    place: String,
    state: Arc<State>,
    watch: AbortHandle,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// What is known of it.
struct State {
    max_lag: Duration,
    /// It has everything that was committed before this moment.
    fresh: Mutex<Result<Instant, Trouble>>,
    /// Wakes the watch before its time.
    look: Notify,
}

impl State {
    fn trouble(&self) -> Option<Trouble> {
        match *self.fresh.lock() {
            Ok(at) if at.elapsed() <= self.max_lag => None,
            Ok(_) => Some(Trouble::Behind),
            Err(trouble) => Some(trouble),
        }
    }
}

impl SqlRelational {
    /// Adds a read replica, which need not be there: until it is, and whenever it is more than `max_lag` behind, the
    /// primary serves its reads. Must be called on a Tokio runtime; one task watches the replica from now on.
    ///
    /// # Errors
    /// `Invalid` for a malformed URL, or when this store is not on PostgreSQL.
    pub fn with_replica(mut self, address: &Address, options: PostgresOptions, max_lag: Duration) -> Result<Self> {
        let Some(primary) = self.postgres.as_ref().map(Pool::options) else {
            return Err(super::invalid("only a store on PostgreSQL has a replica"));
        };
        let budget = options.deadline / 2;
        let there = connect_options(address, PostgresOptions { deadline: budget, ..options })?;
        let state = Arc::new(State { max_lag, fresh: Mutex::new(Err(Trouble::Unmeasured)), look: Notify::new() });
        let place = address.to_string();
        let watch = Watch {
            primary: Server::new(PgConnectOptions::clone(&primary)),
            replica: Server::new(there.clone()),
            notes: VecDeque::new(),
            state: state.clone(),
        };
        let watch = tokio::spawn(watch.run(place.clone())).abort_handle();
        let pool = Pool::new(there, options.connections, budget / 2);
        self.replica = Some(Arc::new(Replica { pool, budget, place, state, watch }));
        Ok(self)
    }

    /// The replica, when `scope` allows it and it is fresh enough.
    pub(super) fn replica_for(&self, scope: &Scope) -> Option<&Replica> {
        let replica = self.replica.as_deref().filter(|_| scope.may_lag())?;
        replica.state.trouble().is_none().then_some(replica)
    }
}

/// How often the primary is asked when somebody changes its tables meanwhile.
pub(super) const READINGS: u32 = 3;

/// Asks where the scope allows it: the replica when the answer may lag, and the primary otherwise or when the replica
/// fails. `$ask` is what to ask of the session called `$reader`.
macro_rules! ask {
    ($store:expr, $scope:expr, $reader:ident => $ask:expr) => {{
        let answered = match $store.replica_for($scope) {
            Some(replica) => {
                let asked = async {
                    let $reader = &replica.begin($scope).await?;
                    $ask
                };
                replica.answer(asked).await
            }
            None => None,
        };
        match answered {
            Some(answer) => answer,
            None => {
                let mut tries = 1;
                loop {
                    let asked = async {
                        let $reader = &$store.read_own($scope).await?;
                        $ask
                    };
                    match asked.await {
                        // The next connection is one that has prepared nothing yet.
                        Err(error) if tries < replica::READINGS && fault::is_outdated(&error) => tries += 1,
                        answer => break answer,
                    }
                }
            }
        }
    }};
}

pub(super) use ask;

/// What another server may answer better.
fn blames_the_server(error: &StoreError) -> bool {
    error.kind().is_store_fault() || error.kind() == ErrorKind::Overloaded
}

impl Replica {
    /// A session for rows of the scope's organisation.
    pub(super) async fn begin(&self, scope: &Scope) -> Result<Session> {
        self.pool.begin(Mode::Read, Reach::Organization(scope.organization_id())).await
    }

    /// What the replica answers; `None` when the primary is to be asked instead.
    pub(super) async fn answer<T>(&self, asked: impl Future<Output = Result<T>>) -> Option<Result<T>> {
        match tokio::time::timeout(self.budget, asked).await {
            Ok(Err(error)) if blames_the_server(&error) => self.failed(&error.chain()),
            Ok(answer) => return Some(answer),
            Err(_) => self.failed("it did not answer in time"),
        }
        None
    }

    /// Nothing more is asked of it until it has been looked at.
    fn failed(&self, why: &str) {
        tracing::debug!(place = self.place, why, "a read of the replica is asked of the primary");
        *self.state.fresh.lock() = Err(Trouble::Away);
        self.state.look.notify_one();
    }

    /// What keeps reads away from it.
    pub(super) fn finding(&self) -> Option<Finding> {
        let trouble = self.state.trouble()?;
        let message = format!("the replica {} serves no reads: {trouble}", self.place);
        Some(Finding::new(message, trouble.advice()))
    }

    /// Waits until it has been measured once, for who is about to ask for [`Replica::finding`].
    pub(super) async fn measured(&self) {
        let measured = async {
            while self.state.trouble() == Some(Trouble::Unmeasured) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Without an answer in time it stays unmeasured, which is a finding too.
        let _ = tokio::time::timeout(PATIENCE, measured).await;
    }

    pub(super) async fn close(&self) {
        self.watch.abort();
        if let Err(error) = self.pool.database().close_by_ref().await {
            tracing::warn!(%error, "the connections of the replica were not closed in good order");
        }
    }
}

/// Where a server is in the log, in bytes (nothing on a replica that is none), and which server and database it is.
type Position = (Option<i64>, i64, String);

const WRITTEN: &str = "SELECT (pg_current_wal_lsn() - '0/0')::bigint, system_identifier, current_database()::text \
                       FROM pg_control_system()";
const REPLAYED: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END, \
                        system_identifier, current_database()::text FROM pg_control_system()";

/// A server with a connection of the watch's own: when the pools are exhausted is no time to lose the replica.
struct Server {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Server {
    fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: None }
    }

    /// Asks where it is; a connection that fails is not used again.
    async fn position(&mut self, question: &'static str) -> Option<Position> {
        let connection = self.connection.take();
        let asked = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => PgConnection::connect_with(&self.options).await?,
            };
            let position = sqlx::query_as::<_, Position>(question).fetch_one(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, position))
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok((connection, position))) => {
                self.connection = Some(connection);
                Some(position)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a server does not tell where its log is");
                None
            }
            Err(_) => None,
        }
    }
}

/// Measures the replica again and again.
struct Watch {
    primary: Server,
    replica: Server,
    /// Where the primary's log was, and when: oldest first, each further than the one before.
    notes: VecDeque<(Instant, i64)>,
    state: Arc<State>,
}

impl Watch {
    async fn run(mut self, place: String) {
        // Often enough that a replica that keeps up is always known to.
        let pause = (self.state.max_lag / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        let mut told = Some(Trouble::Unmeasured);
        loop {
            let measured = self.measure().await;
            *self.state.fresh.lock() = measured;
            let trouble = self.state.trouble();
            if trouble != told {
                match trouble {
                    Some(trouble) => tracing::warn!(place, "the replica serves no reads: {trouble}"),
                    None => tracing::info!(place, "the replica serves reads"),
                }
                told = trouble;
            }
            // Woken or not, it looks again.
            let _ = tokio::time::timeout(pause, self.state.look.notified()).await;
        }
    }

    /// The moment up to which the replica has everything.
    async fn measure(&mut self) -> Result<Instant, Trouble> {
        let now = Instant::now();
        let (written, system, database) = self.primary.position(WRITTEN).await.ok_or(Trouble::PrimaryAway)?;
        let written = written.ok_or(Trouble::PrimaryAway)?;
        match self.notes.back_mut() {
            // Nothing was written since: who has that has all there is now.
            Some((at, log)) if *log == written => *at = now,
            Some((_, log)) if *log < written => self.notes.push_back((now, written)),
            // The first note, or another server has taken the place of the primary.
            _ => self.notes = VecDeque::from([(now, written)]),
        }
        let (replayed, of_system, of_database) = self.replica.position(REPLAYED).await.ok_or(Trouble::Away)?;
        let replayed = replayed.ok_or(Trouble::NoReplica)?;
        if (of_system, of_database) != (system, database) {
            return Err(Trouble::AnotherServer);
        }
        // The newest note that was replayed stays, for the next measurement may find no newer one.
        while self.notes.get(1).is_some_and(|(_, log)| *log <= replayed) {
            self.notes.pop_front();
        }
        // What nobody has replayed for this long tells nothing; the bound keeps the list short.
        while self.notes.len() > NOTES {
            self.notes.remove(1);
        }
        match self.notes.front() {
            Some((at, log)) if *log <= replayed => Ok(*at),
            _ => Err(Trouble::Behind),
        }
    }
}

/// Notes at the most.
const NOTES: usize = 256;
