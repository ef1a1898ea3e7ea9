//! `LedgerEntry` and what surrounds it.

use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    ids::NodeId,
    keys::ledger::{EntriesOf, EntryById, ProofOf},
    page::{Connection, Listed, PageArgs},
    scalars::{BigInt, DateTime, Hash},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    Position, SortValue,
    ledger::{self, EntryId, EntryPageQuery, WalletRef},
};

/// A chain that wallets live on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "ledger::Chain")]
pub enum Chain {
    /// The embedded chain of this installation.
    Local,
    /// Ethereum mainnet.
    Ethereum,
    /// Base, a rollup on Ethereum.
    Base,
    /// Solana mainnet.
    Solana,
}

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "ledger::EntryKind")]
pub enum LedgerEntryKind {
    /// Tokens came into being.
    Mint,
    /// Tokens moved.
    Transfer,
    /// A contract reported something.
    ContractEvent,
}

/// How final an entry is; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "ledger::Finality")]
pub enum Finality {
    /// In the newest block.
    Latest,
    /// Unlikely to be undone.
    Safe,
    /// Cannot be undone.
    Finalized,
}

/// Which entries; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct EntryFilter {
    /// Of one of these kinds.
    pub kind: Option<Vec<LedgerEntryKind>>,
    /// At or after this.
    pub from: Option<DateTime>,
    /// Before this.
    pub to: Option<DateTime>,
    /// At least this final.
    pub min_finality: Option<Finality>,
}

/// A token of a chain.
#[derive(Clone, Debug, SimpleObject)]
pub struct Token {
    /// Such as `USDC`.
    pub symbol: String,
    /// Smallest units of one token, as a power of ten.
    pub decimals: i32,
    /// The contract's address; null for the chain's own coin.
    pub contract: Option<String>,
}

impl From<ledger::Token> for Token {
    fn from(token: ledger::Token) -> Self {
        Self {
            symbol: token.symbol,
            decimals: token.decimals.into(),
            contract: token.contract.map(|contract| contract.0),
        }
    }
}

/// An amount of a token.
#[derive(Clone, Debug, SimpleObject)]
pub struct TokenAmount {
    /// In the token's smallest unit.
    pub amount: BigInt,
    /// Of what.
    pub token: Token,
}

/// What a wallet holds of one token.
#[derive(Clone, Debug, SimpleObject)]
pub struct Balance {
    /// In the token's smallest unit.
    pub amount: BigInt,
    /// Of what.
    pub token: Token,
    /// As of this block.
    pub block_number: BigInt,
}

impl From<ledger::Balance> for Balance {
    fn from(balance: ledger::Balance) -> Self {
        Self { amount: balance.amount.into(), token: balance.token.into(), block_number: balance.block_number.into() }
    }
}

/// One line of a ledger. It never changes.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct LedgerEntry {
    #[graphql(skip)]
    key: EntryId,
    /// The chain.
    pub chain: Chain,
    /// Hash of the transaction.
    pub transaction: Hash,
    /// Index within the transaction.
    pub index: u32,
    /// Number of the block.
    pub block_number: BigInt,
    /// Hash of the block.
    pub block_hash: Hash,
    /// Time of the block.
    pub at: DateTime,
    /// What it records.
    pub kind: LedgerEntryKind,
    /// Address of the payer, or of the contract of an event; null for a mint.
    #[graphql(name = "from")]
    pub sender: Option<String>,
    /// Address of the receiver.
    #[graphql(name = "to")]
    pub receiver: Option<String>,
    /// In the token's smallest unit; 0 for a contract event.
    pub amount: BigInt,
    /// Of what; null for a contract event.
    pub token: Option<Token>,
    /// Name of the contract event.
    pub event: Option<String>,
    /// Arguments of the contract event, or memo of the transfer.
    pub data: Option<serde_json::Value>,
    /// How final it is.
    pub finality: Finality,
    /// Blocks from its own to the newest, both counted.
    pub confirmations: BigInt,
}

