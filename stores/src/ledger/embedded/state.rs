//! What is kept in memory of one chain, and how it is asked. Derived from the file alone: dropping it loses nothing.
//!
//! Entries lie in one list in chain order, so an index into it orders like a sort key; each address has the ascending
//! list of the indexes of its entries.

use super::{
    block::{Block, Header, parties},
    rules::is_local,
    tip::Tip,
};
use crate::{
    Result,
    error::{ErrorKind, StoreError},
    ledger::{
        Address, Balance, Chain, Entry, EntryId, EntryKind, Finality, Operation, Outflow, OutflowQuery, Receipt, STORE,
        Token, WalletRef, entry_sort_key, entry_uuid,
    },
    page::{Position, SortValue},
};
use alloy_primitives::{B256, U256};
use chrono::{DateTime, Utc};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};
use uuid::Uuid;

/// Where a block is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// Where its frame starts in the file.
    pub offset: u64,
    /// Index of its first entry among all of the chain.
    first: usize,
}

/// One entry as it is kept.
#[derive(Debug)]
pub struct Record {
    /// Number of its block.
    pub block: u64,
    /// Place among all entries of its block.
    pub block_index: u32,
    /// The leaf it has in the block's tree.
    pub leaf: B256,
    /// What was written.
    pub operation: Operation,
    transaction: B256,
    index: u32,
    campaign: Option<Uuid>,
}

impl Record {
    fn id(&self) -> EntryId {
        EntryId { chain: Chain::Local, transaction: self.transaction, index: self.index }
    }

    /// The entry's place in the order of entries, against a position. The id is only worked out for a tie.
    pub fn compare(&self, position: &Position) -> Ordering {
        let key = SortValue::Int(entry_sort_key(self.block, self.block_index));
        key.compare(&position.value).then_with(|| entry_uuid(&self.id()).cmp(&position.id))
    }

    /// What the entry records.
    pub fn kind(&self) -> EntryKind {
        match self.operation {
            Operation::Mint { .. } => EntryKind::Mint,
            Operation::Transfer { .. } => EntryKind::Transfer,
            Operation::Event { .. } => EntryKind::ContractEvent,
        }
    }
}

/// The entries of a transaction lie side by side.
#[derive(Debug)]
struct TransactionPlace {
    first: usize,
    entries: u32,
    block: u64,
}

/// One chain in memory.
#[derive(Debug)]
pub struct State {
    /// The newest end.
    pub tip: Tip,
    /// Where the newest frame ends in the file.
    pub length: u64,
    /// All entries in chain order.
    pub records: Vec<Record>,
    blocks: Vec<Place>,
    addresses: HashMap<Address, Vec<usize>>,
    transactions: HashMap<B256, TransactionPlace>,
}

impl State {
    /// An empty chain.
    pub fn new(organization: Uuid) -> Self {
        Self {
            tip: Tip::new(organization),
            length: 0,
            records: Vec::new(),
            blocks: Vec::new(),
            addresses: HashMap::new(),
            transactions: HashMap::new(),
        }
    }

    /// Takes in a block that the tip has already moved on to, and that lies in the file from `offset` to `end`.
    pub fn index(&mut self, block: Block, offset: u64, end: u64) {
        let number = block.header.number;
        let first = self.records.len();
        let mut block_index = 0;
        for sealed in block.transactions {
            let place =
                TransactionPlace { first: self.records.len(), entries: sealed.leaves.len() as u32, block: number };
            self.transactions.insert(sealed.hash, place);
            let entries = sealed.transaction.operations.into_iter().zip(sealed.leaves);
            for (index, (operation, leaf)) in (0..).zip(entries) {
                let campaign = campaign(&operation);
                self.index_parties(&operation);
                let transaction = sealed.hash;
                self.records.push(Record { block: number, block_index, leaf, operation, transaction, index, campaign });
                block_index += 1;
            }
        }
        self.blocks.push(Place { hash: self.tip.hash, header: block.header, offset, first });
        self.length = end;
    }

    fn index_parties(&mut self, operation: &Operation) {
        let (from, to) = parties(operation);
        for party in [from, to.filter(|to| Some(*to) != from)].into_iter().flatten() {
            self.addresses.entry(party.clone()).or_default().push(self.records.len());
        }
    }

