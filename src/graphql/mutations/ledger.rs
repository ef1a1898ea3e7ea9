//! Writing to a ledger.
//!
//! A ledger and the relational store share no transaction. The audit entry is committed first and the transaction submitted
//! after it: the log may hold a request that the ledger then refused (which the ledger itself shows), but nothing
//! reaches the ledger unlogged. The entry is about the UUIDv5 of organisation and idempotency key, so all requests for one
//! transaction are found together.

use super::{
    Outcome, Refusal, UserError, UserErrorCode, admin, check_text, commit, input, payload, unit, wallet::read_address,
};
use crate::graphql::{
    context::RequestContext,
    keys::ledger::EntryById,
    scalars::{BigInt, Hash},
    types::ledger::{Chain, LedgerEntry},
};
use alloy_primitives::U256;
use async_graphql::{ComplexObject, Context, InputObject, Object, OneofObject, Result, SimpleObject};
use chimera_stores::{
    Slice,
    ledger::{self, Address, EntryId, Operation, Receipt, Submission},
    relational::{Column, Kind, Order, PageQuery, Predicate, Value},
};
use futures_util::future::try_join_all;
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

/// The most operations of one transaction, as the ledger has it.
const MAX_OPERATIONS: usize = 100;

/// A transaction to be written.
#[derive(Clone, Debug, InputObject)]
pub struct SubmitTransactionInput {
    /// On which chain.
    pub chain: Chain,
    /// What happens, in order: 1 to 100, all of them or none.
    pub operations: Vec<LedgerOperationInput>,
    /// 1 to 128 bytes of your own making: the same key answers with the first receipt, and with other operations it is
    /// a conflict. Keep it to ask again after a failure.
    pub idempotency_key: String,
}

/// One thing that happens on a ledger.
#[derive(Clone, Debug, OneofObject)]
pub enum LedgerOperationInput {
    /// Makes tokens; only on LOCAL.
    Mint(MintInput),
    /// Moves tokens out of a registered wallet.
    Transfer(TransferInput),
    /// Records a contract's event.
    Event(ContractEventInput),
}

/// A token of a chain.
#[derive(Clone, Debug, InputObject)]
pub struct TokenInput {
    /// Such as `USDC`: 1 to 16 of `A-Z` and `0-9`.
    pub symbol: String,
    /// Smallest units of one token, as a power of ten: 0 to 36.
    pub decimals: u8,
    /// The contract's address; absent for the chain's own coin.
    pub contract: Option<String>,
}

/// Tokens to be made.
#[derive(Clone, Debug, InputObject)]
pub struct MintInput {
    /// Address of the receiver.
    pub to: String,
    /// Of what.
    pub token: TokenInput,
    /// How much, in the token's smallest unit; more than 0.
    pub amount: BigInt,
}

/// Tokens to be moved.
#[derive(Clone, Debug, InputObject)]
pub struct TransferInput {
    /// Address of the payer: a wallet of the organisation on this chain.
    pub from: String,
    /// Address of the receiver.
    pub to: String,
    /// Of what.
    pub token: TokenInput,
    /// How much, in the token's smallest unit; more than 0.
    pub amount: BigInt,
    /// Free JSON of at most 1,024 bytes; `{"campaignId": "<uuid>"}` counts it to what a campaign spends.
    pub memo: Option<serde_json::Value>,
}

/// An event of a contract.
#[derive(Clone, Debug, InputObject)]
pub struct ContractEventInput {
    /// Address of the contract.
    pub contract: String,
    /// Address of whom it is about.
    pub subject: Option<String>,
    /// Name of the event: 1 to 128 bytes.
    pub event: String,
    /// Its arguments: JSON of at most 4,096 bytes.
    #[graphql(default_with = "serde_json::Value::Object(serde_json::Map::new())")]
    pub data: serde_json::Value,
}

/// Where a transaction landed.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct LedgerReceipt {
    #[graphql(skip)]
    entries: Vec<EntryId>,
    /// Hash of the transaction.
    pub transaction: Hash,
    /// Number of the block.
    pub block_number: BigInt,
}

#[ComplexObject]
impl LedgerReceipt {
    /// Its entries, in order. Read after the transaction is written: when that fails, it is written nevertheless.
    async fn entries(&self, context: &Context<'_>) -> Result<Option<Vec<LedgerEntry>>> {
        let request = RequestContext::of(context)?;
        let entries = try_join_all(self.entries.iter().map(|id| request.load(EntryById(id.clone())))).await?;
        Ok(Some(entries.into_iter().flatten().map(LedgerEntry::from).collect()))
    }
}

