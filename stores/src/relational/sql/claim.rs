//! Whose turn it is to carry the outbox, when several processes share a database.
//!
//! For each target one process at a time holds what it reads until it has settled it: a transaction that holds an
//! advisory lock of the database, in which the entries are read and settled. Two relays so never carry the same entry
//! twice, and never two entries of one entity past each other. The lock goes with its transaction: when the process
//! dies, its connection breaks, or it does nothing for as long as `idle_in_transaction_session_timeout` allows, the
//! next process takes over and carries the same entries again; the stores absorb that by version, as they do after a
//! crash of a single process.
//!
//! Rows are not locked one by one (`FOR UPDATE SKIP LOCKED`): who skips the locked older entry of an entity would carry
//! the younger one first. The transaction costs the server a connection and no more: at `READ COMMITTED` it holds no
//! snapshot between its statements, so it does not keep dead rows from being removed.

use super::{
    fault, outbox,
    pool::Pool,
    session::{Mode, Reach, Session},
};
use crate::{Result, relational::Settlement};
use chrono::{DateTime, Utc};
use entity::outbox_entry::{Model, Target};
use sea_orm::{ConnectionTrait, DbErr, Statement, sqlx::postgres::PgConnectOptions};
use std::{collections::HashSet, time::Duration};
use tokio::sync::Mutex;

/// Marks the advisory locks of this program's outbox: `OUTB`. The second half of the key is the target.
const LOCK: i32 = 0x4f55_5442;
/// How long a process waits for its turn. Mostly shorter than a batch takes (the relay aims at 250 ms), so that a process
/// whose entries another one is just carrying sees them gone when it gets its turn.
const WAIT: Duration = Duration::from_millis(400);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// The claims of this process. Their connections are their own: a batch under way must not take them from requests.
pub(super) struct Claims {
    sessions: Pool,
    open: [Mutex<Option<Claim>>; 2],
}

/// What this process has read and not settled.
struct Claim {
    session: Session,
    sequences: HashSet<i64>,
}

impl Claims {
    /// The claims on a PostgreSQL database, one connection for each target, made when first needed.
    pub(super) fn new(pool: &Pool) -> Self {
        let connect =
            PgConnectOptions::clone(&pool.options()).options([("lock_timeout", WAIT.as_millis().to_string())]);
        Self { sessions: Pool::new(connect, 2, CONNECT), open: [Mutex::default(), Mutex::default()] }
    }

    fn of(&self, target: Target) -> (&Mutex<Option<Claim>>, i32) {
        let [memory, search] = &self.open;
        match target {
            Target::Memory => (memory, 1),
            Target::Search => (search, 2),
        }
    }

    /// What is due, held until it is settled or asked for again; nothing while another process holds entries.
    pub(super) async fn due(
        &self,
        reader: Session,
        target: Target,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Vec<Model>> {
        let (slot, key) = self.of(target);
        let mut claim = slot.lock().await;
        // It held nothing but the lock, which goes with it.
        drop(claim.take());
        // Mostly there is nothing, and finding that out needs no claim.
        if outbox::due(&reader, target, limit.min(1), now).await?.is_empty() {
            return Ok(Vec::new());
        }
        drop(reader);
        let session = self.sessions.begin(Mode::Write, Reach::Everything).await?;
        if !locked(&session, key).await? {
            return Ok(Vec::new());
        }
        // Read after the lock was got: what its last holder carried is gone.
        let entries = outbox::due(&session, target, limit, now).await?;
        if !entries.is_empty() {
            let sequences = entries.iter().map(|entry| entry.sequence).collect();
            *claim = Some(Claim { session, sequences });
        }
        Ok(entries)
    }

    /// Settles in the claim that these entries were read under, and ends it; `false` when there is none.
    pub(super) async fn settle(&self, settlements: &[(i64, Settlement)]) -> Result<bool> {
        for slot in &self.open {
            // A slot that is locked belongs to a process that is asking what is due, and so holds nothing.
            let Ok(mut claim) = slot.try_lock() else { continue };
            let of_claim = |claim: &Claim| settlements.iter().any(|(sequence, _)| claim.sequences.contains(sequence));
            if claim.as_ref().is_some_and(of_claim)
                && let Some(Claim { session, .. }) = claim.take()
            {
                outbox::settle(&session, settlements).await?;
                session.commit().await.map_err(fault::database)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives up what is held and lets go of the connections.
    pub(super) async fn close(&self) {
        for slot in &self.open {
            slot.lock().await.take();
        }
        if let Err(error) = self.sessions.database().close_by_ref().await {
            tracing::warn!(%error, "the connections of the outbox were not closed in good order");
        }
    }
}

/// Waits for the lock until the transaction ends; `false` when another process keeps it for longer than [`WAIT`].
async fn locked(open: &Session, key: i32) -> Result<bool> {
    let sql = "SELECT pg_advisory_xact_lock($1, $2)";
    let lock = Statement::from_sql_and_values(open.get_database_backend(), sql, [LOCK.into(), key.into()]);
    match open.query_one_raw(lock).await {
        Ok(_) => Ok(true),
        Err(error) if waited_in_vain(&error) => Ok(false),
        Err(error) => Err(fault::database(error)),
    }
}

/// The lock was not got in time; a deadline below [`WAIT`] ends the statement itself.
fn waited_in_vain(error: &DbErr) -> bool {
    let code = fault::refusal(error).and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "57014"))
}
