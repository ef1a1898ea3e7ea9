//! The question and the answer of a spend report: billing records summed by whatever they are told apart by.
//!
//! Amounts are exact integers of minor units, and a row never mixes currencies: there is no rate here.

use super::{Column, STORE};
use crate::{Result, error::StoreError};
use chrono::{DateTime, Utc};
use entity::billing_record::Kind;
use uuid::Uuid;

/// Rows of one report at the most: what a table or a chart can show, and a bound on the memory of a request.
pub const MAX_SPEND_ROWS: u32 = 1000;

/// What the rows of a report are told apart by, besides the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpendGroup {
    /// The campaign; records of no campaign are a group of their own.
    Campaign,
    /// The persona; records of no persona are a group of their own.
    Persona,
    /// What it was for.
    Kind,
    /// The day it was incurred on, in UTC.
    Day,
    /// The month it was incurred in, in UTC. Not together with [`SpendGroup::Day`].
    Month,
}

/// Which billing records are reported, and how they are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpendQuery {
    /// `None` reports the whole organisation; otherwise `CampaignId` or `PersonaId` and its id.
    pub parent: Option<(Column, Uuid)>,
    /// `from <= occurred_at`.
    pub from: Option<DateTime<Utc>>,
    /// `occurred_at < to`.
    pub to: Option<DateTime<Utc>>,
    /// What rows are told apart by; one row a currency when empty. Neither order nor repeats matter.
    pub group_by: Vec<SpendGroup>,
    /// Rows at the most: 1 to [`MAX_SPEND_ROWS`].
    pub limit: u32,
}

impl SpendQuery {
    /// Whether the rows are told apart by `group`.
    pub fn groups_by(&self, group: SpendGroup) -> bool {
        self.group_by.contains(&group)
    }

    /// Refuses a question that makes no sense.
    ///
    /// # Errors
    /// `Invalid`, in words for the caller.
    pub fn check(&self) -> Result<()> {
        let invalid = |message: &str| Err(StoreError::invalid(STORE, message));
        if self.groups_by(SpendGroup::Day) && self.groups_by(SpendGroup::Month) {
            return invalid("spend is grouped by day or by month, not by both");
        }
        if matches!((self.from, self.to), (Some(from), Some(to)) if from >= to) {
            return invalid("the range ends before it begins");
        }
        if !(1..=MAX_SPEND_ROWS).contains(&self.limit) {
            let message = format!("a report has 1 to {MAX_SPEND_ROWS} rows, not {}", self.limit);
            return Err(StoreError::invalid(STORE, message));
        }
        match self.parent {
            None | Some((Column::CampaignId | Column::PersonaId, _)) => Ok(()),
            Some(_) => invalid("spend is reported for the organisation, a campaign or a persona"),
        }
    }
}

/// One group of a report. What the question does not group by is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// The campaign; also `None` for records of no campaign.
    pub campaign_id: Option<Uuid>,
    /// The persona; also `None` for records of no persona.
    pub persona_id: Option<Uuid>,
    /// What it was for.
    pub kind: Option<Kind>,
    /// The beginning of the day or month, in UTC.
    pub start: Option<DateTime<Utc>>,
    /// ISO 4217.
    pub currency: String,
    /// In minor units; credits count against it.
    pub amount_minor: i64,
    /// How many records.
    pub records: u64,
}

/// The groups of one question: earliest first, then by currency, then the largest amount first, then by kind, campaign
/// and persona with the absent ones last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendReport {
    /// At most as many as were asked for.
    pub rows: Vec<SpendRow>,
    /// Whether there are more groups than that.
    pub has_more: bool,
}
