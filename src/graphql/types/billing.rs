//! Money and billing records.

use super::{campaign::Campaign, list::OrderField, persona::Persona};
use crate::graphql::{
    ids::NodeId,
    page::Listed,
    resolve::One,
    scalars::{BigInt, CurrencyCode, DateTime},
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::relational::Column;
use uuid::Uuid;

/// An exact amount of money.
#[derive(Clone, Debug, PartialEq, Eq, SimpleObject)]
pub struct Money {
    /// In minor units of the currency (cents of a dollar).
    pub amount_minor: BigInt,
    /// The currency.
    pub currency: CurrencyCode,
}

impl Money {
    /// So many minor units of a currency.
    pub fn new(amount_minor: i64, currency: String) -> Self {
        Self { amount_minor: amount_minor.into(), currency: CurrencyCode(currency) }
    }
}

/// An exact amount of money.
#[derive(Clone, Debug, InputObject)]
pub struct MoneyInput {
    /// In minor units of the currency (cents of a dollar).
    pub amount_minor: BigInt,
    /// The currency.
    pub currency: CurrencyCode,
}

/// What an amount was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::billing_record::Kind")]
pub enum BillingKind {
    /// Rendering.
    Render,
    /// Storage and delivery.
    Storage,
    /// Calls of other services.
    Api,
    /// Paid reach.
    Promotion,
    /// Use of the platform.
    Platform,
    /// Given back.
    Credit,
}

/// What billing records can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum BillingRecordOrderField {
    /// When it was recorded.
    CreatedAt,
    /// When it was incurred.
    OccurredAt,
    /// Its amount, whatever the currency.
    Amount,
}

impl OrderField for BillingRecordOrderField {
    fn column(self) -> Column {
        match self {
            Self::CreatedAt => Column::Id,
            Self::OccurredAt => Column::OccurredAt,
            Self::Amount => Column::AmountMinor,
        }
    }
}

/// An amount charged or paid.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct BillingRecord {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    campaign_id: Option<Uuid>,
    #[graphql(skip)]
    persona_id: Option<Uuid>,
    /// The id in the system it was imported from; unique in the organisation.
    pub external_id: Option<String>,
    /// For what.
    pub kind: BillingKind,
    /// How much; negative for a credit.
    pub amount: Money,
    /// Words for people.
    pub description: Option<String>,
    /// When it was incurred.
    pub occurred_at: DateTime,
    /// When it was recorded.
    pub created_at: DateTime,
}

impl Listed for BillingRecord {
    const NAME: &'static str = "BillingRecord";
}

impl From<entity::billing_record::Model> for BillingRecord {
    fn from(row: entity::billing_record::Model) -> Self {
        Self {
            key: row.id,
            campaign_id: row.campaign_id,
            persona_id: row.persona_id,
            external_id: row.external_id,
            kind: row.kind.into(),
            amount: Money::new(row.amount_minor, row.currency),
            description: row.description,
            occurred_at: row.occurred_at.into(),
            created_at: row.created_at.into(),
        }
    }
}

#[ComplexObject]
impl BillingRecord {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::BillingRecord(self.key)
    }

    /// For which campaign.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
        Campaign::load(context, self.campaign_id).await
    }

    /// For which persona.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, self.persona_id).await
    }
}
