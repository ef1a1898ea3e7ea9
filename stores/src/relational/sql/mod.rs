//! The adapter over a SQL database, through SeaORM: SQLite for one machine, PostgreSQL for many.
//!
//! A read is one statement whatever the size of its batch: the keys travel as one JSON parameter (on PostgreSQL as
//! arrays, whose size the planner estimates low), so there is one prepared statement per question and not one per batch
//! size. A write is one transaction: on the one writing connection of SQLite, on any connection of PostgreSQL's pool.
//! What differs between the statements of the databases is in [`dialect`]; what they run on is a [`Session`].
//!
//! # PostgreSQL
//!
//! Row-level security is a second wall behind the filters: each transaction says whose rows it may see, and a
//! statement that forgot its filter finds no others. The settings go out together with `BEGIN`, and the rollback of a
//! read is not waited for, so the wall costs a read one more round trip.
//!
//! Transactions that write billing records are serialisable, and begin again, a bounded number of times, when another
//! one got in their way.
//!
//! This module decides nothing about roles or about what a mutation may do; it keeps organisations apart and rows whole.

mod budget;
mod claim;
mod column;
mod dialect;
mod fault;
mod fields;
mod notify;
mod outbox;
mod pool;
mod postgres;
mod read;
mod replica;
mod report;
mod session;
mod table;
mod write;

#[cfg(test)]
mod tests;

use super::{
    BillingKey, BillingTotal, Capabilities, Column, Committed, Kind, PageQuery, RelationalAdapter, Row, STORE,
    Settlement, SpendQuery, SpendReport, Transaction,
};
use crate::{
    Address, Clock, Finding, Principal, Result, Role, Scope,
    error::{ErrorKind, StoreError},
    page::Page,
};
use async_trait::async_trait;
use entity::{api_key, membership, organization, outbox_entry};
use futures_util::stream::BoxStream;
use migration::{Migrator, MigratorTrait};
use pool::Pool;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Statement, TransactionTrait,
};
use session::{Mode, Reach, Session};
use std::{fmt, path::Path, sync::Arc, time::Duration};

pub use postgres::PostgresOptions;
use replica::ask;
use table::for_kind;
use tokio::sync::Mutex;
use uuid::Uuid;

/// Keys of one batch: 36 KB of JSON, a few milliseconds of work.
const MAX_BATCH: usize = 1000;

/// How often a transaction is tried when others get in its way. Thirty-two writers of one budget in one process need
/// 1.5 tries on average and five at the most, because they take turns; other processes do not.
const TRIES: u32 = 12;

/// A relational store in a SQL database. Cheap to clone.
#[derive(Clone)]
pub struct SqlRelational {
    /// Many connections that only read.
    reader: DatabaseConnection,
    /// On SQLite one connection, so that writers queue here and not on the database's lock.
    writer: DatabaseConnection,
    /// On PostgreSQL what both are made of, and what sessions begin on.
    postgres: Option<Pool>,
    /// Transactions that collided take turns here, so that those of one process do not collide again and again.
    turns: Arc<Mutex<()>>,
    /// Whether row-level security binds us.
    walled: bool,
    /// What this process carries of the outbox; `None` on SQLite, which one process has to itself.
    claims: Option<Arc<claim::Claims>>,
    /// Where reads may go that tolerate an older answer.
    replica: Option<Arc<replica::Replica>>,
    clock: Arc<dyn Clock>,
    place: String,
}

impl fmt::Debug for SqlRelational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlRelational").field("place", &self.place).finish_non_exhaustive()
    }
}

impl SqlRelational {
    /// Opens or makes a SQLite file, checks that it is whole, and brings its schema up to date.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Unavailable` when it cannot be opened or written, `Invalid` when a
    /// newer version of this program has changed its schema.
    pub async fn open_sqlite(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let place = path.display().to_string();
        let writer = dialect::connect_sqlite_writer(path).await.map_err(|error| fault::opening(&place, error))?;
        dialect::check_sqlite_file(&writer, &place).await?;
        let reader = dialect::connect_sqlite_reader(path).await.map_err(|error| fault::opening(&place, error))?;
        let (turns, postgres, claims, replica) = (Arc::default(), None, None, None);
        let store = Self { reader, writer, postgres, turns, walled: false, claims, replica, clock, place };
        store.migrate().await?;
        Ok(store)
    }

