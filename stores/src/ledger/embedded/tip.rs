//! The newest end of a chain: what the next block must fit onto.
//!
//! Opening and verifying push every block through [`Tip::check`]; there is no other way to accept bytes from a disk.

use super::{
    block::{Block, genesis},
    codec::Checked,
    merkle,
    rules::{Draft, Sheet, recheck},
};
use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What is known after the newest block.
#[derive(Debug)]
pub struct Tip {
    /// Whose chain.
    pub organization: Uuid,
    /// Number of the newest block; 0 before the first.
    pub number: u64,
    /// Its hash, or what stands for it before the first.
    pub hash: B256,
    /// Its time.
    pub at: DateTime<Utc>,
    /// Entries so far.
    pub entries: u64,
    /// Who holds what.
    pub sheet: Sheet,
    /// The transaction of each idempotency key.
    pub keys: HashMap<String, B256>,
}

impl Tip {
    /// An empty chain.
    pub fn new(organization: Uuid) -> Self {
        Self {
            organization,
            number: 0,
            hash: genesis(organization),
            at: DateTime::<Utc>::MIN_UTC,
            entries: 0,
            sheet: Sheet::default(),
            keys: HashMap::new(),
        }
    }

    /// Checks the bytes of the next block in every respect, and moves on to it. Nothing changes when they do not fit.
    pub fn check(&mut self, bytes: &[u8], trailing: B256) -> Checked<Block> {
        let block = Block::decode(bytes)?;
        let header = &block.header;
        if header.hash() != trailing {
            return Err("its header does not hash to its hash".to_owned());
        }
        if header.organization != self.organization {
            return Err("it belongs to another organisation".to_owned());
        }
        if header.number != self.number + 1 {
            return Err(format!("its number is {}", header.number));
        }
        if header.previous != self.hash {
            return Err("it does not name the block before it".to_owned());
        }
        if header.at < self.at {
            return Err("its time lies before that of the block before it".to_owned());
        }
        if header.root != merkle::root(&block.leaves()) {
            return Err("its Merkle root is not that of its entries".to_owned());
        }
        let changes = self.check_transactions(&block)?;
        self.advance(&block, changes);
        Ok(block)
    }

    fn check_transactions(&self, block: &Block) -> Checked<Sheet> {
        if block.transactions.is_empty() {
            return Err("it has no transaction".to_owned());
        }
        let mut draft = Draft::over(&self.sheet);
        let mut keys = HashSet::new();
        for sealed in &block.transactions {
            let transaction = &sealed.transaction;
            if transaction.organization != self.organization {
                return Err("a transaction belongs to another organisation".to_owned());
            }
            if transaction.operations.is_empty() {
                return Err("a transaction has no operation".to_owned());
            }
            let key = transaction.key.as_str();
            if self.keys.contains_key(key) || !keys.insert(key) {
                return Err("an idempotency key appears twice".to_owned());
            }
            recheck(&mut draft, &transaction.operations)?;
        }
        Ok(draft.into_changes())
    }

    /// Moves on to a block that was made here, with the balances it changed.
    pub fn advance(&mut self, block: &Block, changes: Sheet) {
        self.number = block.header.number;
        self.hash = block.header.hash();
        self.at = block.header.at;
        self.entries += u64::from(block.header.entries);
        self.sheet.merge(changes);
        let keys = block.transactions.iter().map(|sealed| (sealed.transaction.key.clone(), sealed.hash));
        self.keys.extend(keys);
    }
}
