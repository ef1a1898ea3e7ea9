//! Recording what was charged or paid. Records are never changed: a mistake is mended by another record.

use super::{Outcome, UserError, admin, commit, input, now, payload, unit};
use crate::graphql::{
    context::RequestContext,
    scalars::DateTime,
    types::{
        billing::{BillingKind, BillingRecord, MoneyInput},
        service::StoreName,
    },
};
use async_graphql::{Context, ID, InputObject, Object, Result};
use entity::billing_record::{Kind, Model};
use uuid::Uuid;

/// An amount charged or paid.
#[derive(Clone, Debug, InputObject)]
pub struct CreateBillingRecordInput {
    /// For what.
    pub kind: BillingKind,
    /// How much: negative for a CREDIT, not negative for anything else.
    pub amount: MoneyInput,
    /// Words for people: 1 to 1,024 bytes.
    pub description: Option<String>,
    /// When it was incurred; now when absent.
    pub occurred_at: Option<DateTime>,
    /// For which campaign.
    pub campaign_id: Option<ID>,
    /// For which persona.
    pub persona_id: Option<ID>,
    /// The id in the system it comes from, at most 256 bytes; unique in the organisation.
    pub external_id: Option<String>,
}

payload! {
    /// What became of `createBillingRecord`.
    CreateBillingRecordPayload {
        /// The new record.
        billing_record: BillingRecord
    }
}

/// Mutations of billing.
#[derive(Default)]
pub struct BillingMutation;

#[Object]
impl BillingMutation {
    /// Records an amount charged or paid. A charge that would spend more than the campaign's budget, in the budget's
    /// currency, is refused as a CONFLICT. Needs the role ADMIN.
    async fn create_billing_record(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The record.")] input: CreateBillingRecordInput,
    ) -> Result<Option<CreateBillingRecordPayload>> {
        CreateBillingRecordPayload::of(create(admin(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreateBillingRecordInput) -> Outcome<(BillingRecord, Vec<StoreName>)> {
    let now = now(request);
    let (campaign, persona) = (&["input", "campaignId"], &["input", "personaId"]);
    let kind = Kind::from(input.kind);
    let row = Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        external_id: input::external_id(&["input", "externalId"], input.external_id)?,
        campaign_id: input.campaign_id.map(|id| input::campaign_id(&id, campaign)).transpose()?,
        persona_id: input.persona_id.map(|id| input::persona_id(&id, persona)).transpose()?,
        kind,
        amount_minor: amount(kind, input::integer(&["input", "amount", "amountMinor"], &input.amount.amount_minor)?)?,
        currency: input.amount.currency.0,
        description: input::optional(&["input", "description"], input.description, 1_024)?,
        occurred_at: input.occurred_at.map_or(now, |at| at.0),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let campaign = input::new_reference(None, row.campaign_id, campaign);
    let persona = input::new_reference(None, row.persona_id, persona);
    tokio::try_join!(
        input::known::<entity::campaign::Model>(request, "campaign", campaign.as_slice()),
        input::known::<entity::persona::Model>(request, "persona", persona.as_slice()),
    )?;
    let mut work = unit(request, "createBillingRecord");
    work.insert(&row);
    let pending = commit(request, work).await?;
    Ok((row.into(), pending))
}

/// Refuses an amount of the wrong sign.
fn amount(kind: Kind, amount: i64) -> Outcome<i64> {
    let message = match kind {
        Kind::Credit if amount >= 0 => "the amount of a CREDIT is negative",
        Kind::Render | Kind::Storage | Kind::Api | Kind::Promotion | Kind::Platform if amount < 0 => {
            "only the amount of a CREDIT is negative"
        }
        _ => return Ok(amount),
    };
    Err(UserError::invalid(&["input", "amount", "amountMinor"], message).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_credits_are_negative() {
        for (kind, value, good) in [
            (Kind::Credit, -1, true),
            (Kind::Credit, 0, false),
            (Kind::Credit, 1, false),
            (Kind::Api, 0, true),
            (Kind::Api, 1, true),
            (Kind::Api, -1, false),
        ] {
            assert_eq!(amount(kind, value).is_ok(), good, "{kind:?} {value}");
        }
    }
}