    /// Opens a PostgreSQL database, checks that it can be used, and brings its schema up to date.
    ///
    /// # Errors
    /// `Invalid` for a malformed URL or a schema that a newer version of this program has changed, `Unsupported` for a
    /// server that is too old, `Unavailable` when it cannot be reached or does not let us in; with advice.
    pub async fn open_postgres(address: &Address, options: PostgresOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let (pool, walled) = postgres::connect(address, options).await?;
        let (connection, place) = (pool.database(), address.to_string());
        let (reader, writer) = (connection.clone(), connection);
        let claims = Some(Arc::new(claim::Claims::new(&pool)));
        let (turns, postgres, replica) = (Arc::default(), Some(pool), None);
        let store = Self { reader, writer, postgres, turns, walled, claims, replica, clock, place };
        if !store.is_current().await? {
            store.migrate().await?;
        }
        Ok(store)
    }

    /// Applies every migration that is still to be applied: all of them or none.
    ///
    /// # Errors
    /// `Invalid` when the schema is newer than this program; otherwise what the database says.
    pub async fn migrate(&self) -> Result<()> {
        let transaction = self.migration().await?;
        Migrator::up(&transaction, None).await.map_err(|error| fault::migrating(&self.place, error))?;
        transaction.commit().await.map_err(|error| fault::migrating(&self.place, error))
    }

    /// Undoes the last `steps` migrations and loses what their tables hold: for development, never for a store that
    /// holds people's data.
    ///
    /// # Errors
    /// What the database says.
    pub async fn rollback(&self, steps: u32) -> Result<()> {
        let transaction = self.migration().await?;
        Migrator::down(&transaction, Some(steps)).await.map_err(|error| fault::migrating(&self.place, error))?;
        transaction.commit().await.map_err(|error| fault::migrating(&self.place, error))
    }

    /// A transaction that may write at once, so that it never has to give way half-way through, and that is the only
    /// one that migrates.
    async fn migration(&self) -> Result<DatabaseTransaction> {
        let open = self.writer.begin_with_options(dialect::write_options()).await;
        let open = open.map_err(|error| fault::migrating(&self.place, error))?;
        if self.postgres.is_some() {
            postgres::prepare_migration(&open).await.map_err(|error| fault::migrating(&self.place, error))?;
        }
        Ok(open)
    }

    /// Whether exactly this program's migrations were applied. Asking needs no right to change the schema, so that a
    /// role without it can run on tables that another role keeps up to date.
    async fn is_current(&self) -> Result<bool> {
        let backend = self.reader.get_database_backend();
        let asked = |error| fault::migrating(&self.place, error);
        let there = Statement::from_string(backend, "SELECT to_regclass('seaql_migrations') IS NOT NULL");
        let there = self.reader.query_one_raw(there).await.map_err(asked)?;
        if !there.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false)) {
            return Ok(false);
        }
        let applied = Statement::from_string(backend, "SELECT version FROM seaql_migrations ORDER BY version");
        let applied = self.reader.query_all_raw(applied).await.map_err(asked)?;
        let applied = applied.iter().map(|row| row.try_get_by_index::<String>(0)).collect::<Result<Vec<_>, _>>();
        let mut own: Vec<_> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
        own.sort();
        Ok(applied.map_err(asked)? == own)
    }

    /// Where to read what `reach` may see.
    async fn read(&self, reach: Reach) -> Result<Session> {
        match &self.postgres {
            Some(pool) => pool.begin(Mode::Read, reach).await,
            None => Ok(Session::Pool(self.reader.clone())),
        }
    }

    /// The same for rows of one organisation.
    async fn read_own(&self, scope: &Scope) -> Result<Session> {
        self.read(Reach::Organization(scope.organization_id())).await
    }

    /// Where to write.
    async fn begin(&self, mode: Mode, reach: Reach) -> Result<Session> {
        match &self.postgres {
            Some(pool) => pool.begin(mode, reach).await,
            None => {
                let open = self.writer.begin_with_options(dialect::write_options()).await;
                open.map(Session::Transaction).map_err(fault::database)
            }
        }
    }

    /// One try at a transaction.
    async fn try_commit(&self, mode: Mode, scope: &Scope, transaction: &Transaction) -> Result<Committed> {
        let open = self.begin(mode, Reach::Organization(scope.organization_id())).await?;
        // An early return drops the transaction, which rolls it back.
        let committed = write::all(&open, scope, transaction, self.clock.now()).await?;
        if !committed.outbox.is_empty() {
            notify::tell(&open).await?;
        }
        open.commit().await.map_err(fault::committing)?;
        Ok(committed)
    }
}

