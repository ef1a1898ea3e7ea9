//! Pages and outflows against the plainest way to work them out: all entries, filtered, cut by `Slice::apply`.

use super::*;
use crate::{
    ledger::{
        Entry, EntryKind, EntryPageQuery, Finality, OutflowQuery, WalletRef,
        embedded::{
            block::{Block, Transaction},
            state::State,
        },
    },
    page::{Position, Slice, SortValue},
};
use chrono::{Duration, Utc};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_767_225_600_000_000).unwrap()
}

/// A chain in memory: each inner list is a block, one transaction an operation, a second apart.
fn chain(blocks: &[Vec<(u8, u8, u8)>]) -> State {
    let mut state = State::new(organization());
    let wealth = (0..5).map(|to| mint(to, 1_000_000)).collect();
    append(&mut state, 0, vec![wealth]);
    for (second, block) in (1..).zip(blocks) {
        let operation = |&(kind, from, to): &(u8, u8, u8)| match kind {
            0 => vec![mint(to, 1)],
            1 => vec![event(from, (to > 0).then_some(to))],
            _ => vec![transfer(from, to, 2)],
        };
        append(&mut state, second, block.iter().map(operation).collect());
    }
    state
}

fn append(state: &mut State, second: i64, transactions: Vec<Vec<Operation>>) {
    let seal = |(number, operations)| {
        let key = format!("{second}/{number}");
        Transaction { organization: organization(), key, operations }.seal().unwrap()
    };
    let sealed = transactions.into_iter().enumerate().map(seal).collect();
    // Two blocks share each time, as blocks of a busy chain may.
    let at = start() + Duration::seconds(second / 2);
    let block = Block::new(organization(), state.tip.number + 1, state.tip.hash, at, sealed);
    let block = state.tip.check(&block.encode(), block.header.hash()).unwrap();
    state.index(block, 0, 0);
}

fn all(state: &State) -> Vec<Entry> {
    state.records.iter().rev().map(|record| state.entry(record).unwrap()).collect()
}

fn position(entry: &Entry) -> Position {
    Position { value: SortValue::Int(entry.sort_key()), id: entry.uuid() }
}

fn wallets(numbers: &BTreeSet<u8>) -> Vec<WalletRef> {
    let wallet = |number: &u8| WalletRef { chain: Chain::Local, address: address(*number) };
    let elsewhere = WalletRef { chain: Chain::Ethereum, address: address(0) };
    numbers.iter().map(wallet).chain([elsewhere]).collect()
}

fn is_party(entry: &Entry, numbers: &BTreeSet<u8>) -> bool {
    let own = |party: &Option<Address>| {
        party.as_ref().is_some_and(|party| numbers.iter().any(|number| address(*number) == *party))
    };
    own(&entry.from) || own(&entry.to)
}

#[derive(Clone, Debug)]
struct Asked {
    numbers: BTreeSet<u8>,
    kinds: Vec<EntryKind>,
    from: Option<i64>,
    to: Option<i64>,
    after: Option<(usize, bool)>,
    before: Option<(usize, bool)>,
    limit: u32,
    backward: bool,
    campaign: Option<u8>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let kinds = prop_oneof![
        Just(vec![]),
        Just(vec![EntryKind::Transfer]),
        Just(vec![EntryKind::Mint, EntryKind::ContractEvent])
    ];
    let place = || prop::option::of((any::<usize>(), any::<bool>()));
    let range = (prop::option::of(-1..6_i64), prop::option::of(-1..6_i64));
    let slice = (place(), place(), 1..8_u32, any::<bool>());
    (prop::collection::btree_set(0..6_u8, 0..4), kinds, range, slice, prop::option::of(0..6_u8)).prop_map(
        |(numbers, kinds, (from, to), (after, before, limit, backward), campaign)| Asked {
            numbers,
            kinds,
            from,
            to,
            after,
            before,
            limit,
            backward,
            campaign,
        },
    )
}

