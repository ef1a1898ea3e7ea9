//! Tests that need more than the port: damaged files, crashes, and models the ledger is compared with.

mod crash;
mod damage;
mod forged;
mod model;
mod paging;

use super::EmbeddedLedger;
use crate::{
    ManualClock, Result, Scope,
    ledger::{Address, Chain, LedgerAdapter, Operation, Receipt, Submission, Token},
};
use alloy_primitives::U256;
use chrono::DateTime;
use serde_json::json;
use std::{path::Path, sync::Arc};
use uuid::Uuid;

fn organization() -> Uuid {
    Uuid::from_u128(1)
}

fn scope() -> Scope {
    Scope::system(organization())
}

fn address(number: u8) -> Address {
    Address(format!("local:{number:040x}"))
}

fn token(symbol: &str) -> Token {
    Token { symbol: symbol.to_owned(), decimals: 6, contract: None }
}

fn mint(to: u8, amount: u64) -> Operation {
    Operation::Mint { to: address(to), token: token("USDC"), amount: U256::from(amount) }
}

fn transfer(from: u8, to: u8, amount: u64) -> Operation {
    let memo = Some(json!({"campaignId": Uuid::from_u128(u128::from(to)), "note": "für 2.5 Tage"}));
    Operation::Transfer { from: address(from), to: address(to), token: token("USDC"), amount: U256::from(amount), memo }
}

fn event(contract: u8, subject: Option<u8>) -> Operation {
    let data = json!({"score": 0.1, "of": [1, 2, null]});
    Operation::Event { contract: address(contract), subject: subject.map(address), event: "Rated".into(), data }
}

fn open(folder: &Path) -> Result<EmbeddedLedger> {
    let start = DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap();
    EmbeddedLedger::open(folder, Arc::new(ManualClock::new(start)))
}

async fn submit(ledger: &EmbeddedLedger, key: &str, operations: Vec<Operation>) -> Result<Receipt> {
    let submission = Submission { chain: Chain::Local, operations, idempotency_key: key.to_owned() };
    ledger.submit(&scope(), &submission).await
}
