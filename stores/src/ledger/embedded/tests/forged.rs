//! Blocks whose hashes are all right and whose content breaks a rule: somebody wrote a whole chain anew.

use super::*;
use crate::ledger::embedded::{
    block::{Block, Transaction},
    tip::Tip,
};
use alloy_primitives::B256;
use chrono::{Duration, Utc};

/// The tip of a chain with one block: address 1 was given 1,000.
fn tip() -> Tip {
    let mut tip = Tip::new(organization());
    let block = block(&tip, "mint", vec![mint(1, 1_000)]);
    tip.check(&block.encode(), block.header.hash()).unwrap();
    tip
}

fn sealed(organization: Uuid, key: &str, operations: Vec<Operation>) -> crate::ledger::embedded::block::Sealed {
    Transaction { organization, key: key.to_owned(), operations }.seal().unwrap()
}

fn block(tip: &Tip, key: &str, operations: Vec<Operation>) -> Block {
    let at = DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap();
    let transactions = vec![sealed(tip.organization, key, operations)];
    Block::new(tip.organization, tip.number + 1, tip.hash, at, transactions)
}

fn assert_refused(block: &Block, why: &str) {
    let mut tip = tip();
    let (number, hash) = (tip.number, tip.hash);
    let found = tip.check(&block.encode(), block.header.hash()).unwrap_err();
    assert!(found.contains(why), "{found:?} instead of {why:?}");
    assert_eq!((tip.number, tip.hash), (number, hash), "a refused block changes nothing");
}

#[test]
fn what_fits_is_accepted() {
    let mut tip = tip();
    let next = block(&tip, "pay", vec![transfer(1, 2, 1_000)]);
    tip.check(&next.encode(), next.header.hash()).unwrap();
    assert_eq!((tip.number, tip.entries), (2, 2));
}

#[test]
fn rules_hold_for_what_is_read_as_for_what_is_written() {
    let tip = tip();
    let zero = Operation::Mint { to: address(1), token: token("USDC"), amount: U256::ZERO };
    let elsewhere = Operation::Mint { to: Address("0xabc".into()), token: token("USDC"), amount: U256::from(1) };
    let decimals =
        Operation::Mint { to: address(1), token: Token { decimals: 18, ..token("USDC") }, amount: U256::from(1) };
    let huge = Operation::Mint { to: address(2), token: token("USDC"), amount: U256::MAX };
    for (operations, why) in [
        (vec![transfer(1, 2, 1_001)], "insufficient balance of USDC: 1000 available"),
        (vec![transfer(1, 2, 600), transfer(1, 3, 600)], "insufficient balance of USDC: 400 available"),
        (vec![zero], "more than 0"),
        (vec![elsewhere], "address"),
        (vec![decimals], "6 decimals"),
        (vec![huge], "256 bits"),
        (vec![], "no operation"),
    ] {
        assert_refused(&block(&tip, "pay", operations), why);
    }
    assert_refused(&block(&tip, "mint", vec![mint(1, 1)]), "idempotency key");
}

#[test]
fn a_block_fits_onto_one_block_only() {
    let tip = tip();
    let good = block(&tip, "pay", vec![transfer(1, 2, 1)]);
    let changed = |change: fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        block
    };
    assert_refused(&changed(|block| block.header.organization = Uuid::from_u128(2)), "another organisation");
    assert_refused(&changed(|block| block.header.number = 3), "number is 3");
    assert_refused(&changed(|block| block.header.previous = B256::ZERO), "the block before");
    assert_refused(&changed(|block| block.header.at -= Duration::microseconds(1)), "time");
    assert_refused(&changed(|block| block.header.root = B256::ZERO), "Merkle root");
    assert_refused(&changed(|block| block.header.entries = 2), "counts");
    assert_refused(&changed(|block| block.header.transactions = 2), "counts");
    assert_refused(&Block::new(organization(), 2, tip.hash, Utc::now(), vec![]), "no transaction");
    let foreign = sealed(Uuid::from_u128(2), "pay", vec![transfer(1, 2, 1)]);
    assert_refused(&Block::new(organization(), 2, tip.hash, Utc::now(), vec![foreign]), "another organisation");
    let twice = || sealed(organization(), "pay", vec![transfer(1, 2, 1)]);
    assert_refused(&Block::new(organization(), 2, tip.hash, Utc::now(), vec![twice(), twice()]), "appears twice");
}

#[test]
fn other_spellings_of_the_same_block_are_refused() {
    let tip = tip();
    let transaction = sealed(organization(), "pay", vec![transfer(1, 2, 1)]);
    let text = String::from_utf8_lossy(&transaction.bytes).into_owned();
    assert!(text.contains("\"campaignId\":"), "the memo lies in the transaction as JSON");
    let mut respelled = transaction;
    // The members of the memo in another order: the same value, other bytes.
    let (start, end) = (find(&respelled.bytes, b"{\"campaignId\""), respelled.bytes.len());
    let memo = String::from_utf8(respelled.bytes[start..end].to_vec()).unwrap();
    let (campaign, note) = memo.trim_matches(['{', '}']).split_once(',').unwrap();
    let other = format!("{{{note},{campaign}}}");
    respelled.bytes.truncate(start);
    respelled.bytes.extend_from_slice(other.as_bytes());
    let block = Block::new(organization(), 2, tip.hash, Utc::now(), vec![respelled]);
    assert_refused(&block, "canonical");
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}
