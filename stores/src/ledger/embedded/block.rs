//! Blocks and transactions, and their canonical bytes.
//!
//! ```text
//! block       = header, then each transaction behind a u32 length
//! header      = version u16 = 1, organisation 16 bytes, number u64, previous block's hash 32, Merkle root 32,
//!               time i64 (microseconds since 1970), transactions u32, entries u32          (106 bytes)
//! transaction = organisation 16, idempotency key, operations u32, each operation behind a u32 length
//! operation   = 1, to, token, amount                                                       (mint)
//!             | 2, from, to, token, amount, memo?                                          (transfer)
//!             | 3, contract, subject?, event, data                                         (event)
//! token       = symbol, decimals u8, contract?
//! ```
//!
//! Integers are big-endian, amounts 32 bytes, texts and canonical JSON behind a u32 length, `?` a 0 or a 1 before the
//! value. Hashes are SHA-256 over a name of what is hashed and the bytes:
//!
//! - a transaction's covers its bytes, so also organisation and idempotency key;
//! - a leaf is an entry: hash of the transaction, index within it (u32), the operation's bytes;
//! - a block's covers its header, and through the Merkle root every entry and every transaction;
//! - the first block's previous hash covers the organisation, so no chain continues as another's.
//!
//! Reading re-encodes and compares: there is one spelling of a block.

use super::{
    codec::{Checked, Reader, hash, put_bytes, put_option},
    json, merkle,
};
use crate::ledger::{Address, Operation, Token};
use alloy_primitives::{B256, U256};
use chrono::{DateTime, Utc};
use uuid::Uuid;

const VERSION: u16 = 1;
const BLOCK: &[u8] = b"chimera/ledger/block/1\0";
const TRANSACTION: &[u8] = b"chimera/ledger/transaction/1\0";
const GENESIS: &[u8] = b"chimera/ledger/genesis/1\0";
const MINT: u8 = 1;
const TRANSFER: u8 = 2;
const EVENT: u8 = 3;

/// What stands before the first block of an organisation's chain.
pub fn genesis(organization: Uuid) -> B256 {
    hash(&[GENESIS, organization.as_bytes()])
}

/// What a block's hash covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose chain.
    pub organization: Uuid,
    /// The first block has number 1.
    pub number: u64,
    /// The block before.
    pub previous: B256,
    /// Over all entries, in order.
    pub root: B256,
    /// When the block was made.
    pub at: DateTime<Utc>,
    /// How many transactions.
    pub transactions: u32,
    /// How many entries.
    pub entries: u32,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        out.extend_from_slice(self.organization.as_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(self.previous.as_slice());
        out.extend_from_slice(self.root.as_slice());
        out.extend_from_slice(&self.at.timestamp_micros().to_be_bytes());
        out.extend_from_slice(&self.transactions.to_be_bytes());
        out.extend_from_slice(&self.entries.to_be_bytes());
        out
    }

    fn decode(reader: &mut Reader<'_>) -> Checked<Self> {
        let version = reader.u16()?;
        if version != VERSION {
            return Err(format!("its version is {version}, not {VERSION}"));
        }
        Ok(Self {
            organization: reader.uuid()?,
            number: reader.u64()?,
            previous: reader.hash()?,
            root: reader.hash()?,
            at: DateTime::from_timestamp_micros(reader.i64()?).ok_or("its time is out of range")?,
            transactions: reader.u32()?,
            entries: reader.u32()?,
        })
    }

    /// The block's hash.
    pub fn hash(&self) -> B256 {
        hash(&[BLOCK, &self.encode()])
    }
}

/// Operations that happen together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Whose chain.
    pub organization: Uuid,
    /// Unique within the chain.
    pub key: String,
    /// What happens, in order.
    pub operations: Vec<Operation>,
}

/// A transaction with its canonical bytes and all hashes.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What was sealed.
    pub transaction: Transaction,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub hash: B256,
    /// The leaf of each operation.
    pub leaves: Vec<B256>,
}

