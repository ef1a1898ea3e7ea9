//! The ledger against a naive model: a map of balances and a map of supplies.

use super::*;
use crate::{error::ErrorKind, ledger::WalletRef};
use proptest::prelude::*;
use std::collections::HashMap;

/// Operations on three addresses and two tokens; an amount that is never 0.
#[derive(Clone, Debug)]
enum Step {
    Mint(u8, bool, U256),
    Transfer(u8, u8, bool, U256),
    Event(u8),
}

fn amounts() -> impl Strategy<Value = U256> {
    let top = U256::from(1) << 255;
    prop_oneof![
        4 => (1..50_u64).prop_map(U256::from),
        1 => Just(top),
        1 => Just(top - U256::from(1)),
        1 => Just(U256::MAX),
        1 => any::<[u8; 32]>().prop_map(|bytes| U256::from_be_bytes::<32>(bytes).max(U256::from(1))),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u8, any::<bool>(), amounts()).prop_map(|(to, token, amount)| Step::Mint(to, token, amount)),
        5 => (0..3_u8, 0..3_u8, any::<bool>(), amounts())
            .prop_map(|(from, to, token, amount)| Step::Transfer(from, to, token, amount)),
        1 => (0..3_u8).prop_map(Step::Event),
    ]
}

fn symbol(second: bool) -> Token {
    token(if second { "EUR" } else { "USDC" })
}

fn operation(step: &Step) -> Operation {
    match *step {
        Step::Mint(to, second, amount) => Operation::Mint { to: address(to), token: symbol(second), amount },
        Step::Transfer(from, to, second, amount) => {
            Operation::Transfer { from: address(from), to: address(to), token: symbol(second), amount, memo: None }
        }
        Step::Event(contract) => event(contract, None),
    }
}

#[derive(Clone, Default)]
struct Model {
    balances: HashMap<(u8, bool), U256>,
    supply: HashMap<bool, U256>,
    entries: usize,
}

impl Model {
    /// The model after a transaction, or nothing when one of its steps is impossible.
    fn after(&self, steps: &[Step]) -> Option<Self> {
        let mut next = self.clone();
        for step in steps {
            match *step {
                Step::Mint(to, token, amount) => {
                    let supply = next.supply.entry(token).or_default();
                    *supply = supply.checked_add(amount)?;
                    *next.balances.entry((to, token)).or_default() += amount;
                }
                Step::Transfer(from, to, token, amount) => {
                    let held = next.balances.entry((from, token)).or_default();
                    *held = held.checked_sub(amount)?;
                    *next.balances.entry((to, token)).or_default() += amount;
                }
                Step::Event(_) => {}
            }
            next.entries += 1;
        }
        Some(next)
    }
}

async fn assert_same(ledger: &EmbeddedLedger, model: &Model) {
    for number in 0..3 {
        let wallet = WalletRef { chain: Chain::Local, address: address(number) };
        let found = ledger.balances(&scope(), &[wallet]).await.unwrap().remove(0).unwrap();
        let found: Vec<_> = found.into_iter().map(|balance| (balance.token, balance.amount)).collect();
        let held = |second| model.balances.get(&(number, second)).copied().unwrap_or_default();
        let expected: Vec<_> = [true, false]
            .into_iter()
            .map(|second| (symbol(second), held(second)))
            .filter(|(_, amount)| !amount.is_zero())
            .collect();
        assert_eq!(found, expected, "balances of address {number}");
    }
    let verification = ledger.verify(&scope(), Chain::Local).await.unwrap();
    assert_eq!((verification.entries as usize, verification.fault), (model.entries, None));
}

async fn run(transactions: Vec<Vec<Step>>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    let mut model = Model::default();
    for (number, steps) in transactions.iter().enumerate() {
        let found = submit(&ledger, &number.to_string(), steps.iter().map(operation).collect()).await;
        match model.after(steps) {
            Some(next) => {
                assert_eq!(found.unwrap().entries.len(), steps.len());
                model = next;
            }
            None => assert_eq!(found.unwrap_err().kind(), ErrorKind::Conflict, "{steps:?}"),
        }
    }
    assert_same(&ledger, &model).await;
    drop(ledger);
    assert_same(&open(folder.path()).unwrap(), &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn balances_are_those_of_the_model(
        transactions in prop::collection::vec(prop::collection::vec(steps(), 1..4), 1..14)
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(transactions));
    }
}