    /// A block by its number.
    pub fn block(&self, number: u64) -> Option<&Place> {
        self.blocks.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// What an address holds.
    pub fn balances(&self, address: &Address) -> Vec<Balance> {
        let balance = |(token, amount): (&Token, &U256)| Balance {
            token: token.clone(),
            amount: *amount,
            block_number: self.tip.number,
        };
        self.tip.sheet.holdings(address).map(balance).collect()
    }

    /// The receipt of a transaction.
    pub fn receipt(&self, transaction: B256) -> Option<Receipt> {
        let place = self.transactions.get(&transaction)?;
        let entries = (0..place.entries).map(|index| EntryId { chain: Chain::Local, transaction, index }).collect();
        Some(Receipt { transaction, block_number: place.block, entries })
    }

    /// The record of an entry.
    pub fn record(&self, id: &EntryId) -> Option<&Record> {
        let place = self.transactions.get(&id.transaction)?;
        if id.chain != Chain::Local || id.index >= place.entries {
            return None;
        }
        self.records.get(place.first + id.index as usize)
    }

    /// A record as the port shows it. Every block of this chain is final: there is one writer, and it never goes back.
    pub fn entry(&self, record: &Record) -> Option<Entry> {
        let block = self.block(record.block)?;
        let (from, to) = parties(&record.operation);
        let (from, to) = (from.cloned(), to.cloned());
        let (token, amount, event, data) = match &record.operation {
            Operation::Mint { token, amount, .. } => (token.clone(), *amount, None, None),
            Operation::Transfer { token, amount, memo, .. } => (token.clone(), *amount, None, memo.clone()),
            Operation::Event { contract, event, data, .. } => {
                let token = Token { symbol: String::new(), decimals: 0, contract: Some(contract.clone()) };
                (token, U256::ZERO, Some(event.clone()), Some(data.clone()))
            }
        };
        Some(Entry {
            id: record.id(),
            block_number: record.block,
            block_hash: block.hash,
            block_index: record.block_index,
            at: block.header.at,
            kind: record.kind(),
            from,
            to,
            amount,
            token,
            event,
            data,
            finality: Finality::Finalized,
            confirmations: self.tip.number - record.block + 1,
        })
    }

    /// The indexes of the entries of a wallet, ascending.
    pub fn indexes(&self, wallet: &WalletRef) -> &[usize] {
        self.addresses.get(&wallet.address).map(Vec::as_slice).unwrap_or_default()
    }

    /// The indexes of the entries within `from <= at < to`, never a reversed range. Times never fall along the chain.
    pub fn within(&self, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Range<usize> {
        let first_at = |time: DateTime<Utc>| {
            let block = self.blocks.partition_point(|block| block.header.at < time);
            self.blocks.get(block).map_or(self.records.len(), |block| block.first)
        };
        let start = from.map_or(0, first_at);
        start..to.map_or(self.records.len(), first_at).max(start)
    }

    /// Sums what left some wallets.
    ///
    /// # Errors
    /// `Invalid` when a sum does not fit into 256 bits: money that circulates may sum up to more than there is.
    pub fn outflow(&self, query: &OutflowQuery) -> Result<Vec<Outflow>> {
        let own: HashSet<&Address> = local(&query.wallets).map(|wallet| &wallet.address).collect();
        let within = self.within(query.from, query.to);
        let mut sums: BTreeMap<&Token, (U256, u64)> = BTreeMap::new();
        for wallet in local(&query.wallets).collect::<HashSet<_>>() {
            let indexes = cut(self.indexes(wallet), &within);
            for record in indexes.iter().filter_map(|index| self.records.get(*index)) {
                let Operation::Transfer { from, to, token, amount, .. } = &record.operation else { continue };
                let counts = *from == wallet.address && !own.contains(to);
                if !counts || query.campaign_id.is_some_and(|campaign| record.campaign != Some(campaign)) {
                    continue;
                }
                let (sum, transfers) = sums.entry(token).or_default();
                *sum = sum.checked_add(*amount).ok_or_else(|| too_much(token))?;
                *transfers += 1;
            }
        }
        let outflow = |(token, (amount, transfers)): (&Token, _)| Outflow { token: token.clone(), amount, transfers };
        Ok(sums.into_iter().map(outflow).collect())
    }
}

fn too_much(token: &Token) -> StoreError {
    let message = format!("the outflow of {} is more than 256 bits hold; ask for a shorter time", token.symbol);
    StoreError::new(STORE, ErrorKind::Invalid, message)
}

/// The wallets that this chain serves.
pub fn local(wallets: &[WalletRef]) -> impl Iterator<Item = &WalletRef> {
    wallets.iter().filter(|wallet| wallet.chain == Chain::Local && is_local(&wallet.address))
}

/// The part of ascending indexes that lies in a range.
pub fn cut<'a>(indexes: &'a [usize], range: &Range<usize>) -> &'a [usize] {
    let start = indexes.partition_point(|index| *index < range.start);
    let end = indexes.partition_point(|index| *index < range.end);
    indexes.get(start..end).unwrap_or_default()
}

/// The campaign that a memo names.
fn campaign(operation: &Operation) -> Option<Uuid> {
    let Operation::Transfer { memo: Some(memo), .. } = operation else { return None };
    memo.get("campaignId")?.as_str()?.parse().ok()
}