impl From<Receipt> for LedgerReceipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            entries: receipt.entries,
            transaction: Hash(receipt.transaction),
            block_number: receipt.block_number.into(),
        }
    }
}

payload! {
    /// What became of `submitTransaction`.
    direct SubmitTransactionPayload {
        /// Where the transaction landed.
        receipt: LedgerReceipt
    }
}

/// Mutations of ledgers.
#[derive(Default)]
pub struct LedgerMutation;

#[Object]
impl LedgerMutation {
    /// Writes a transaction to a chain. Needs the role ADMIN. Every request is in the audit log before the transaction is
    /// written, so the log may also hold requests that the chain refused.
    async fn submit_transaction(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The transaction.")] input: SubmitTransactionInput,
    ) -> Result<Option<SubmitTransactionPayload>> {
        SubmitTransactionPayload::of(submit(admin(context)?, input).await)
    }
}

async fn submit(request: &RequestContext, input: SubmitTransactionInput) -> Outcome<(LedgerReceipt, Vec<UserError>)> {
    check_text(&["input", "idempotencyKey"], &input.idempotency_key, 128)?;
    input::check_count(&["input", "operations"], input.operations.len(), MAX_OPERATIONS)?;
    let chain = ledger::Chain::from(input.chain);
    let mut operations = Vec::with_capacity(input.operations.len());
    for (index, operation) in input.operations.into_iter().enumerate() {
        operations.push(Reader { chain, index: index.to_string() }.read(operation)?);
    }
    let ledger = request.stores().ledger()?;
    if !ledger.capabilities().chains.contains(&chain) {
        let message = "this installation does not serve this chain";
        return Err(UserError::new(UserErrorCode::Refused, &["input", "chain"], message).into());
    }
    check_payers(request, chain, &operations).await?;
    let submission = Submission { chain, operations, idempotency_key: input.idempotency_key };
    let mut work = unit(request, "submitTransaction");
    let id = Uuid::new_v5(&request.scope().organization_id(), submission.idempotency_key.as_bytes());
    work.note("LedgerTransaction", id, &(chain, &submission.idempotency_key, &submission.operations));
    commit(request, work).await?;
    let receipt = ledger.submit(request.scope(), &submission).await?;
    Ok((receipt.into(), Vec::new()))
}

/// Refuses transfers out of wallets that the organisation has not registered on this chain, with one read for all.
async fn check_payers(request: &RequestContext, chain: ledger::Chain, operations: &[Operation]) -> Outcome<()> {
    let payers: BTreeSet<&String> = operations.iter().filter_map(payer).collect();
    if payers.is_empty() {
        return Ok(());
    }
    // Not by the unique-key look-up: an address may be registered on two chains.
    let query = PageQuery {
        kind: Kind::Wallet,
        edge: None,
        predicates: vec![
            Predicate::In(Column::Chain, vec![Value::Text(stored_name(chain).to_owned())]),
            Predicate::In(Column::Address, payers.iter().map(|address| Value::Text((*address).clone())).collect()),
        ],
        order: Order::default(),
        slice: Slice::first(u32::try_from(MAX_OPERATIONS).unwrap_or(u32::MAX)),
        total: false,
    };
    let pages = request.stores().relational.pages(request.scope(), &query, &[Uuid::nil()]).await?;
    let wallets = pages.into_iter().flat_map(|page| page.items);
    let registered: HashSet<String> = wallets.map(|wallet: entity::wallet::Model| wallet.address).collect();
    let stranger = |(index, operation): (usize, &Operation)| {
        payer(operation).filter(|address| !registered.contains(*address)).map(|_| {
            let field = input::path(&["input", "operations", &index.to_string(), "transfer", "from"]);
            input::missing("wallet of the organisation on this chain", field)
        })
    };
    let strangers: Vec<UserError> = operations.iter().enumerate().filter_map(stranger).collect();
    if strangers.is_empty() { Ok(()) } else { Err(Refusal::User(strangers)) }
}

/// Who pays.
fn payer(operation: &Operation) -> Option<&String> {
    match operation {
        Operation::Transfer { from, .. } => Some(&from.0),
        Operation::Mint { .. } | Operation::Event { .. } => None,
    }
}

/// The chain as predicates name it.
const fn stored_name(chain: ledger::Chain) -> &'static str {
    match chain {
        ledger::Chain::Local => "LOCAL",
        ledger::Chain::Ethereum => "ETHEREUM",
        ledger::Chain::Base => "BASE",
        ledger::Chain::Solana => "SOLANA",
    }
}

