//! `RenderRanking`: who or what has most of something.

use super::{
    campaign::Campaign,
    persona::Persona,
    render_stats::{RenderAggregate, RenderMeasure, RenderResolution, TimeSpan},
    telemetry::{RenderStage, TimeRange, stages},
};
use crate::graphql::{
    context::RequestContext, error::bad_input, keys::telemetry::RenderRankingOf, page::MAX_PAGE_SIZE, resolve::One,
    scalars::DateTime,
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::telemetry::{self, RankKey, RankingQuery, Subject, check_ranking};

/// What is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "telemetry::RankBy")]
pub enum RenderRankBy {
    /// Personas.
    Persona,
    /// Campaigns; steps for none take no part.
    Campaign,
    /// Stages.
    Stage,
}

/// By what it is ranked: greatest first, ties by id or in the order of stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "telemetry::RankOrder")]
pub enum RenderRankOrder {
    /// By the number of steps.
    Count,
    /// By the number of steps that failed.
    Failed,
    /// By the sum of the measure.
    Sum,
    /// By its mean.
    Avg,
    /// By its greatest value.
    Max,
    /// By its 95th percentile.
    P95,
}

/// A question about who or what has most of something.
#[derive(Clone, Debug, InputObject)]
#[graphql(name = "RenderRankingInput")]
pub struct RenderRankingArgs {
    /// When.
    pub range: TimeRange,
    /// What is ranked.
    pub by: RenderRankBy,
    /// What is measured.
    #[graphql(default_with = "RenderMeasure::Duration")]
    pub measure: RenderMeasure,
    /// By what it is ranked.
    #[graphql(default_with = "RenderRankOrder::Sum")]
    pub order_by: RenderRankOrder,
    /// Only these stages.
    pub stage: Option<Vec<RenderStage>>,
}

/// One place of a ranking.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct RenderRank {
    #[graphql(skip)]
    key: RankKey,
    /// What its steps add up to.
    pub aggregate: RenderAggregate,
}

#[ComplexObject]
impl RenderRank {
    /// The persona, where personas are ranked; null also when it is gone.
    async fn persona(&self, context: &Context<'_>) -> Result<Option<One<Persona>>> {
        let RankKey::Persona(id) = self.key else { return Ok(None) };
        Persona::load(context, Some(id)).await
    }

    /// The campaign, where campaigns are ranked; null also when it is gone.
    async fn campaign(&self, context: &Context<'_>) -> Result<Option<One<Campaign>>> {
        let RankKey::Campaign(id) = self.key else { return Ok(None) };
        Campaign::load(context, Some(id)).await
    }

    /// The stage, where stages are ranked.
    async fn stage(&self) -> Option<RenderStage> {
        match self.key {
            RankKey::Stage(stage) => Some(stage.into()),
            RankKey::Persona(_) | RankKey::Campaign(_) => None,
        }
    }
}

/// Who or what has most of something.
#[derive(Clone, Debug, SimpleObject)]
pub struct RenderRanking {
    /// Greatest first.
    pub nodes: Vec<RenderRank>,
    /// What the answer was made from.
    pub resolution: RenderResolution,
    /// All steps of the range before this that were recorded before the question are counted.
    pub fresh_to: DateTime,
    /// The part of the range that could be answered; null when nothing of it is kept.
    pub available_range: Option<TimeSpan>,
    /// The bound on the relative error of percentiles; 0 is exact.
    pub percentile_error: f64,
}

/// The ranking of what a subject's events are about.
///
/// # Errors
/// A bad argument, or what the store says.
pub async fn ranking(
    context: &Context<'_>,
    subject: Subject,
    args: RenderRankingArgs,
    first: i32,
) -> Result<Option<RenderRanking>> {
    let limit = u32::try_from(first).ok().filter(|first| (1..=MAX_PAGE_SIZE).contains(first));
    let limit = limit.ok_or_else(|| bad_input(format!("`first` lies between 1 and {MAX_PAGE_SIZE}")))?;
    let query = RankingQuery {
        subject,
        range: args.range.into(),
        by: args.by.into(),
        measure: args.measure.into(),
        order: args.order_by.into(),
        stages: stages(args.stage),
        limit,
    };
    // Checked here so that one bad question does not fail the batch of others.
    check_ranking(&query).map_err(|error| bad_input(error.message()))?;
    let range = query.range;
    let ranking = RequestContext::of(context)?.load(RenderRankingOf(query)).await?;
    let node = |(key, aggregate): (RankKey, telemetry::Aggregate)| RenderRank { key, aggregate: aggregate.into() };
    Ok(Some(RenderRanking {
        nodes: ranking.entries.into_iter().map(node).collect(),
        resolution: ranking.resolution.into(),
        fresh_to: ranking.fresh_to.into(),
        available_range: TimeSpan::available(&range, ranking.available_from),
        percentile_error: ranking.percentile_error,
    }))
}
