//! Look-ups of the ledger store.

use crate::graphql::{
    context::RequestContext,
    loader::{LoadKey, flatten, spread},
};
use chimera_stores::{
    Page, Result, Store,
    ledger::{Balance, Entry, EntryId, EntryPageQuery, Outflow, OutflowQuery, Proof, WalletRef},
};

/// What a wallet holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BalancesOf(pub WalletRef);

impl LoadKey for BalancesOf {
    type Value = Vec<Balance>;
    const STORE: Store = Store::Ledger;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().ledger()?.balances(context.scope(), &keys).await };
        flatten(count, call.await)
    }
}

/// An entry by its address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntryById(pub EntryId);

impl LoadKey for EntryById {
    type Value = Option<Entry>;
    const STORE: Store = Store::Ledger;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().ledger()?.entries(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// A page of the entries of some wallets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EntriesOf(pub EntryPageQuery);

impl LoadKey for EntriesOf {
    type Value = Page<Entry>;
    const STORE: Store = Store::Ledger;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().ledger()?.entry_pages(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// What left some wallets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OutflowOf(pub OutflowQuery);

impl LoadKey for OutflowOf {
    type Value = Vec<Outflow>;
    const STORE: Store = Store::Ledger;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().ledger()?.outflows(context.scope(), &keys).await };
        spread(count, call.await)
    }
}

/// The inclusion proof of an entry.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProofOf(pub EntryId);

impl LoadKey for ProofOf {
    type Value = Option<Proof>;
    const STORE: Store = Store::Ledger;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        let call = async { context.stores().ledger()?.proofs(context.scope(), &keys).await };
        spread(count, call.await)
    }
}
