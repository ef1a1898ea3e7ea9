//! `SpendReport`: what was billed, told apart by whatever is asked for.

use super::{
    billing::{BillingKind, Money},
    campaign::Campaign,
    persona::Persona,
    telemetry::TimeRange,
};
use crate::graphql::{
    context::RequestContext, error::bad_input, keys::relational::SpendReportOf, resolve::One, scalars::DateTime,
};
use async_graphql::{ComplexObject, Context, Enum, Result, SimpleObject};
use chimera_stores::relational::{self, Column, MAX_SPEND_ROWS, SpendQuery};
use uuid::Uuid;

/// What the rows of a spend report are told apart by, besides the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "relational::SpendGroup")]
pub enum SpendGroup {
    /// The campaign; what was billed for none is a group of its own.
    Campaign,
    /// The persona; what was billed for none is a group of its own.
    Persona,
    /// What it was for.
    Kind,
    /// The day it was incurred on, in UTC.
    Day,
    /// The month it was incurred in, in UTC. Not together with DAY.
    Month,
}

/// What one group was billed. What was not asked to be told apart is null.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct SpendRow {
    #[graphql(skip)]
    campaign_id: Option<Uuid>,
    #[graphql(skip)]
    persona_id: Option<Uuid>,
    /// What it was for.
    pub kind: Option<BillingKind>,
    /// When the day or month begins, in UTC.
    pub start: Option<DateTime>,
    /// The exact sum; credits count against it.
    pub amount: Money,
    /// How many billing records it sums.
    pub records: u64,
}

impl From<relational::SpendRow> for SpendRow {
    fn from(row: relational::SpendRow) -> Self {
        Self {
            campaign_id: row.campaign_id,
            persona_id: row.persona_id,
            kind: row.kind.map(BillingKind::from),
            start: row.start.map(DateTime::from),
            amount: Money::new(row.amount_minor, row.currency),
            records: row.records,
        }
    }
}

#[ComplexObject]
impl SpendRow {
    /// The campaign; also null for what was billed for none.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
        Campaign::load(context, self.campaign_id).await
    }

    /// The persona; also null for what was billed for none.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        Persona::load(context, self.persona_id).await
    }
}

/// What was billed, by group. Amounts of different currencies are never added.
#[derive(Clone, Debug, SimpleObject)]
pub struct SpendReport {
    /// Earliest first, then by currency, then the largest amount first.
    pub rows: Vec<SpendRow>,
    /// Whether there are more groups than `first`. The report then lacks them: ask for more, for a shorter range, or for
    /// less to be told apart.
    pub has_more: bool,
}

/// The report of an organisation (no parent), a campaign or a persona.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn spend_report(
    context: &Context<'_>,
    parent: Option<(Column, Uuid)>,
    range: Option<TimeRange>,
    group_by: Vec<SpendGroup>,
    first: i32,
) -> Result<Option<SpendReport>> {
    let limit = u32::try_from(first).ok().filter(|first| (1..=MAX_SPEND_ROWS).contains(first));
    let mut group_by: Vec<relational::SpendGroup> = group_by.into_iter().map(Into::into).collect();
    // Two spellings of one question share an answer.
    group_by.sort_unstable();
    group_by.dedup();
    let query = SpendQuery {
        parent,
        from: range.map(|range| range.from.0),
        to: range.map(|range| range.to.0),
        group_by,
        limit: limit
            .ok_or_else(|| bad_input(format!("`first` is {first}; a report has 1 to {MAX_SPEND_ROWS} rows")))?,
    };
    // Checked here so that one bad question does not fail the batch of others.
    query.check().map_err(|error| bad_input(error.message()))?;
    let relational::SpendReport { rows, has_more } = RequestContext::of(context)?.load(SpendReportOf(query)).await?;
    Ok(Some(SpendReport { rows: rows.into_iter().map(SpendRow::from).collect(), has_more }))
}
