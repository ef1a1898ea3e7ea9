//! The rule that a campaign does not spend more than its budget, asked inside of the transaction that writes charges,
//! after it has written them and before it commits.
//!
//! Two budgets bind: that of the whole campaign, and that of the period a charge falls into. Only charges in the
//! budget's currency count; credits give back, and are never refused. A budget that is lowered below what was spent
//! stays so, and lets no further charge through.

use super::{
    STORE,
    dialect::{self, Type},
    fault,
    session::Session,
};
use crate::{
    Result, Scope, StoreError,
    relational::{Change, Kind, Row},
};
use chrono::SubsecRound;
use sea_orm::{
    Condition, ConnectionTrait, DbBackend,
    sea_query::{Expr, ExprTrait, Func, JoinType, Query, SelectStatement, UnionType},
};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Whether the rule has a word in what this change does, so that its transaction must be serialisable.
pub(super) fn concerns(change: &Change) -> bool {
    let kind = match change {
        Change::Insert(row) | Change::Update(row) => row.kind(),
        Change::Delete(kind, _) => *kind,
    };
    kind == Kind::BillingRecord
}

/// Refuses charges that a budget does not cover.
pub(super) async fn check(open: &Session, scope: &Scope, changes: &[Change]) -> Result<()> {
    let charges = Charges::of(changes);
    if charges.campaigns.is_empty() {
        return Ok(());
    }
    let statement = charges.exceeded(open.get_database_backend(), scope.organization_id());
    let Some(row) = open.query_one(&statement).await.map_err(fault::database)? else {
        return Ok(());
    };
    let whole: i32 = row.try_get("", "whole").map_err(fault::database)?;
    let message = match whole {
        1 => "the charge exceeds the budget of the campaign",
        _ => "the charge exceeds the campaign's budget for the period",
    };
    Err(StoreError::conflict(STORE, message))
}

/// What a transaction charges: which campaigns in which currency, and when.
#[derive(Default)]
struct Charges {
    campaigns: BTreeSet<(String, String)>,
    moments: BTreeSet<(String, String, String)>,
}

impl Charges {
    fn of(changes: &[Change]) -> Self {
        let mut charges = Self::default();
        for change in changes {
            let (Change::Insert(Row::BillingRecord(row)) | Change::Update(Row::BillingRecord(row))) = change else {
                continue;
            };
            let Some(campaign) = row.campaign_id.filter(|_| row.amount_minor > 0) else {
                continue;
            };
            let campaign = dialect::id_text(campaign);
            let at = dialect::time_text(row.occurred_at.trunc_subsecs(6));
            charges.campaigns.insert((campaign.clone(), row.currency.clone()));
            charges.moments.insert((campaign, row.currency.clone(), at));
        }
        charges
    }

    /// One row for each budget, of a whole campaign or of a period, that is exceeded by now.
    fn exceeded(&self, backend: DbBackend, organization: Uuid) -> SelectStatement {
        let campaigns = self.campaigns.iter().map(|(campaign, currency)| json!([campaign, currency])).collect();
        let moments = self.moments.iter().map(|(campaign, currency, at)| json!([campaign, currency, at])).collect();
        let mut statement = of_campaigns(backend, organization, campaigns);
        statement.union(UnionType::All, of_periods(backend, organization, moments));
        statement
    }
}

fn of_campaigns(backend: DbBackend, organization: Uuid, campaigns: Vec<Json>) -> SelectStatement {
    let charged = dialect::tuples(backend, &[("campaign", Type::Uuid), ("currency", Type::Text)], campaigns);
    let spent = spent(organization, "c", "id").take();
    Query::select()
        .expr_as(Expr::cust("1"), "whole")
        .from_subquery(charged, "k")
        // SQLite takes a cross join as an order: the charges first.
        .join_as(JoinType::CrossJoin, "campaign", "c", Condition::all())
        .and_where(Expr::col(("c", "organization_id")).eq(organization))
        .and_where(Expr::col(("c", "id")).equals(("k", "campaign")))
        .and_where(Expr::col(("c", "currency")).equals(("k", "currency")))
        .and_where(Expr::col(("c", "budget_minor")).lt(Expr::SubQuery(None, Box::new(spent.into()))))
        .take()
}

fn of_periods(backend: DbBackend, organization: Uuid, moments: Vec<Json>) -> SelectStatement {
    let columns = [("campaign", Type::Uuid), ("currency", Type::Text), ("at", Type::Time)];
    let charged = dialect::tuples(backend, &columns, moments);
    // Many charges fall into one period, which is summed once.
    let periods = Query::select()
        .distinct()
        .columns(["id", "campaign_id", "currency", "starts_at", "ends_at", "amount_minor"].map(|name| ("p", name)))
        .from_subquery(charged, "k")
        .join_as(JoinType::CrossJoin, "budget", "p", Condition::all())
        .and_where(Expr::col(("p", "organization_id")).eq(organization))
        .and_where(Expr::col(("p", "campaign_id")).equals(("k", "campaign")))
        .and_where(Expr::col(("p", "currency")).equals(("k", "currency")))
        .and_where(Expr::col(("p", "starts_at")).lte(Expr::col(("k", "at"))))
        .and_where(Expr::col(("p", "ends_at")).gt(Expr::col(("k", "at"))))
        .take();
    let spent = spent(organization, "b", "campaign_id")
        .and_where(Expr::col(("r", "occurred_at")).gte(Expr::col(("b", "starts_at"))))
        .and_where(Expr::col(("r", "occurred_at")).lt(Expr::col(("b", "ends_at"))))
        .take();
    Query::select()
        .expr_as(Expr::cust("0"), "whole")
        .from_subquery(periods, "b")
        .and_where(Expr::col(("b", "amount_minor")).lt(Expr::SubQuery(None, Box::new(spent.into()))))
        .take()
}

/// The sum of the records of the campaign and currency of the row called `of`.
fn spent(organization: Uuid, of: &'static str, campaign: &'static str) -> SelectStatement {
    Query::select()
        .expr(Func::coalesce([Expr::col(("r", "amount_minor")).sum(), Expr::val(0_i64)]))
        .from_as("billing_record", "r")
        .and_where(Expr::col(("r", "organization_id")).eq(organization))
        .and_where(Expr::col(("r", "campaign_id")).equals((of, campaign)))
        .and_where(Expr::col(("r", "currency")).equals((of, "currency")))
        .take()
}
