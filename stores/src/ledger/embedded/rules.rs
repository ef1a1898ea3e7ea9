//! What may be written: the form of an operation, and the arithmetic of balances.
//!
//! The same rules run before a transaction is written, when a chain is opened, and when it is verified. Nothing here
//! touches a file. Amounts never wrap: all arithmetic is checked.

use super::{codec::Checked, json};
use crate::{
    Result,
    error::StoreError,
    ledger::{Address, Operation, STORE, Token},
};
use alloy_primitives::U256;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

const PREFIX: &str = "local:";
const MAX_MEMO_BYTES: usize = 1024;
const MAX_DATA_BYTES: usize = 4096;
const MAX_EVENT_BYTES: usize = 128;
const MAX_SYMBOL_BYTES: usize = 16;
const MAX_DECIMALS: u8 = 36;

/// The address of a wallet on the embedded chain: `local:` and the first 20 bytes of a hash of its id, in hex.
pub fn local_address(wallet_id: Uuid) -> Address {
    let mut digest = Sha256::new();
    digest.update(b"chimera/ledger/address/1\0");
    digest.update(wallet_id.as_bytes());
    let digest = hex::encode(digest.finalize());
    Address(format!("{PREFIX}{}", digest.get(..40).unwrap_or(&digest)))
}

/// Whether this is an address of the embedded chain: `local:` and 40 lower-case hex digits.
pub fn is_local(address: &Address) -> bool {
    let digits = address.0.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 40 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Refuses an address of another notation.
///
/// # Errors
/// `Invalid`.
pub fn check_address(address: &Address) -> Result<()> {
    if is_local(address) {
        Ok(())
    } else {
        Err(StoreError::invalid(STORE, "an address of the local chain is \"local:\" and 40 lower-case hex digits"))
    }
}

/// Refuses an operation that no state of the chain could accept.
///
/// # Errors
/// `Invalid`, naming what is wrong.
pub fn check_operation(operation: &Operation) -> Result<()> {
    match operation {
        Operation::Mint { to, token, amount } => {
            check_address(to)?;
            check_value(token, amount)
        }
        Operation::Transfer { from, to, token, amount, memo } => {
            check_address(from)?;
            check_address(to)?;
            check_value(token, amount)?;
            memo.as_ref().map_or(Ok(()), |memo| check_json("a memo", memo, MAX_MEMO_BYTES))
        }
        Operation::Event { contract, subject, event, data } => {
            check_address(contract)?;
            subject.as_ref().map_or(Ok(()), check_address)?;
            if event.is_empty() || event.len() > MAX_EVENT_BYTES {
                return Err(StoreError::invalid(STORE, format!("an event's name has 1 to {MAX_EVENT_BYTES} bytes")));
            }
            check_json("an event's data", data, MAX_DATA_BYTES)
        }
    }
}

fn check_value(token: &Token, amount: &U256) -> Result<()> {
    let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if token.symbol.is_empty() || token.symbol.len() > MAX_SYMBOL_BYTES || !token.symbol.bytes().all(known) {
        let message = format!("a token's symbol has 1 to {MAX_SYMBOL_BYTES} characters of A-Z and 0-9");
        return Err(StoreError::invalid(STORE, message));
    }
    if token.decimals > MAX_DECIMALS {
        return Err(StoreError::invalid(STORE, format!("a token has at most {MAX_DECIMALS} decimals")));
    }
    token.contract.as_ref().map_or(Ok(()), check_address)?;
    if amount.is_zero() {
        return Err(StoreError::invalid(STORE, "an amount is more than 0"));
    }
    Ok(())
}

fn check_json(what: &str, value: &Value, limit: usize) -> Result<()> {
    match json::encode(value) {
        Ok(bytes) if bytes.len() <= limit => Ok(()),
        Ok(bytes) => Err(StoreError::invalid(STORE, format!("{what} has at most {limit} bytes, not {}", bytes.len()))),
        Err(why) => Err(StoreError::invalid(STORE, format!("{what} cannot be stored: {why}"))),
    }
}

/// What can be asked of balances, whether they are durable or only planned.
pub trait Balances {
    /// What an address holds, if it ever held any.
    fn balance(&self, address: &Address, token: &Token) -> Option<U256>;
    /// How much there is of a token.
    fn supply(&self, token: &Token) -> Option<U256>;
    /// The decimals under which a symbol was first minted.
    fn decimals(&self, symbol: &str) -> Option<u8>;
}

/// Balances, supplies and tokens.
#[derive(Debug, Default)]
pub struct Sheet {
    balances: HashMap<Address, BTreeMap<Token, U256>>,
    supply: HashMap<Token, U256>,
    decimals: HashMap<String, u8>,
}

impl Sheet {
    /// What an address holds, ascending by symbol, then contract; what was spent entirely is left out.
    pub fn holdings(&self, address: &Address) -> impl Iterator<Item = (&Token, &U256)> {
        self.balances.get(address).into_iter().flatten().filter(|(_, amount)| !amount.is_zero())
    }

    /// Takes over what was planned on top of this.
    pub fn merge(&mut self, changes: Sheet) {
        for (address, tokens) in changes.balances {
            self.balances.entry(address).or_default().extend(tokens);
        }
        self.supply.extend(changes.supply);
        self.decimals.extend(changes.decimals);
    }
}

impl Balances for Sheet {
    fn balance(&self, address: &Address, token: &Token) -> Option<U256> {
        self.balances.get(address)?.get(token).copied()
    }

    fn supply(&self, token: &Token) -> Option<U256> {
        self.supply.get(token).copied()
    }

    fn decimals(&self, symbol: &str) -> Option<u8> {
        self.decimals.get(symbol).copied()
    }
}

/// Changes on top of balances that stay as they are: dropped when a transaction fails, merged when it holds.
pub struct Draft<'a> {
    below: &'a dyn Balances,
    changes: Sheet,
}

