//! `Spend`: one field, three stores, each with its own failure.

use super::{billing::Money, ledger::TokenAmount, telemetry::TimeRange, wallet::wallets_of};
use crate::graphql::{
    context::RequestContext,
    keys::{
        ledger::OutflowOf,
        relational::{BillingTotalOf, PageOf},
        telemetry::RenderStatsOf,
    },
    scalars::BigInt,
};
use async_graphql::{Context, Object, Result};
use chimera_stores::{
    Slice,
    ledger::OutflowQuery,
    relational::{BillingKey, Column, Edge, Kind, Order, PageQuery},
    telemetry::{Fill, Measure, StatsQuery, Subject},
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

#[derive(Clone, Copy)]
enum Owner {
    Persona(Uuid),
    Campaign(Uuid),
}

/// What something cost.
#[derive(Clone)]
pub struct Spend {
    owner: Owner,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Spend {
    /// What a persona cost.
    pub fn of_persona(id: Uuid, range: Option<TimeRange>) -> Self {
        Self::new(Owner::Persona(id), range)
    }

    /// What a campaign cost.
    pub fn of_campaign(id: Uuid, range: Option<TimeRange>) -> Self {
        Self::new(Owner::Campaign(id), range)
    }

    fn new(owner: Owner, range: Option<TimeRange>) -> Self {
        Self { owner, from: range.map(|range| range.from.0), to: range.map(|range| range.to.0) }
    }
}

/// What something cost, from the three stores that know a part of it. A store that is down costs its own part alone.
#[Object]
impl Spend {
    /// Cost of rendering in millionths of a US dollar, from the telemetry.
    async fn render_cost_micros(&self, context: &Context<'_>) -> Result<Option<BigInt>> {
        let request = RequestContext::of(context)?;
        let subject = match self.owner {
            Owner::Persona(id) => Subject::Persona(id),
            Owner::Campaign(id) => Subject::Campaign(id),
        };
        // Events a day ahead of this clock are accepted, so "all time" ends there.
        let range = chimera_stores::telemetry::TimeRange {
            from: self.from.unwrap_or(DateTime::UNIX_EPOCH),
            to: self.to.unwrap_or_else(|| request.shared().clock.now() + TimeDelta::days(2)),
        };
        let query = StatsQuery {
            subject,
            range,
            edges: Vec::new(),
            fill: Fill::None,
            measure: Measure::Cost,
            stages: Vec::new(),
        };
        Ok(Some(request.load(RenderStatsOf(query)).await?.cost_micros.into()))
    }

    /// What left the wallets, by token, from the ledger. Of a campaign: the transfers of its personas (the newest 100)
    /// that name it in their memo.
    async fn on_chain(&self, context: &Context<'_>) -> Result<Option<Vec<TokenAmount>>> {
        let (wallets, campaign_id) = match self.owner {
            Owner::Persona(id) => (wallets_of(context, Column::PersonaId, id).await?, None),
            Owner::Campaign(id) => {
                let personas = personas_of(context, id).await?;
                let wallets = personas.into_iter().map(|id| wallets_of(context, Column::PersonaId, id));
                (futures_util::future::try_join_all(wallets).await?.concat(), Some(id))
            }
        };
        let query = OutflowQuery { wallets, from: self.from, to: self.to, campaign_id };
        let outflows = RequestContext::of(context)?.load(OutflowOf(query)).await?;
        let amount = |outflow: chimera_stores::ledger::Outflow| TokenAmount {
            amount: outflow.amount.into(),
            token: outflow.token.into(),
        };
        Ok(Some(outflows.into_iter().map(amount).collect()))
    }

    /// What was billed, by currency, from the relational store.
    async fn billed(&self, context: &Context<'_>) -> Result<Option<Vec<Money>>> {
        let parent = match self.owner {
            Owner::Persona(id) => (Column::PersonaId, id),
            Owner::Campaign(id) => (Column::CampaignId, id),
        };
        let key = BillingKey { parent: Some(parent), from: self.from, to: self.to };
        let totals = RequestContext::of(context)?.load(BillingTotalOf(key)).await?;
        Ok(Some(totals.into_iter().map(|total| Money::new(total.amount_minor, total.currency)).collect()))
    }
}

async fn personas_of(context: &Context<'_>, campaign_id: Uuid) -> Result<Vec<Uuid>> {
    let query = PageQuery {
        kind: Kind::Persona,
        edge: Some(Edge::CampaignPersona),
        predicates: Vec::new(),
        order: Order::default(),
        slice: Slice::first(100),
        total: false,
    };
    let page =
        RequestContext::of(context)?.load_shared(PageOf::<entity::persona::Model>::new(query, campaign_id)).await?;
    Ok(page.items.iter().map(|(_, persona)| persona.id).collect())
}
