//! What statements run on. SQLite has connections that read and one that writes; PostgreSQL has a transaction whose
//! organisation is set, because its row-level security hides every row from one that has none.
//!
//! A transaction of PostgreSQL begins, and says whose rows it may see, in one message. One that only reads is never
//! committed: dropped, it rolls back along with the connection's way into the pool, which nobody waits for.

use super::{pool::Losses, postgres};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    SqlxError, Statement,
    sea_query::Values,
    sqlx::{self, AssertSqlSafe, Executor, Postgres, query::Query},
};
use sea_query_sqlx::SqlxValues;
use std::sync::Arc;
use tokio::sync::Mutex;
use uuid::Uuid;

/// Whose rows a session may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of one organisation.
    Organization(Uuid),
    /// All: for the relay, authentication and start-up.
    Everything,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Read.
    Read,
    /// Write; statements see what others committed in between.
    Write,
    /// Write as if alone: a transaction that another one has got in the way of fails, and may be tried again.
    Serializable,
}

/// The one message that begins a transaction of PostgreSQL. Both settings are always set, and end with it.
pub(super) fn begin_statement(mode: Mode, reach: Reach) -> String {
    let begin = match mode {
        Mode::Read => "BEGIN READ ONLY",
        // Said aloud, so that a server which only reads refuses here and not at the first write.
        Mode::Write => "BEGIN READ WRITE",
        // A scan of a whole table, which is what the planner takes for a small one, would make every two writers of
        // it collide.
        Mode::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SET LOCAL enable_seqscan TO off",
    };
    match reach {
        Reach::Organization(id) => {
            format!("{begin}; SET LOCAL chimera.organization TO '{id}'; SET LOCAL chimera.system TO 'off'")
        }
        Reach::Everything => {
            format!("{begin}; SET LOCAL chimera.organization TO ''; SET LOCAL chimera.system TO 'on'")
        }
    }
}

/// A place where statements run.
pub(super) enum Session {
    /// A pool: each statement for itself.
    Pool(DatabaseConnection),
    /// A transaction of SQLite.
    Transaction(DatabaseTransaction),
    /// A transaction of PostgreSQL with its organisation.
    Postgres(PgSession),
}

impl Session {
    /// Keeps what was written. Anything else than a commit, dropping included, rolls back.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        match self {
            Session::Pool(_) => Ok(()),
            Session::Transaction(open) => open.commit().await,
            Session::Postgres(session) => session.commit().await,
        }
    }

    /// Lets the session see rows of all organisations until it is told otherwise. SQLite has no such wall.
    pub(super) async fn see_everything(&self, everything: bool) -> Result<(), DbErr> {
        if let Session::Postgres(session) = self {
            let word = if everything { "on" } else { "off" };
            session.execute_unprepared(&format!("SET LOCAL chimera.system TO '{word}'")).await?;
        }
        Ok(())
    }
}

/// A transaction of PostgreSQL.
pub(super) struct PgSession {
    open: Mutex<sqlx::Transaction<'static, Postgres>>,
    losses: Arc<Losses>,
}

impl PgSession {
    pub(super) fn new(open: sqlx::Transaction<'static, Postgres>, losses: Arc<Losses>) -> Self {
        Self { open: Mutex::new(open), losses }
    }

    async fn commit(self) -> Result<(), DbErr> {
        let Self { open, losses } = self;
        open.into_inner().commit().await.map_err(|error| {
            losses.note(&error);
            DbErr::Exec(error.into_runtime())
        })
    }

    fn failed(&self, error: SqlxError) -> DbErr {
        self.losses.note(&error);
        if error.as_database_error().is_some_and(postgres::is_outdated) {
            self.losses.condemn();
        }
        DbErr::Query(error.into_runtime())
    }
}

trait IntoRuntime {
    fn into_runtime(self) -> RuntimeErr;
}

impl IntoRuntime for SqlxError {
    fn into_runtime(self) -> RuntimeErr {
        RuntimeErr::SqlxError(Arc::new(self))
    }
}

/// The statement with its parameters bound, as SeaORM's own connections bind them.
fn bound(statement: Statement) -> Query<'static, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or_else(|| Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

#[async_trait::async_trait]
impl ConnectionTrait for PgSession {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut open = self.open.lock().await;
        bound(statement).execute(&mut **open).await.map(ExecResult::from).map_err(|error| self.failed(error))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut open = self.open.lock().await;
        let sql = AssertSqlSafe(sql.to_owned());
        open.execute(sql).await.map(ExecResult::from).map_err(|error| self.failed(error))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut open = self.open.lock().await;
        let found = bound(statement).fetch_optional(&mut **open).await;
        found.map(|row| row.map(QueryResult::from)).map_err(|error| self.failed(error))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut open = self.open.lock().await;
        let found = bound(statement).fetch_all(&mut **open).await;
        found.map(|rows| rows.into_iter().map(QueryResult::from).collect()).map_err(|error| self.failed(error))
    }
}

macro_rules! on_each {
    ($session:expr, $open:ident => $call:expr) => {
        match $session {
            Session::Pool($open) => $call,
            Session::Transaction($open) => $call,
            Session::Postgres($open) => $call,
        }
    };
}

#[async_trait::async_trait]
impl ConnectionTrait for Session {
    fn get_database_backend(&self) -> DbBackend {
        on_each!(self, open => open.get_database_backend())
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        on_each!(self, open => open.execute_raw(statement).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        on_each!(self, open => open.execute_unprepared(sql).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        on_each!(self, open => open.query_one_raw(statement).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        on_each!(self, open => open.query_all_raw(statement).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_says_whose_rows_it_sees() {
        let own = begin_statement(Mode::Read, Reach::Organization(Uuid::from_u128(7)));
        assert_eq!(
            own,
            "BEGIN READ ONLY; SET LOCAL chimera.organization TO '00000000-0000-0000-0000-000000000007'; \
             SET LOCAL chimera.system TO 'off'"
        );
        let all = begin_statement(Mode::Write, Reach::Everything);
        assert!(all.contains("chimera.organization TO ''") && all.ends_with("chimera.system TO 'on'"), "{all}");
    }
}