impl Balances for Draft<'_> {
    fn balance(&self, address: &Address, token: &Token) -> Option<U256> {
        self.changes.balance(address, token).or_else(|| self.below.balance(address, token))
    }

    fn supply(&self, token: &Token) -> Option<U256> {
        self.changes.supply(token).or_else(|| self.below.supply(token))
    }

    fn decimals(&self, symbol: &str) -> Option<u8> {
        self.changes.decimals(symbol).or_else(|| self.below.decimals(symbol))
    }
}

impl<'a> Draft<'a> {
    /// Nothing changed yet.
    pub fn over(below: &'a dyn Balances) -> Self {
        Self { below, changes: Sheet::default() }
    }

    /// What changed.
    pub fn into_changes(self) -> Sheet {
        self.changes
    }

    /// Takes over a draft that was made on top of this one.
    pub fn merge(&mut self, changes: Sheet) {
        self.changes.merge(changes);
    }

    /// Applies operations in order, each seeing those before it. After an error the draft is to be dropped.
    ///
    /// # Errors
    /// `Conflict`: too little balance, other decimals, or a supply beyond 256 bits.
    pub fn apply(&mut self, operations: &[Operation]) -> Result<()> {
        operations.iter().try_for_each(|operation| match operation {
            Operation::Mint { to, token, amount } => self.mint(to, token, *amount),
            Operation::Transfer { from, to, token, amount, .. } => self.transfer(from, to, token, *amount),
            Operation::Event { .. } => Ok(()),
        })
    }

    fn mint(&mut self, to: &Address, token: &Token, amount: U256) -> Result<()> {
        self.check_decimals(token)?;
        let supply = self.supply(token).unwrap_or_default();
        let supply = supply.checked_add(amount).ok_or_else(|| too_much(token))?;
        self.credit(to, token, amount)?;
        self.changes.supply.insert(token.clone(), supply);
        self.changes.decimals.insert(token.symbol.clone(), token.decimals);
        Ok(())
    }

    fn transfer(&mut self, from: &Address, to: &Address, token: &Token, amount: U256) -> Result<()> {
        self.check_decimals(token)?;
        let available = self.balance(from, token).unwrap_or_default();
        let left = available.checked_sub(amount).ok_or_else(|| {
            let symbol = &token.symbol;
            StoreError::conflict(
                STORE,
                format!("insufficient balance of {symbol}: {available} available, {amount} needed (smallest unit)"),
            )
        })?;
        self.set(from, token, left);
        self.credit(to, token, amount)
    }

    fn credit(&mut self, to: &Address, token: &Token, amount: U256) -> Result<()> {
        let held = self.balance(to, token).unwrap_or_default();
        self.set(to, token, held.checked_add(amount).ok_or_else(|| too_much(token))?);
        Ok(())
    }

    fn set(&mut self, address: &Address, token: &Token, amount: U256) {
        self.changes.balances.entry(address.clone()).or_default().insert(token.clone(), amount);
    }

    fn check_decimals(&self, token: &Token) -> Result<()> {
        match self.decimals(&token.symbol) {
            Some(known) if known != token.decimals => {
                let Token { symbol, decimals, .. } = token;
                Err(StoreError::conflict(STORE, format!("{symbol} has {known} decimals here, not {decimals}")))
            }
            _ => Ok(()),
        }
    }
}

fn too_much(token: &Token) -> StoreError {
    StoreError::conflict(STORE, format!("the supply of {} would be more than 256 bits hold", token.symbol))
}

/// The rules for a transaction that is read back: form and arithmetic, with the reason as text.
pub fn recheck(draft: &mut Draft<'_>, operations: &[Operation]) -> Checked<()> {
    let checked = operations.iter().try_for_each(check_operation).and_then(|()| draft.apply(operations));
    checked.map_err(|error| error.message().to_owned())
}