impl Listed for LedgerEntry {
    const NAME: &'static str = "LedgerEntry";
}

impl From<ledger::Entry> for LedgerEntry {
    fn from(entry: ledger::Entry) -> Self {
        Self {
            chain: entry.id.chain.into(),
            transaction: Hash(entry.id.transaction),
            index: entry.id.index,
            key: entry.id,
            block_number: entry.block_number.into(),
            block_hash: Hash(entry.block_hash),
            at: entry.at.into(),
            kind: entry.kind.into(),
            sender: entry.from.map(|address| address.0),
            receiver: entry.to.map(|address| address.0),
            amount: entry.amount.into(),
            token: (entry.kind != ledger::EntryKind::ContractEvent).then(|| entry.token.into()),
            event: entry.event,
            data: entry.data,
            finality: entry.finality.into(),
            confirmations: entry.confirmations.into(),
        }
    }
}

#[ComplexObject]
impl LedgerEntry {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::LedgerEntry(self.key.clone())
    }

    /// The proof that the entry is in its block, checked by this server when asked for.
    async fn proof(&self, context: &Context<'_>) -> Result<Option<LedgerProof>> {
        Ok(RequestContext::of(context)?.load(ProofOf(self.key.clone())).await?.map(LedgerProof::from))
    }
}

impl LedgerEntry {
    /// The entry with this address.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: EntryId) -> Result<Option<Self>> {
        Ok(RequestContext::of(context)?.load(EntryById(id)).await?.map(Self::from))
    }
}

/// A Merkle inclusion proof, checked and not asserted.
#[derive(Clone, Debug, SimpleObject)]
pub struct LedgerProof {
    /// Hash of the entry's canonical bytes.
    pub leaf: Hash,
    /// Siblings on the way from the leaf to the root.
    pub path: Vec<LedgerProofStep>,
    /// The root in the block's header.
    pub root: Hash,
    /// Hash of the block.
    pub block_hash: Hash,
    /// Whether the path leads to the root, and the root to the block's hash.
    pub verified: bool,
}

/// A sibling on the way to the root.
#[derive(Clone, Debug, SimpleObject)]
pub struct LedgerProofStep {
    /// The sibling's hash.
    pub hash: Hash,
    /// Whether it stands on the left.
    pub left: bool,
}

impl From<ledger::Proof> for LedgerProof {
    fn from(proof: ledger::Proof) -> Self {
        let step = |step: ledger::ProofStep| LedgerProofStep { hash: Hash(step.hash), left: step.left };
        Self {
            leaf: Hash(proof.leaf),
            path: proof.path.into_iter().map(step).collect(),
            root: Hash(proof.root),
            block_hash: Hash(proof.block_hash),
            verified: proof.verified,
        }
    }
}

/// A page of the entries of some wallets.
///
/// # Errors
/// A bad page argument, or what the store says.
pub async fn entries(
    context: &Context<'_>,
    wallets: Vec<WalletRef>,
    filter: EntryFilter,
    args: PageArgs,
) -> Result<Option<Connection<LedgerEntry>>> {
    let request = RequestContext::of(context)?;
    let list = ListId::new(LedgerEntry::NAME, "block");
    let slice = args.slice(request, list)?;
    if wallets.is_empty() {
        return Ok(Some(Connection::new(chimera_stores::Page::<ledger::Entry>::empty(), list, position)));
    }
    let query = EntryPageQuery {
        wallets,
        kinds: filter.kind.unwrap_or_default().into_iter().map(Into::into).collect(),
        from: filter.from.map(|at| at.0),
        to: filter.to.map(|at| at.0),
        min_finality: filter.min_finality.map_or(ledger::Finality::Latest, Into::into),
        slice,
    };
    Ok(Some(Connection::new(request.load(EntriesOf(query)).await?, list, position)))
}

fn position(entry: &ledger::Entry) -> Position {
    Position { value: SortValue::Int(entry.sort_key()), id: entry.uuid() }
}
