//! `Wallet`: an address of a persona on a chain.

use super::{
    ledger::{Balance, Chain, EntryFilter, LedgerEntry},
    persona::Persona,
};
use crate::graphql::{
    context::RequestContext,
    ids::NodeId,
    keys::{ledger::BalancesOf, relational::PageOf},
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::DateTime,
};
use async_graphql::{ComplexObject, Context, Result, SimpleObject};
use chimera_stores::{
    Slice,
    ledger::{Address, WalletRef},
    relational::{Column, Edge, Kind, Order, PageQuery},
};
use uuid::Uuid;

/// Wallets of one owner that sums and ledgers look at: the newest ones.
const MAX_WALLETS: u32 = 100;

/// An address of a persona on a chain.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Wallet {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    persona_id: Uuid,
    #[graphql(skip)]
    wallet: WalletRef,
    /// On which chain.
    pub chain: Chain,
    /// The address in the chain's own notation.
    pub address: String,
    /// What it is for.
    pub label: Option<String>,
    /// When it was registered.
    pub created_at: DateTime,
}

impl Listed for Wallet {
    const NAME: &'static str = "Wallet";
}

impl From<entity::wallet::Model> for Wallet {
    fn from(row: entity::wallet::Model) -> Self {
        Self {
            key: row.id,
            persona_id: row.persona_id,
            wallet: wallet_ref(&row),
            chain: row.chain.into(),
            address: row.address,
            label: row.label,
            created_at: row.created_at.into(),
        }
    }
}

#[ComplexObject]
impl Wallet {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Wallet(self.key)
    }

    /// Whose wallet it is.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, Some(self.persona_id)).await
    }

    /// What it holds, by token.
    async fn balances(&self, context: &Context<'_>) -> Result<Option<Vec<Balance>>> {
        let balances = RequestContext::of(context)?.load(BalancesOf(self.wallet.clone())).await?;
        Ok(Some(balances.into_iter().map(Balance::from).collect()))
    }

    /// What happened in it, newest first.
    async fn ledger_entries(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only entries that satisfy this.")] filter: Option<EntryFilter>,
    ) -> Result<Option<Connection<LedgerEntry>>> {
        let page = PageArgs::new(first, after, last, before);
        super::ledger::entries(context, vec![self.wallet.clone()], filter.unwrap_or_default(), page).await
    }
}

/// The wallet as the ledger port knows it.
pub fn wallet_ref(row: &entity::wallet::Model) -> WalletRef {
    WalletRef { chain: row.chain, address: Address(row.address.clone()) }
}

/// The wallets of one owner, by the column that names it; of the organisation when `column` is `Id`.
///
/// # Errors
/// What the store says.
pub async fn wallets_of(context: &Context<'_>, column: Column, parent: Uuid) -> Result<Vec<WalletRef>> {
    let query = PageQuery {
        kind: Kind::Wallet,
        edge: (column != Column::Id).then_some(Edge::Column(column)),
        predicates: Vec::new(),
        order: Order::default(),
        slice: Slice::first(MAX_WALLETS),
        total: false,
    };
    let page = RequestContext::of(context)?.load_shared(PageOf::<entity::wallet::Model>::new(query, parent)).await?;
    Ok(page.items.iter().map(|(_, wallet)| wallet_ref(wallet)).collect())
}
