//! The cases of the ledger port, and the adapters they run on.
//!
//! They make their own tokens, so they need an adapter that can mint, and addresses of the local chain.

mod durability;
mod reads;
mod writes;

use crate::{Adapter, Case, World};
use alloy_primitives::U256;
use chimera_stores::{
    ErrorKind, Guard, Position, Result, Scope, Slice, SortValue, Store, StoreError,
    ledger::{
        Address, Chain, Entry, EntryId, EntryKind, EntryPageQuery, Finality, Ledger, Operation, OutflowQuery, Receipt,
        Submission, Token, WalletRef,
        embedded::{EmbeddedLedger, local_address},
    },
};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Ledger>] = &[Adapter {
    name: "embedded",
    found: || true,
    open: |folder, clock| {
        Box::pin(async move {
            let ledger = EmbeddedLedger::open(&folder, clock).unwrap();
            Ledger::new(Guard::detached(Store::Ledger), Arc::new(ledger))
        })
    },
}];

macro_rules! cases {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($((stringify!($name), |world| Box::pin($module::$name(world))),)+)+]
    };
}

/// Every case of the port.
pub const CASES: &[Case<Ledger>] = cases! {
    writes:
        a_mint_is_read_back,
        a_transfer_moves_and_conserves,
        operations_see_those_before_them,
        a_failed_operation_undoes_its_whole_transaction,
        spending_more_than_there_is_conflicts,
        a_transfer_to_oneself_needs_the_balance_and_changes_nothing,
        zero_amounts_are_invalid,
        malformed_addresses_are_invalid,
        malformed_tokens_are_invalid,
        one_symbol_has_one_number_of_decimals,
        tokens_of_one_symbol_differ_by_contract,
        amounts_up_to_256_bits_never_wrap,
        a_repeated_key_answers_with_the_first_receipt,
        a_key_with_other_operations_conflicts,
        a_refused_transaction_leaves_its_key_free,
        equal_submissions_at_once_are_one_transaction,
        keys_of_two_organizations_do_not_meet,
        a_transaction_has_limits,
        memos_and_data_have_limits,
        json_comes_back_exactly,
        thirty_two_writers_never_overspend,
        other_chains_are_unsupported;
    reads:
        nothing_is_known_of_what_was_never_written,
        empty_batches_are_empty,
        duplicate_keys_are_answered_each,
        another_organization_sees_nothing,
        balances_are_sorted_and_of_the_newest_block,
        a_bad_key_fails_alone,
        entries_carry_everything_that_was_written,
        events_name_contract_and_subject,
        pages_are_newest_first_and_hold_each_entry_once,
        paging_forward_is_slicing,
        paging_backward_is_slicing,
        cursors_stand_still_under_insert,
        pages_filter_by_kind_and_time,
        a_page_of_no_rows_is_invalid,
        outflows_leave_out_payments_between_own_wallets,
        outflows_filter_by_campaign_and_time,
        every_entry_is_final_and_gains_confirmations,
        proofs_lead_to_the_root;
    durability:
        everything_is_there_after_reopening,
        keys_are_remembered_after_reopening,
        the_clock_never_turns_a_chain_back,
        verify_counts_what_it_checked,
        verify_finds_damage_on_disk,
        an_abandoned_submission_happens_once_or_not_at_all,
        readers_see_whole_transactions_only,
        the_store_is_healthy_and_says_what_it_can;
};

fn address(number: u128) -> Address {
    local_address(Uuid::from_u128(number))
}

fn wallet(number: u128) -> WalletRef {
    WalletRef { chain: Chain::Local, address: address(number) }
}

fn token(symbol: &str) -> Token {
    Token { symbol: symbol.to_owned(), decimals: 6, contract: None }
}

fn mint(to: u128, amount: u64) -> Operation {
    Operation::Mint { to: address(to), token: token("USDC"), amount: U256::from(amount) }
}

fn transfer(from: u128, to: u128, amount: u64) -> Operation {
    transfer_with(from, to, amount, None)
}

fn transfer_with(from: u128, to: u128, amount: u64, memo: Option<Value>) -> Operation {
    Operation::Transfer { from: address(from), to: address(to), token: token("USDC"), amount: U256::from(amount), memo }
}

fn event(contract: u128, subject: Option<u128>) -> Operation {
    Operation::Event {
        contract: address(contract),
        subject: subject.map(address),
        event: "Rated".into(),
        data: json!({"stars": 5}),
    }
}

async fn submit_as(world: &World<Ledger>, scope: &Scope, key: &str, operations: Vec<Operation>) -> Result<Receipt> {
    let submission = Submission { chain: Chain::Local, operations, idempotency_key: key.to_owned() };
    world.handle.submit(scope, &submission).await
}

async fn submit(world: &World<Ledger>, key: &str, operations: Vec<Operation>) -> Result<Receipt> {
    submit_as(world, &world.scope, key, operations).await
}

/// What a wallet holds of USDC; a token that is not listed counts as 0.
async fn held(world: &World<Ledger>, number: u128) -> U256 {
    let balances = world.handle.balances(&world.scope, &[wallet(number)]).await.unwrap().remove(0).unwrap();
    balances.into_iter().find(|balance| balance.token == token("USDC")).map(|found| found.amount).unwrap_or_default()
}

async fn entries(world: &World<Ledger>, ids: &[EntryId]) -> Vec<Entry> {
    let found = world.handle.entries(&world.scope, ids).await.unwrap();
    found.into_iter().map(|entry| entry.expect("an entry that was written")).collect()
}

fn query(wallets: &[u128], slice: Slice) -> EntryPageQuery {
    EntryPageQuery {
        wallets: wallets.iter().copied().map(wallet).collect(),
        kinds: vec![],
        from: None,
        to: None,
        min_finality: Finality::Latest,
        slice,
    }
}

async fn page(world: &World<Ledger>, query: EntryPageQuery) -> chimera_stores::Page<Entry> {
    world.handle.entry_pages(&world.scope, &[query]).await.unwrap().remove(0)
}

fn position(entry: &Entry) -> Position {
    Position { value: SortValue::Int(entry.sort_key()), id: entry.uuid() }
}

fn outflow(wallets: &[u128]) -> OutflowQuery {
    let wallets = wallets.iter().copied().map(wallet).collect();
    OutflowQuery { wallets, from: None, to: None, campaign_id: None }
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> StoreError {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let message = error.message();
    assert!(message.chars().next().is_some_and(|first| !first.is_uppercase() || message.starts_with("USDC")));
    assert!(!message.ends_with('.'), "{message:?} ends with a full stop");
    error
}
