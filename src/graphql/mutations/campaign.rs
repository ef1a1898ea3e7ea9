//! Making and changing campaigns, and who takes part in them.

use super::{Outcome, UserError, check_text, commit, current, editor, expect_version, input, now, payload, unit};
use crate::{
    graphql::{
        context::RequestContext,
        scalars::DateTime,
        types::{
            billing::MoneyInput,
            campaign::{Campaign, CampaignStatus},
            service::StoreName,
        },
    },
    write::UnitOfWork,
};
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};
use chimera_stores::{
    Slice,
    relational::{Column, Edge, Kind, Order, PageQuery, Predicate, Value},
};
use chrono::Utc;
use entity::{campaign, campaign_persona, persona};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// The most bytes of a name.
const MAX_NAME: usize = 256;
/// The most bytes of an objective.
const MAX_OBJECTIVE: usize = 4_096;
/// The most personas of one mutation.
const MAX_PERSONAS: usize = 100;
/// The currency of a campaign without a budget; nothing shows it.
const NO_CURRENCY: &str = "USD";

/// A new campaign.
#[derive(Clone, Debug, InputObject)]
pub struct CreateCampaignInput {
    /// Name shown to people: 1 to 256 bytes.
    pub name: String,
    /// What it is to achieve: 1 to 4,096 bytes.
    pub objective: String,
    /// Where it stands.
    #[graphql(default_with = "CampaignStatus::Draft")]
    pub status: CampaignStatus,
    /// When it begins.
    pub starts_at: Option<DateTime>,
    /// When it ends; after the beginning.
    pub ends_at: Option<DateTime>,
    /// What it may cost; not negative.
    pub budget: Option<MoneyInput>,
    /// Who takes part: at most 100; more by `addCampaignPersonas`.
    #[graphql(default)]
    pub persona_ids: Vec<ID>,
    /// The id in the system it comes from, at most 256 bytes; unique in the organisation.
    pub external_id: Option<String>,
}

/// A change of a campaign; what is absent stays as it is.
#[derive(Clone, Debug, InputObject)]
pub struct UpdateCampaignInput {
    /// The campaign.
    pub id: ID,
    /// Change only this version.
    pub expected_version: Option<i64>,
    /// A new name.
    pub name: Option<String>,
    /// A new objective.
    pub objective: Option<String>,
    /// A new status.
    pub status: Option<CampaignStatus>,
    /// A new beginning; null takes it away.
    pub starts_at: MaybeUndefined<DateTime>,
    /// A new end; null takes it away.
    pub ends_at: MaybeUndefined<DateTime>,
    /// A new budget; null takes it away.
    pub budget: MaybeUndefined<MoneyInput>,
}

/// Personas of a campaign.
#[derive(Clone, Debug, InputObject)]
pub struct CampaignPersonasInput {
    /// The campaign.
    pub campaign_id: ID,
    /// The personas: 1 to 100.
    pub persona_ids: Vec<ID>,
}

payload! {
    /// What became of `createCampaign`.
    CreateCampaignPayload {
        /// The new campaign.
        campaign: Campaign
    }
}

payload! {
    /// What became of `updateCampaign`.
    UpdateCampaignPayload {
        /// The campaign as it is now.
        campaign: Campaign
    }
}

payload! {
    /// What became of `addCampaignPersonas`.
    AddCampaignPersonasPayload {
        /// The campaign.
        campaign: Campaign
    }
}

payload! {
    /// What became of `removeCampaignPersonas`.
    RemoveCampaignPersonasPayload {
        /// The campaign.
        campaign: Campaign
    }
}

/// Mutations of campaigns.
#[derive(Default)]
pub struct CampaignMutation;

#[Object]
impl CampaignMutation {
    /// Makes a campaign.
    async fn create_campaign(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The campaign.")] input: CreateCampaignInput,
    ) -> Result<Option<CreateCampaignPayload>> {
        CreateCampaignPayload::of(create(editor(context)?, input).await)
    }

    /// Changes a campaign.
    async fn update_campaign(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdateCampaignInput,
    ) -> Result<Option<UpdateCampaignPayload>> {
        UpdateCampaignPayload::of(update(editor(context)?, input).await)
    }

    /// Lets personas take part in a campaign; those that do already stay.
    async fn add_campaign_personas(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The campaign and the personas.")] input: CampaignPersonasInput,
    ) -> Result<Option<AddCampaignPersonasPayload>> {
        AddCampaignPersonasPayload::of(add(editor(context)?, input).await)
    }

