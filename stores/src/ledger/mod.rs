//! The ledger port: balances, transfers and contract events of wallets, immutable and provable.
//!
//! Amounts are integers of a token's smallest unit. A chain knows nothing of organisations: the wallets asked for come
//! from the relational registry, and the embedded chain keeps one chain an organisation.

pub mod embedded;

use crate::{
    Result, Scope,
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
    page::{Page, Slice},
};
use alloy_primitives::{B256, U256};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
pub use entity::wallet::Chain;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// An address on a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address(pub String);

/// A wallet as a ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WalletRef {
    /// The chain.
    pub chain: Chain,
    /// The address, in the chain's canonical notation (the embedded chain's is `local:` and 40 hex digits).
    pub address: Address,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// Such as `USDC`.
    pub symbol: String,
    /// Smallest units of one token, as a power of ten.
    pub decimals: u8,
    /// The contract; `None` for the chain's own coin.
    pub contract: Option<Address>,
}

/// What a wallet holds of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The token.
    pub token: Token,
    /// In its smallest unit.
    pub amount: U256,
    /// As of this block.
    pub block_number: u64,
}

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EntryKind {
    /// Tokens came into being.
    Mint,
    /// Tokens moved.
    Transfer,
    /// A contract reported something.
    ContractEvent,
}

/// How final an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finality {
    /// In the newest block.
    Latest,
    /// Unlikely to be undone.
    Safe,
    /// Cannot be undone.
    Finalized,
}

/// The address of an entry: transaction and index of the entry within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    /// The chain.
    pub chain: Chain,
    /// The transaction's hash.
    pub transaction: B256,
    /// Index within the transaction.
    pub index: u32,
}

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub id: EntryId,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// Place among all entries of its block.
    pub block_index: u32,
    /// The block's time.
    pub at: DateTime<Utc>,
    /// What it records.
    pub kind: EntryKind,
    /// Who paid; `None` for a mint.
    pub from: Option<Address>,
    /// Who received; `None` for an event without one.
    pub to: Option<Address>,
    /// How much, in the token's smallest unit.
    pub amount: U256,
    /// Of what.
    pub token: Token,
    /// The contract event's name.
    pub event: Option<String>,
    /// The contract event's arguments, or the transfer's memo.
    pub data: Option<serde_json::Value>,
    /// How final it is.
    pub finality: Finality,
    /// Blocks from its own to the newest, both counted.
    pub confirmations: u64,
}

impl Entry {
    /// The key of the order of entries: block, then place in it.
    pub fn sort_key(&self) -> i64 {
        entry_sort_key(self.block_number, self.block_index)
    }

    /// A unique id for cursors: UUIDv5 of transaction and index.
    pub fn uuid(&self) -> Uuid {
        entry_uuid(&self.id)
    }
}

/// The key of the order of entries: block, then place in it.
pub fn entry_sort_key(block_number: u64, block_index: u32) -> i64 {
    let block = i64::try_from(block_number).unwrap_or(i64::MAX >> 20);
    (block << 20) | i64::from(block_index & 0xf_ffff)
}

/// UUIDv5 of transaction and index, for cursors.
pub fn entry_uuid(id: &EntryId) -> Uuid {
    let mut name = id.transaction.to_vec();
    name.extend_from_slice(&id.index.to_be_bytes());
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &name)
}

/// A page of the entries of some wallets (as sender or receiver), newest first: position `Int` of [`Entry::sort_key`]
/// and [`Entry::uuid`], descending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryPageQuery {
    /// Whose; an entry between two of them appears once. Empty gives an empty page.
    pub wallets: Vec<WalletRef>,
    /// Only these kinds; empty means any.
    pub kinds: Vec<EntryKind>,
    /// `from <= at`.
    pub from: Option<DateTime<Utc>>,
    /// `at < to`.
    pub to: Option<DateTime<Utc>>,
    /// At least this final.
    pub min_finality: Finality,
    /// Which part.
    pub slice: Slice,
}

/// What left some wallets (payments between them are not counted), by token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutflowQuery {
    /// Whose.
    pub wallets: Vec<WalletRef>,
    /// `from <= at`.
    pub from: Option<DateTime<Utc>>,
    /// `at < to`.
    pub to: Option<DateTime<Utc>>,
    /// Only transfers whose memo names this campaign (`{"campaignId": "<uuid>"}`).
    pub campaign_id: Option<Uuid>,
}

/// A sum of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outflow {
    /// The token.
    pub token: Token,
    /// In its smallest unit.
    pub amount: U256,
    /// How many transfers.
    pub transfers: u64,
}

/// A sibling on the way from a leaf to the root of a Merkle tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofStep {
    /// The sibling's hash.
    pub hash: B256,
    /// Whether the sibling is on the left.
    pub left: bool,
}

/// That an entry is in a block, checked here and not asserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Hash of the entry's canonical bytes.
    pub leaf: B256,
    /// Siblings from leaf to root.
    pub path: Vec<ProofStep>,
    /// The root in the block's header.
    pub root: B256,
    /// The block's hash.
    pub block_hash: B256,
    /// Whether the path leads to the root, the header holds the root, and the header hashes to the block's hash.
    pub verified: bool,
}

/// What is written to a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Operation {
    /// Makes tokens (embedded chain only).
    Mint {
        /// Receiver.
        to: Address,
        /// Token.
        token: Token,
        /// Smallest units, more than 0.
        amount: U256,
    },
    /// Moves tokens; refused with `Conflict` when the balance is too low.
    Transfer {
        /// Payer.
        from: Address,
        /// Receiver.
        to: Address,
        /// Token.
        token: Token,
        /// Smallest units, more than 0.
        amount: U256,
        /// Free JSON up to 1 KiB, such as `{"campaignId": "<uuid>"}`.
        memo: Option<serde_json::Value>,
    },
    /// Records a contract's event.
    Event {
        /// The contract.
        contract: Address,
        /// Whom it is about.
        subject: Option<Address>,
        /// Name of the event.
        event: String,
        /// Arguments, JSON up to 4 KiB.
        data: serde_json::Value,
    },
}