impl Transaction {
    /// Encodes and hashes.
    ///
    /// # Errors
    /// When a memo or an event's data is nested too deeply.
    pub fn seal(self) -> Checked<Sealed> {
        let operations: Vec<Vec<u8>> = self.operations.iter().map(encode_operation).collect::<Checked<_>>()?;
        let mut bytes = self.organization.as_bytes().to_vec();
        put_bytes(&mut bytes, self.key.as_bytes());
        bytes.extend_from_slice(&(operations.len() as u32).to_be_bytes());
        for operation in &operations {
            put_bytes(&mut bytes, operation);
        }
        let hash = hash(&[TRANSACTION, &bytes]);
        let leaf =
            |(index, operation): (u32, &Vec<u8>)| merkle::leaf(&[hash.as_slice(), &index.to_be_bytes(), operation]);
        let leaves = (0..).zip(&operations).map(leaf).collect();
        Ok(Sealed { transaction: self, bytes, hash, leaves })
    }

    fn decode(bytes: &[u8]) -> Checked<Sealed> {
        let mut reader = Reader::new(bytes);
        let organization = reader.uuid()?;
        let key = reader.text()?;
        let count = reader.u32()?;
        let mut operations = Vec::new();
        for _ in 0..count {
            operations.push(decode_operation(reader.bytes()?)?);
        }
        reader.end()?;
        let sealed = Self { organization, key, operations }.seal()?;
        if sealed.bytes == bytes { Ok(sealed) } else { Err("a transaction is not in canonical form".to_owned()) }
    }
}

fn encode_operation(operation: &Operation) -> Checked<Vec<u8>> {
    let mut out = Vec::new();
    match operation {
        Operation::Mint { to, token, amount } => {
            out.push(MINT);
            put_bytes(&mut out, to.0.as_bytes());
            put_value(&mut out, token, amount);
        }
        Operation::Transfer { from, to, token, amount, memo } => {
            out.push(TRANSFER);
            put_bytes(&mut out, from.0.as_bytes());
            put_bytes(&mut out, to.0.as_bytes());
            put_value(&mut out, token, amount);
            put_option(&mut out, memo.as_ref().map(json::encode).transpose()?.as_deref());
        }
        Operation::Event { contract, subject, event, data } => {
            out.push(EVENT);
            put_bytes(&mut out, contract.0.as_bytes());
            put_option(&mut out, subject.as_ref().map(|subject| subject.0.as_bytes()));
            put_bytes(&mut out, event.as_bytes());
            put_bytes(&mut out, &json::encode(data)?);
        }
    }
    Ok(out)
}

fn put_value(out: &mut Vec<u8>, token: &Token, amount: &U256) {
    put_bytes(out, token.symbol.as_bytes());
    out.push(token.decimals);
    put_option(out, token.contract.as_ref().map(|contract| contract.0.as_bytes()));
    out.extend_from_slice(&amount.to_be_bytes::<32>());
}

fn decode_operation(bytes: &[u8]) -> Checked<Operation> {
    let mut reader = Reader::new(bytes);
    let operation = match reader.u8()? {
        MINT => {
            let to = reader.address()?;
            let (token, amount) = decode_value(&mut reader)?;
            Operation::Mint { to, token, amount }
        }
        TRANSFER => {
            let (from, to) = (reader.address()?, reader.address()?);
            let (token, amount) = decode_value(&mut reader)?;
            let memo = reader.option(|reader| json::decode(reader.bytes()?))?;
            Operation::Transfer { from, to, token, amount, memo }
        }
        EVENT => Operation::Event {
            contract: reader.address()?,
            subject: reader.option(Reader::address)?,
            event: reader.text()?,
            data: json::decode(reader.bytes()?)?,
        },
        other => return Err(format!("{other} is no kind of operation")),
    };
    reader.end()?;
    Ok(operation)
}

fn decode_value(reader: &mut Reader<'_>) -> Checked<(Token, U256)> {
    let token = Token { symbol: reader.text()?, decimals: reader.u8()?, contract: reader.option(Reader::address)? };
    Ok((token, reader.amount()?))
}

/// Transactions that became durable together.
#[derive(Clone, Debug)]
pub struct Block {
    /// What the hash covers.
    pub header: Header,
    /// In order; at least one.
    pub transactions: Vec<Sealed>,
}