/// From 1 ms, doubled up to 32 ms, with as much again by chance, so that those who collided do not meet again.
fn pause(tries: u32) -> Duration {
    let base = 1_u64 << tries.saturating_sub(1).min(5);
    Duration::from_micros(base * 1000 + rand::random_range(0..base * 1000))
}

#[async_trait]
impl RelationalAdapter for SqlRelational {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: dialect::adapter_name(self.writer.get_database_backend()),
            place: self.place.clone(),
            max_batch: MAX_BATCH,
            durable: true,
            row_level_security: self.walled,
        }
    }

    async fn health(&self) -> Result<()> {
        let reader = self.read(Reach::Everything).await?;
        let ask = Statement::from_string(reader.get_database_backend(), "SELECT 1");
        reader.query_one_raw(ask).await.map_err(fault::database)?;
        drop(reader);
        // One that can only be read refuses to begin.
        self.begin(Mode::Write, Reach::Everything).await.map(drop)
    }

    async fn findings(&self) -> Result<Vec<Finding>> {
        let Some(pool) = &self.postgres else {
            return Ok(Vec::new());
        };
        let session = self.read(Reach::Everything).await?;
        let mut findings = postgres::findings(&session, pool).await.map_err(fault::database)?;
        if let Some(replica) = &self.replica {
            replica.measured().await;
            findings.extend(replica.finding());
        }
        Ok(findings)
    }

    /// The writer goes last: it folds SQLite's log into the file, so that the file alone is the whole store.
    async fn close(&self) {
        if let Some(claims) = &self.claims {
            claims.close().await;
        }
        if let Some(replica) = &self.replica {
            replica.close().await;
        }
        for connection in [&self.reader, &self.writer] {
            if let Err(error) = connection.close_by_ref().await {
                tracing::warn!(%error, "the relational store was not closed in good order");
            }
        }
    }

    async fn get(&self, scope: &Scope, kind: Kind, ids: &[Uuid]) -> Result<Vec<Option<Row>>> {
        ask!(self, scope, reader => for_kind!(kind, E => read::get::<E>(reader, scope, ids).await))
    }

    async fn find(&self, scope: &Scope, kind: Kind, column: Column, values: &[String]) -> Result<Vec<Option<Row>>> {
        ask!(self, scope, reader => for_kind!(kind, E => read::find::<E>(reader, scope, column, values).await))
    }

    async fn pages(&self, scope: &Scope, query: &PageQuery, parents: &[Uuid]) -> Result<Vec<Page<Row>>> {
        ask!(self, scope, reader => for_kind!(query.kind, E => read::pages::<E>(reader, scope, query, parents).await))
    }

    async fn commit(&self, scope: &Scope, transaction: &Transaction) -> Result<Committed> {
        let Transaction { changes, audit, outbox } = transaction;
        if changes.is_empty() && audit.is_empty() && outbox.is_empty() {
            return Ok(Committed::default());
        }
        let mode = if changes.iter().any(budget::concerns) { Mode::Serializable } else { Mode::Write };
        let (mut tries, mut turn) = (1, None);
        loop {
            match self.try_commit(mode, scope, transaction).await {
                Err(error) if tries < TRIES && fault::is_outdated(&error) => tries += 1,
                Err(error) if tries < TRIES && fault::is_contention(&error) => {
                    if turn.is_none() {
                        turn = Some(self.turns.lock().await);
                    }
                    tokio::time::sleep(pause(tries)).await;
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    async fn billing_totals(&self, scope: &Scope, keys: &[BillingKey]) -> Result<Vec<Vec<BillingTotal>>> {
        ask!(self, scope, reader => read::billing_totals(reader, scope, keys).await)
    }

    async fn spend_reports(&self, scope: &Scope, queries: &[SpendQuery]) -> Result<Vec<SpendReport>> {
        ask!(self, scope, reader => report::spend(reader, scope, queries).await)
    }

    async fn outbox_due(&self, target: outbox_entry::Target, limit: u32) -> Result<Vec<outbox_entry::Model>> {
        let (reader, now) = (self.read(Reach::Everything).await?, self.clock.now());
        match &self.claims {
            Some(claims) => claims.due(reader, target, limit, now).await,
            None => outbox::due(&reader, target, limit, now).await,
        }
    }

    async fn outbox_settle(&self, settlements: &[(i64, Settlement)]) -> Result<()> {
        if settlements.is_empty() {
            return Ok(());
        }
        if let Some(claims) = &self.claims
            && claims.settle(settlements).await?
        {
            return Ok(());
        }
        let open = self.begin(Mode::Write, Reach::Everything).await?;
        outbox::settle(&open, settlements).await?;
        open.commit().await.map_err(fault::database)
    }

    async fn outbox_left(&self, sequences: &[i64]) -> Result<Vec<i64>> {
        outbox::left(&self.read(Reach::Everything).await?, sequences).await
    }

    fn outbox_changes(&self) -> Option<BoxStream<'static, ()>> {
        self.postgres.as_ref().map(notify::changes)
    }

    async fn outbox_depth(&self) -> Result<Vec<(outbox_entry::Target, u64)>> {
        outbox::depth(&self.read(Reach::Everything).await?).await
    }

    async fn authenticate(&self, key_hash: &str) -> Result<Option<Scope>> {
        let key = api_key::Entity::find()
            .filter(api_key::Column::Hash.eq(key_hash))
            .filter(self.live())
            .one(&self.read(Reach::Everything).await?)
            .await
            .map_err(fault::database)?;
        Ok(key.map(|key| Scope::new(key.organization_id, Principal::ApiKey(key.id), role(key.role))))
    }

    async fn live_keys(&self) -> Result<u64> {
        let reader = self.read(Reach::Everything).await?;
        api_key::Entity::find().filter(self.live()).count(&reader).await.map_err(fault::database)
    }

    async fn organizations(&self) -> Result<Vec<Uuid>> {
        organization::Entity::find()
            .select_only()
            .column(organization::Column::Id)
            .order_by_asc(organization::Column::Id)
            .into_tuple()
            .all(&self.read(Reach::Everything).await?)
            .await
            .map_err(fault::database)
    }

    async fn organization_by_handle(&self, handle: &str) -> Result<Option<organization::Model>> {
        organization::Entity::find()
            .filter(organization::Column::Handle.eq(handle))
            .one(&self.read(Reach::Everything).await?)
            .await
            .map_err(fault::database)
    }
}

impl SqlRelational {
    /// Keys that are neither revoked nor expired.
    fn live(&self) -> Condition {
        let unexpired = Condition::any()
            .add(api_key::Column::ExpiresAt.is_null())
            .add(api_key::Column::ExpiresAt.gt(self.clock.now()));
        Condition::all().add(api_key::Column::RevokedAt.is_null()).add(unexpired)
    }
}

fn role(role: membership::Role) -> Role {
    match role {
        membership::Role::Viewer => Role::Viewer,
        membership::Role::Editor => Role::Editor,
        membership::Role::Admin => Role::Admin,
    }
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(STORE, ErrorKind::Invalid, message)
}