/// A transaction to be written: its operations happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The chain.
    pub chain: Chain,
    /// What happens, in order; 1 to 100.
    pub operations: Vec<Operation>,
    /// The same key answers with the first receipt; with other operations it is a `Conflict`.
    pub idempotency_key: String,
}

/// Where a transaction landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's hash.
    pub transaction: B256,
    /// The block.
    pub block_number: u64,
    /// Its entries.
    pub entries: Vec<EntryId>,
}

/// What a check of a whole chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Blocks checked.
    pub blocks: u64,
    /// Entries checked.
    pub entries: u64,
    /// Hash of the newest block.
    pub head: Option<B256>,
    /// The first block that does not check out, and why.
    pub fault: Option<(u64, String)>,
}

/// What a ledger adapter can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `embedded`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// Chains served.
    pub chains: Vec<Chain>,
    /// Whether it can make tokens.
    pub mint: bool,
    /// Whether many wallets are read in one call.
    pub batch: bool,
    /// Whether inclusion proofs are checked.
    pub proofs: bool,
}

/// What a ledger implements.
#[async_trait]
pub trait LedgerAdapter: Send + Sync + 'static {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// Answers when the chain can be read.
    async fn health(&self) -> Result<()>;

    /// Balances by wallet, one result per wallet, tokens ascending by symbol then contract; an unknown wallet is empty.
    async fn balances(&self, scope: &Scope, wallets: &[WalletRef]) -> Result<Vec<Result<Vec<Balance>>>>;

    /// Entries by address, one result per id; absent is `None`.
    async fn entries(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Entry>>>;

    /// One page per query.
    async fn entry_pages(&self, scope: &Scope, queries: &[EntryPageQuery]) -> Result<Vec<Page<Entry>>>;

    /// Sums by token, one result per query, ascending by symbol then contract.
    async fn outflows(&self, scope: &Scope, queries: &[OutflowQuery]) -> Result<Vec<Vec<Outflow>>>;

    /// Inclusion proofs, one result per id; absent is `None`.
    async fn proofs(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Proof>>>;

    /// Writes a transaction; durable when it returns. Idempotent by key.
    async fn submit(&self, scope: &Scope, submission: &Submission) -> Result<Receipt>;

    /// Checks every byte of the chain.
    async fn verify(&self, scope: &Scope, chain: Chain) -> Result<Verification>;
}

/// The ledger handle.
#[derive(Clone)]
pub struct Ledger {
    guard: Guard,
    adapter: Arc<dyn LedgerAdapter>,
}

const STORE: Store = Store::Ledger;

impl Ledger {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn LedgerAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`LedgerAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`LedgerAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`LedgerAdapter::balances`].
    pub async fn balances(&self, scope: &Scope, wallets: &[WalletRef]) -> Result<Vec<Result<Vec<Balance>>>> {
        let call = || self.adapter.balances(scope, wallets);
        one_per_key(STORE, wallets.len(), self.guard.call(scope, "balances", Idempotence::Read, call).await?)
    }

    /// See [`LedgerAdapter::entries`].
    pub async fn entries(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Entry>>> {
        let call = || self.adapter.entries(scope, ids);
        one_per_key(STORE, ids.len(), self.guard.call(scope, "entries", Idempotence::Read, call).await?)
    }

    /// See [`LedgerAdapter::entry_pages`].
    pub async fn entry_pages(&self, scope: &Scope, queries: &[EntryPageQuery]) -> Result<Vec<Page<Entry>>> {
        for query in queries {
            query.slice.check(STORE)?;
        }
        let call = || self.adapter.entry_pages(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "entry_pages", Idempotence::Read, call).await?)
    }

    /// See [`LedgerAdapter::outflows`].
    pub async fn outflows(&self, scope: &Scope, queries: &[OutflowQuery]) -> Result<Vec<Vec<Outflow>>> {
        let call = || self.adapter.outflows(scope, queries);
        one_per_key(STORE, queries.len(), self.guard.call(scope, "outflows", Idempotence::Read, call).await?)
    }

    /// See [`LedgerAdapter::proofs`].
    pub async fn proofs(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Proof>>> {
        let call = || self.adapter.proofs(scope, ids);
        one_per_key(STORE, ids.len(), self.guard.call(scope, "proofs", Idempotence::Read, call).await?)
    }

    /// See [`LedgerAdapter::submit`].
    pub async fn submit(&self, scope: &Scope, submission: &Submission) -> Result<Receipt> {
        if !self.adapter.capabilities().chains.contains(&submission.chain) {
            return Err(StoreError::unsupported(STORE, "this chain is not configured"));
        }
        if submission.operations.is_empty() || submission.operations.len() > 100 {
            return Err(StoreError::invalid(STORE, "a transaction has 1 to 100 operations"));
        }
        if submission.idempotency_key.is_empty() || submission.idempotency_key.len() > 128 {
            return Err(StoreError::invalid(STORE, "an idempotency key has 1 to 128 bytes"));
        }
        self.guard.call(scope, "submit", Idempotence::Once, || self.adapter.submit(scope, submission)).await
    }

    /// See [`LedgerAdapter::verify`].
    pub async fn verify(&self, scope: &Scope, chain: Chain) -> Result<Verification> {
        self.guard.call(scope, "verify", Idempotence::Read, || self.adapter.verify(scope, chain)).await
    }
}