    /// Takes personas out of a campaign; those that take no part are left alone.
    async fn remove_campaign_personas(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The campaign and the personas.")] input: CampaignPersonasInput,
    ) -> Result<Option<RemoveCampaignPersonasPayload>> {
        RemoveCampaignPersonasPayload::of(remove(editor(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreateCampaignInput) -> Outcome<(Campaign, Vec<StoreName>)> {
    let budget = input.budget.map(read_budget).transpose()?;
    let now = now(request);
    let row = campaign::Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        external_id: input::external_id(&["input", "externalId"], input.external_id)?,
        name: input::text(&["input", "name"], input.name, MAX_NAME)?,
        objective: input::text(&["input", "objective"], input.objective, MAX_OBJECTIVE)?,
        status: input.status.into(),
        starts_at: input.starts_at.map(|at| at.0),
        ends_at: input.ends_at.map(|at| at.0),
        budget_minor: budget.as_ref().map(|(amount, _)| *amount),
        currency: budget.map_or_else(|| NO_CURRENCY.to_owned(), |(_, currency)| currency),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    check_dates(&row)?;
    let personas = match input.persona_ids.len() {
        0 => BTreeSet::new(),
        _ => known_personas(request, &input.persona_ids).await?,
    };
    let mut work = unit(request, "createCampaign");
    work.insert(&row);
    for persona_id in personas {
        take_part(&mut work, &row, persona_id, now);
    }
    let pending = commit(request, work).await?;
    Ok((row.into(), pending))
}

async fn update(request: &RequestContext, input: UpdateCampaignInput) -> Outcome<(Campaign, Vec<StoreName>)> {
    let id = input::campaign_id(&input.id, &["input", "id"])?;
    let before: campaign::Model = current(request, id, &["input", "id"], "campaign").await?;
    expect_version(input.expected_version, before.version)?;
    let mut after = before.clone();
    if let Some(name) = input.name {
        check_text(&["input", "name"], &name, MAX_NAME)?;
        after.name = name;
    }
    if let Some(objective) = input.objective {
        check_text(&["input", "objective"], &objective, MAX_OBJECTIVE)?;
        after.objective = objective;
    }
    if let Some(status) = input.status {
        after.status = status.into();
    }
    input::change(&mut after.starts_at, input.starts_at, |at| Ok(at.0))?;
    input::change(&mut after.ends_at, input.ends_at, |at| Ok(at.0))?;
    input::change(&mut after.budget_minor, input.budget, |budget| {
        let (amount, currency) = read_budget(budget)?;
        after.currency = currency;
        Ok(amount)
    })?;
    if after == before {
        return Ok((before.into(), Vec::new()));
    }
    check_dates(&after)?;
    after.version += 1;
    after.updated_at = now(request);
    let mut work = unit(request, "updateCampaign");
    work.update(&before, &after);
    let pending = commit(request, work).await?;
    Ok((after.into(), pending))
}

async fn add(request: &RequestContext, input: CampaignPersonasInput) -> Outcome<(Campaign, Vec<StoreName>)> {
    let (campaign, personas) = known_pair(request, &input).await?;
    let present = taking_part(request, campaign.id, &personas).await?;
    let now = now(request);
    let mut work = unit(request, "addCampaignPersonas");
    for persona_id in personas.into_iter().filter(|id| !present.contains_key(id)) {
        take_part(&mut work, &campaign, persona_id, now);
    }
    let pending = commit(request, work).await?;
    Ok((campaign.into(), pending))
}

async fn remove(request: &RequestContext, input: CampaignPersonasInput) -> Outcome<(Campaign, Vec<StoreName>)> {
    let (campaign, personas) = known_pair(request, &input).await?;
    let mut present: Vec<_> = taking_part(request, campaign.id, &personas).await?.into_values().collect();
    // A fixed order, so that two such mutations at once cannot wait for each other.
    present.sort_unstable_by_key(|row| row.persona_id);
    let mut work = unit(request, "removeCampaignPersonas");
    for row in &present {
        work.delete(row);
    }
    let pending = commit(request, work).await?;
    Ok((campaign.into(), pending))
}

/// The campaign and the personas of the argument.
async fn known_pair(
    request: &RequestContext,
    input: &CampaignPersonasInput,
) -> Outcome<(campaign::Model, BTreeSet<Uuid>)> {
    let id = input::campaign_id(&input.campaign_id, &["input", "campaignId"])?;
    let campaign = current(request, id, &["input", "campaignId"], "campaign").await?;
    Ok((campaign, known_personas(request, &input.persona_ids).await?))
}

/// The personas of the argument, each once.
async fn known_personas(request: &RequestContext, ids: &[ID]) -> Outcome<BTreeSet<Uuid>> {
    input::check_count(&["input", "personaIds"], ids.len(), MAX_PERSONAS)?;
    let mut references = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let field = ["input", "personaIds", &index.to_string()];
        references.push(input::reference(input::persona_id(id, &field)?, &field));
    }
    Ok(input::known::<persona::Model>(request, "persona", &references).await?.into_keys().collect())
}

/// Which of these personas take part, by persona.
async fn taking_part(
    request: &RequestContext,
    campaign_id: Uuid,
    personas: &BTreeSet<Uuid>,
) -> Outcome<HashMap<Uuid, campaign_persona::Model>> {
    let query = PageQuery {
        kind: Kind::CampaignPersona,
        edge: Some(Edge::Column(Column::CampaignId)),
        predicates: vec![Predicate::In(Column::PersonaId, personas.iter().copied().map(Value::Uuid).collect())],
        order: Order::default(),
        slice: Slice::first(u32::try_from(MAX_PERSONAS).unwrap_or(u32::MAX)),
        total: false,
    };
    let pages = request.stores().relational.pages(request.scope(), &query, &[campaign_id]).await?;
    let rows = pages.into_iter().flat_map(|page| page.items);
    Ok(rows.map(|row: campaign_persona::Model| (row.persona_id, row)).collect())
}

fn take_part(work: &mut UnitOfWork, campaign: &campaign::Model, persona_id: Uuid, now: chrono::DateTime<Utc>) {
    work.insert(&campaign_persona::Model {
        id: Uuid::now_v7(),
        organization_id: campaign.organization_id,
        campaign_id: campaign.id,
        persona_id,
        created_at: now,
        updated_at: now,
        version: 1,
    });
}

fn read_budget(budget: MoneyInput) -> Outcome<(i64, String)> {
    let amount = input::quantity(&["input", "budget", "amountMinor"], &budget.amount_minor)?;
    Ok((amount, budget.currency.0))
}

fn check_dates(row: &campaign::Model) -> Outcome<()> {
    match (row.starts_at, row.ends_at) {
        (Some(starts_at), Some(ends_at)) if ends_at <= starts_at => {
            Err(UserError::invalid(&["input", "endsAt"], "this is not after the beginning").into())
        }
        _ => Ok(()),
    }
}