/// The position of some entry, or one beside it that no entry has.
fn place(entries: &[Entry], (number, exact): (usize, bool)) -> Position {
    let position = position(&entries[number % entries.len()]);
    if exact { position } else { Position { id: Uuid::from_u128(number as u128), ..position } }
}

fn check_page(state: &State, entries: &[Entry], asked: &Asked) {
    let time = |second: i64| start() + Duration::seconds(second);
    let slice = Slice {
        limit: asked.limit,
        after: asked.after.map(|after| place(entries, after)),
        before: asked.before.map(|before| place(entries, before)),
        backward: asked.backward,
    };
    let query = EntryPageQuery {
        wallets: wallets(&asked.numbers),
        kinds: asked.kinds.clone(),
        from: asked.from.map(time),
        to: asked.to.map(time),
        min_finality: Finality::Safe,
        slice: slice.clone(),
    };
    let matches = |entry: &Entry| {
        is_party(entry, &asked.numbers)
            && (asked.kinds.is_empty() || asked.kinds.contains(&entry.kind))
            && query.from.is_none_or(|from| entry.at >= from)
            && query.to.is_none_or(|to| entry.at < to)
    };
    let expected = slice.apply(entries.iter().filter(|entry| matches(entry)).cloned(), true, position);
    assert_eq!(state.page(&query), expected, "{asked:?}");
}

fn check_outflow(state: &State, entries: &[Entry], asked: &Asked) {
    let time = |second: i64| start() + Duration::seconds(second);
    let campaign = asked.campaign.map(|number| Uuid::from_u128(u128::from(number)));
    let query = OutflowQuery {
        wallets: wallets(&asked.numbers),
        from: asked.from.map(time),
        to: asked.to.map(time),
        campaign_id: campaign,
    };
    let own = |party: &Option<Address>| asked.numbers.iter().any(|number| Some(address(*number)) == *party);
    let mut sums: BTreeMap<Token, (U256, u64)> = BTreeMap::new();
    for entry in entries {
        let named = entry.data.as_ref().and_then(|data| data["campaignId"].as_str()).map(ToOwned::to_owned);
        if entry.kind == EntryKind::Transfer
            && own(&entry.from)
            && !own(&entry.to)
            && query.from.is_none_or(|from| entry.at >= from)
            && query.to.is_none_or(|to| entry.at < to)
            && campaign.is_none_or(|campaign| named == Some(campaign.to_string()))
        {
            let sum = sums.entry(entry.token.clone()).or_default();
            *sum = (sum.0 + entry.amount, sum.1 + 1);
        }
    }
    let found = state.outflow(&query).unwrap();
    let found: Vec<_> = found.into_iter().map(|flow| (flow.token, (flow.amount, flow.transfers))).collect();
    assert_eq!(found, sums.into_iter().collect::<Vec<_>>(), "{asked:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pages_and_sums_are_those_of_the_whole_list(
        blocks in prop::collection::vec(prop::collection::vec((0..4_u8, 0..5_u8, 0..5_u8), 1..5), 0..10),
        asked in prop::collection::vec(asked(), 24),
    ) {
        let state = chain(&blocks);
        let entries = all(&state);
        for asked in &asked {
            check_page(&state, &entries, asked);
            check_outflow(&state, &entries, asked);
        }
    }
}

#[test]
fn an_outflow_beyond_256_bits_is_refused_and_not_wrapped() {
    let mut state = State::new(organization());
    let all = U256::MAX;
    let pay = |from, to| Operation::Transfer {
        from: address(from),
        to: address(to),
        token: token("USDC"),
        amount: all,
        memo: None,
    };
    let operations =
        vec![Operation::Mint { to: address(1), token: token("USDC"), amount: all }, pay(1, 2), pay(2, 1), pay(1, 2)];
    append(&mut state, 0, vec![operations]);
    let query = OutflowQuery { wallets: wallets(&[1].into()), from: None, to: None, campaign_id: None };
    let error = state.outflow(&query).unwrap_err();
    assert!(error.kind() == crate::ErrorKind::Invalid && error.message().contains("USDC"), "{error:?}");
}
