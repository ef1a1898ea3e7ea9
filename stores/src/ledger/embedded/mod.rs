//! The embedded ledger: a local append-only chain for each organisation, in one folder.
//!
//! ```text
//! <folder>/<organisation>.chain   the blocks           see chain_file.rs, block.rs
//! <folder>/<organisation>.head    how far acknowledged see head.rs
//! <folder>/ledger.lock            one process at a time
//! ```
//!
//! Balances, indexes and idempotency keys are kept in memory and derived from the files, every byte of which is checked
//! at opening. There is one writer and no fork, and a block is acknowledged only after it is on disk, so every entry is
//! final: `finality` is always [`Finality::Finalized`](super::Finality::Finalized).
//!
//! Where the port leaves room, this adapter answers so:
//! - a wallet of another chain is `Unsupported` in `balances` (that key alone), and ignored in pages and outflows;
//! - a malformed address is `Invalid` in `balances` (that key alone), and finds nothing in pages and outflows;
//! - a token that was spent entirely is not listed; an unknown wallet holds nothing;
//! - a symbol has one number of decimals within an organisation, whatever its contract, and its supply stays below 2^256;
//! - an event's entry has the contract as payer, whom it is about as payee, no amount, and a token without a symbol
//!   whose contract is the event's;
//! - a submission whose caller gave up may still be written: repeat it with the same idempotency key to learn.

mod block;
mod chain;
mod chain_file;
mod codec;
mod head;
mod json;
mod merkle;
mod paging;
mod rules;
mod state;
#[cfg(test)]
mod tests;
mod tip;
mod verify;

pub use rules::local_address;

use super::{
    Balance, Capabilities, Chain, Entry, EntryId, EntryPageQuery, LedgerAdapter, Outflow, OutflowQuery, Proof, Receipt,
    STORE, Submission, Verification, WalletRef,
};
use crate::{
    Result, Scope,
    clock::Clock,
    error::{ErrorKind, StoreError},
    page::Page,
};
use async_trait::async_trait;
use block::Transaction;
use chain_file::{organizations, unreadable};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long to wait for a process that is just ending, or for a last write of this one, before the folder is given up.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The embedded ledger. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedLedger(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    chains: RwLock<HashMap<Uuid, Arc<chain::Chain>>>,
    lock: Arc<File>,
}

impl std::fmt::Debug for EmbeddedLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLedger").field("folder", &self.0.folder).finish_non_exhaustive()
    }
}

impl EmbeddedLedger {
    /// Opens the folder, or makes it, and checks every chain in it. Reads whole files: call it at start, or from a
    /// thread that may block.
    ///
    /// # Errors
    /// `Corrupt` naming the file and the block that does not check out; `Unavailable` when the folder cannot be read or
    /// another process has it.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| unreadable(folder, error))?;
        let lock = Arc::new(lock(folder)?);
        let mut chains = HashMap::new();
        for organization in organizations(folder).map_err(|error| unreadable(folder, error))? {
            let chain = chain::Chain::open(organization, folder.to_owned(), clock.clone(), lock.clone())?;
            chains.insert(organization, Arc::new(chain));
        }
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), clock, chains: RwLock::new(chains), lock })))
    }

    fn chain(&self, scope: &Scope) -> Option<Arc<chain::Chain>> {
        self.0.chains.read().get(&scope.organization_id()).cloned()
    }

    fn chain_to_write(&self, scope: &Scope) -> Arc<chain::Chain> {
        if let Some(chain) = self.chain(scope) {
            return chain;
        }
        let organization = scope.organization_id();
        let Inner { folder, clock, chains, lock } = &*self.0;
        let new = || Arc::new(chain::Chain::new(organization, folder.clone(), clock.clone(), lock.clone()));
        chains.write().entry(organization).or_insert_with(new).clone()
    }
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("ledger.lock");
    let failed = |error| unreadable(&path, error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is in use by another process", folder.display());
                return Err(StoreError::new(STORE, ErrorKind::Unavailable, message));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

/// Runs what may take longer than a moment where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = |error| StoreError::with_source(STORE, ErrorKind::Internal, "a read of the ledger broke off", error);
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

#[async_trait]
impl LedgerAdapter for EmbeddedLedger {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: "embedded",
            place: self.0.folder.display().to_string(),
            chains: vec![Chain::Local],
            mint: true,
            batch: true,
            proofs: true,
        }
    }

    async fn health(&self) -> Result<()> {
        let read = tokio::fs::read_dir(&self.0.folder).await;
        read.map(drop).map_err(|error| unreadable(&self.0.folder, error))
    }

    async fn balances(&self, scope: &Scope, wallets: &[WalletRef]) -> Result<Vec<Result<Vec<Balance>>>> {
        let chain = self.chain(scope);
        let balances = |wallet: &WalletRef| {
            if wallet.chain != Chain::Local {
                return Err(StoreError::unsupported(STORE, "this chain is not configured"));
            }
            rules::check_address(&wallet.address)?;
            let chain = chain.as_ref();
            Ok(chain.map(|chain| chain.read(|state| state.balances(&wallet.address))).unwrap_or_default())
        };
        Ok(wallets.iter().map(balances).collect())
    }

    async fn entries(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Entry>>> {
        let Some(chain) = self.chain(scope) else { return Ok(vec![None; ids.len()]) };
        Ok(chain.read(|state| ids.iter().map(|id| state.entry(state.record(id)?)).collect()))
    }

    async fn entry_pages(&self, scope: &Scope, queries: &[EntryPageQuery]) -> Result<Vec<Page<Entry>>> {
        let Some(chain) = self.chain(scope) else {
            return Ok(queries.iter().map(|_| Page::empty()).collect());
        };
        Ok(chain.read(|state| queries.iter().map(|query| state.page(query)).collect()))
    }

    async fn outflows(&self, scope: &Scope, queries: &[OutflowQuery]) -> Result<Vec<Vec<Outflow>>> {
        let Some(chain) = self.chain(scope) else { return Ok(vec![Vec::new(); queries.len()]) };
        let queries = queries.to_vec();
        blocking(move || chain.read(|state| queries.iter().map(|query| state.outflow(query)).collect())).await
    }

    async fn proofs(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Proof>>> {
        let Some(chain) = self.chain(scope) else { return Ok(vec![None; ids.len()]) };
        let ids = ids.to_vec();
        blocking(move || chain.prove(&ids)).await
    }

    async fn submit(&self, scope: &Scope, submission: &Submission) -> Result<Receipt> {
        if submission.chain != Chain::Local {
            return Err(StoreError::unsupported(STORE, "this chain is not configured"));
        }
        submission.operations.iter().try_for_each(rules::check_operation)?;
        let transaction = Transaction {
            organization: scope.organization_id(),
            key: submission.idempotency_key.clone(),
            operations: submission.operations.clone(),
        };
        let sealed = transaction.seal().map_err(|why| StoreError::invalid(STORE, why))?;
        if sealed.bytes.len() > chain::MAX_TRANSACTION_BYTES {
            return Err(StoreError::invalid(STORE, "the transaction is too large for a block"));
        }
        self.chain_to_write(scope).submit(sealed).await
    }

    async fn verify(&self, scope: &Scope, chain: Chain) -> Result<Verification> {
        if chain != Chain::Local {
            return Err(StoreError::unsupported(STORE, "this chain is not configured"));
        }
        match self.chain(scope) {
            Some(chain) => blocking(move || chain.verify()).await,
            None => Ok(Verification { blocks: 0, entries: 0, head: None, fault: None }),
        }
    }
}