/// Reads one operation of the argument.
struct Reader {
    chain: ledger::Chain,
    index: String,
}

impl Reader {
    fn read(&self, operation: LedgerOperationInput) -> Outcome<Operation> {
        match operation {
            LedgerOperationInput::Mint(mint) => Ok(Operation::Mint {
                to: self.address(&["mint", "to"], &mint.to)?,
                token: self.token("mint", mint.token)?,
                amount: self.amount("mint", &mint.amount)?,
            }),
            LedgerOperationInput::Transfer(transfer) => {
                if let Some(memo) = &transfer.memo {
                    input::check_json(&self.at(&["transfer", "memo"]), memo, 1_024)?;
                }
                Ok(Operation::Transfer {
                    from: self.address(&["transfer", "from"], &transfer.from)?,
                    to: self.address(&["transfer", "to"], &transfer.to)?,
                    token: self.token("transfer", transfer.token)?,
                    amount: self.amount("transfer", &transfer.amount)?,
                    memo: transfer.memo,
                })
            }
            LedgerOperationInput::Event(event) => {
                input::check_json(&self.at(&["event", "data"]), &event.data, 4_096)?;
                let subject = |address: &String| self.address(&["event", "subject"], address);
                Ok(Operation::Event {
                    contract: self.address(&["event", "contract"], &event.contract)?,
                    subject: event.subject.as_ref().map(subject).transpose()?,
                    event: input::text(&self.at(&["event", "event"]), event.event, 128)?,
                    data: event.data,
                })
            }
        }
    }

    fn at<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["input", "operations", self.index.as_str()], rest].concat()
    }

    fn address(&self, rest: &[&str], text: &str) -> Outcome<Address> {
        read_address(self.chain, text, &self.at(rest))
    }

    fn token(&self, operation: &str, token: TokenInput) -> Outcome<ledger::Token> {
        let symbol = self.at(&[operation, "token", "symbol"]);
        let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !(1..=16).contains(&token.symbol.len()) || !token.symbol.bytes().all(known) {
            return Err(UserError::invalid(&symbol, "a symbol has 1 to 16 of A-Z and 0-9").into());
        }
        if token.decimals > 36 {
            let decimals = self.at(&[operation, "token", "decimals"]);
            return Err(UserError::invalid(&decimals, "this is not between 0 and 36").into());
        }
        let contract = |address: &String| self.address(&[operation, "token", "contract"], address);
        Ok(ledger::Token {
            contract: token.contract.as_ref().map(contract).transpose()?,
            symbol: token.symbol,
            decimals: token.decimals,
        })
    }

    fn amount(&self, operation: &str, amount: &BigInt) -> Outcome<U256> {
        amount.to_u256().filter(|amount| !amount.is_zero()).ok_or_else(|| {
            let field = self.at(&[operation, "amount"]);
            UserError::invalid(&field, "this is not more than 0 and below 2^256").into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_name_of_a_chain_is_the_entitys() {
        for chain in [ledger::Chain::Local, ledger::Chain::Ethereum, ledger::Chain::Base, ledger::Chain::Solana] {
            assert_eq!(serde_json::to_value(chain).ok(), Some(stored_name(chain).into()));
        }
    }

    #[test]
    fn a_bad_operation_is_refused_by_its_path() {
        let token = TokenInput { symbol: "USDC".to_owned(), decimals: 6, contract: None };
        let address = format!("local:{}", "0".repeat(40));
        let reader = Reader { chain: ledger::Chain::Local, index: "3".to_owned() };
        let mint = |to: &str, token: TokenInput, amount: u64| {
            reader.read(LedgerOperationInput::Mint(MintInput { to: to.to_owned(), token, amount: amount.into() }))
        };
        assert!(mint(&address, token.clone(), 1).is_ok());
        let small = TokenInput { symbol: "usdc".to_owned(), ..token.clone() };
        for (outcome, place) in [
            (mint("nowhere", token.clone(), 1), vec!["mint", "to"]),
            (mint(&address, token, 0), vec!["mint", "amount"]),
            (mint(&address, small, 1), vec!["mint", "token", "symbol"]),
        ] {
            let Err(Refusal::User(errors)) = outcome else { panic!("{place:?} was accepted") };
            let expected = [vec!["input", "operations", "3"], place].concat();
            assert_eq!(errors[0].field, Some(input::path(&expected)));
        }
    }
}