impl Block {
    /// A block on top of `previous`.
    pub fn new(organization: Uuid, number: u64, previous: B256, at: DateTime<Utc>, transactions: Vec<Sealed>) -> Self {
        let leaves = leaves(&transactions);
        let header = Header {
            organization,
            number,
            previous,
            root: merkle::root(&leaves),
            at,
            transactions: transactions.len() as u32,
            entries: leaves.len() as u32,
        };
        Self { header, transactions }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header.encode();
        for transaction in &self.transactions {
            put_bytes(&mut out, &transaction.bytes);
        }
        out
    }

    /// Reads a block and checks its form: every byte accounted for, canonical, as many transactions and entries as the
    /// header says. Hashes and rules are not checked here.
    pub fn decode(bytes: &[u8]) -> Checked<Self> {
        let mut reader = Reader::new(bytes);
        let header = Header::decode(&mut reader)?;
        let mut transactions = Vec::new();
        while !reader.is_empty() {
            transactions.push(Transaction::decode(reader.bytes()?)?);
        }
        let block = Self { header, transactions };
        let entries: usize = block.transactions.iter().map(|transaction| transaction.leaves.len()).sum();
        if block.header.transactions as usize != block.transactions.len() || block.header.entries as usize != entries {
            return Err("its header counts other transactions or entries than it holds".to_owned());
        }
        if block.encode() == bytes { Ok(block) } else { Err("it is not in canonical form".to_owned()) }
    }

    /// The leaves of all entries, in order.
    pub fn leaves(&self) -> Vec<B256> {
        leaves(&self.transactions)
    }
}

fn leaves(transactions: &[Sealed]) -> Vec<B256> {
    transactions.iter().flat_map(|transaction| transaction.leaves.iter().copied()).collect()
}

/// The parties of an operation, as payer and payee: an event's are the contract and whom it is about.
pub fn parties(operation: &Operation) -> (Option<&Address>, Option<&Address>) {
    match operation {
        Operation::Mint { to, .. } => (None, Some(to)),
        Operation::Transfer { from, to, .. } => (Some(from), Some(to)),
        Operation::Event { contract, subject, .. } => (Some(contract), subject.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn address(digit: char) -> Address {
        Address(format!("local:{}", digit.to_string().repeat(40)))
    }

    /// The bytes on disk are a promise: they are pinned here. Another hash means that old chains no longer verify.
    #[test]
    fn the_encoding_is_pinned() {
        let token = Token { symbol: "USDC".into(), decimals: 6, contract: Some(address('c')) };
        let organization = Uuid::from_u128(1);
        let operations = vec![
            Operation::Mint { to: address('a'), token: token.clone(), amount: U256::from(500) },
            Operation::Transfer {
                from: address('a'),
                to: address('b'),
                token,
                amount: U256::from(200),
                memo: Some(json!({"b": 1.5, "a": "é"})),
            },
            Operation::Event { contract: address('c'), subject: None, event: "Paid".into(), data: json!([1, null]) },
        ];
        let sealed = Transaction { organization, key: "first".into(), operations }.seal().unwrap();
        let at = DateTime::from_timestamp_micros(1_767_225_600_000_001).unwrap();
        let transaction = sealed.hash;
        let block = Block::new(organization, 1, genesis(organization), at, vec![sealed]);
        assert_eq!(hex::encode(transaction), "89b1ca723a4c2e8b7a0f301753dd01d3fd85fb177e50f4167eb6952f526776c4");
        assert_eq!(hex::encode(block.header.root), "9361bede557e00ddce40d2574c4646e3b6608bab99a7dbbbb379f219831dfb7b");
        assert_eq!(
            hex::encode(block.header.hash()),
            "3b7fa4dabcb045803dc9fbee9948128a0515af3abb0fceeae2dd6918f2eb5581"
        );
        assert_eq!(block.header.encode().len(), 106);
        let again = Block::decode(&block.encode()).unwrap();
        assert_eq!(again.header, block.header);
        assert_eq!(again.transactions[0].transaction, block.transactions[0].transaction);
    }
}
