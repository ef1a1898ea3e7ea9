//! Budgets: what a campaign may spend in all and within periods, and that nothing written in between spends more.

use super::fixtures::*;
use chimera_stores::{
    ErrorKind,
    relational::{BillingKey, Change, Column, Record, Transaction},
};
use chrono::TimeDelta;
use entity::{billing_record, budget, campaign};
use futures_util::future::join_all;

/// A campaign with this budget in EUR, written.
async fn campaign_with(world: &Relations, budget_minor: Option<i64>) -> campaign::Model {
    seed(world).await;
    let campaign = campaign::Model { budget_minor, ..campaign(&world.scope, "Launch") };
    insert(world, &world.scope, [campaign.clone().into_row()]).await;
    campaign
}

/// A charge for the campaign, some days after noon.
fn charge(world: &Relations, campaign: &campaign::Model, amount: i64, day: i64) -> billing_record::Model {
    billing_record::Model {
        campaign_id: Some(campaign.id),
        occurred_at: noon() + TimeDelta::days(day),
        ..billing(&world.scope, amount, "EUR")
    }
}

fn credit(row: billing_record::Model) -> billing_record::Model {
    billing_record::Model { kind: billing_record::Kind::Credit, amount_minor: -row.amount_minor, ..row }
}

async fn spent(world: &Relations, campaign: &campaign::Model) -> (i64, u64) {
    let key = BillingKey { parent: Some((Column::CampaignId, campaign.id)), from: None, to: None };
    let totals = world.handle.billing_totals(&world.scope, &[key]).await.unwrap().remove(0);
    let euros = totals.iter().find(|total| total.currency == "EUR");
    euros.map_or((0, 0), |total| (total.amount_minor, total.records))
}

async fn refused(world: &Relations, row: billing_record::Model) -> String {
    let error = try_insert(world, &world.scope, row).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    error.message().to_owned()
}

pub async fn charges_stay_within_the_budget_of_the_campaign(world: Relations) {
    let launch = campaign_with(&world, Some(100)).await;
    let scope = &world.scope;
    let charge = |amount| charge(&world, &launch, amount, 0);
    try_insert(&world, scope, charge(60)).await.unwrap();
    assert_eq!(refused(&world, charge(41)).await, "the charge exceeds the budget of the campaign");
    try_insert(&world, scope, charge(40)).await.unwrap();
    refused(&world, charge(1)).await;
    // Nothing of a transaction that is refused stays, and several charges count together.
    try_insert(&world, scope, credit(charge(30))).await.unwrap();
    let both = [charge(20), charge(11)].map(|row| Change::Insert(row.into_row())).to_vec();
    let error = commit(&world, scope, both).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(spent(&world, &launch).await, (70, 3));
    try_insert(&world, scope, charge(30)).await.unwrap();
    // Other currencies, other campaigns and none have nothing to do with it, nor has a free charge.
    let dollars = billing_record::Model { currency: "USD".to_owned(), ..charge(1_000) };
    try_insert(&world, scope, dollars).await.unwrap();
    try_insert(&world, scope, billing_record::Model { campaign_id: None, ..charge(1_000) }).await.unwrap();
    try_insert(&world, scope, charge(0)).await.unwrap();
    let open = campaign::Model { budget_minor: None, ..campaign(scope, "Open") };
    insert(&world, scope, [open.clone().into_row()]).await;
    try_insert(&world, scope, billing_record::Model { campaign_id: Some(open.id), ..charge(1_000) }).await.unwrap();
    // A budget that is lowered stays exceeded: credits pass, charges do not.
    let lower = campaign::Model { budget_minor: Some(50), version: 2, ..launch.clone() };
    commit(&world, scope, vec![Change::Update(lower.clone().into_row())]).await.unwrap();
    refused(&world, charge(1)).await;
    try_insert(&world, scope, credit(charge(20))).await.unwrap();
    refused(&world, charge(1)).await;
    let higher = campaign::Model { budget_minor: Some(81), version: 3, ..lower };
    commit(&world, scope, vec![Change::Update(higher.into_row())]).await.unwrap();
    try_insert(&world, scope, charge(1)).await.unwrap();
    assert_eq!(spent(&world, &launch).await.0, 81);
}

pub async fn charges_stay_within_the_budget_of_their_period(world: Relations) {
    let launch = campaign_with(&world, None).await;
    let scope = &world.scope;
    insert(&world, scope, [budget(&launch, 0, 10, 100).into_row(), budget(&launch, 10, 20, 50).into_row()]).await;
    let charge = |amount, day| charge(&world, &launch, amount, day);
    try_insert(&world, scope, charge(100, 0)).await.unwrap();
    assert_eq!(refused(&world, charge(1, 9)).await, "the charge exceeds the campaign's budget for the period");
    // The end is the next period's; outside of all periods nothing binds.
    try_insert(&world, scope, charge(50, 10)).await.unwrap();
    refused(&world, charge(1, 19)).await;
    try_insert(&world, scope, charge(1_000, 20)).await.unwrap();
    try_insert(&world, scope, charge(1_000, -1)).await.unwrap();
    // A charge of a transaction is refused by its own period only.
    let mixed = [charge(1, 30), charge(1, 5)].map(|row| Change::Insert(row.into_row())).to_vec();
    assert_eq!(commit(&world, scope, mixed).await.unwrap_err().kind(), ErrorKind::Conflict);
    try_insert(&world, scope, credit(charge(10, 5))).await.unwrap();
    try_insert(&world, scope, charge(10, 9)).await.unwrap();
    assert_eq!(spent(&world, &launch).await.0, 2_150);
}

pub async fn periods_of_budgets_do_not_overlap(world: Relations) {
    let launch = campaign_with(&world, None).await;
    let scope = &world.scope;
    let first = budget(&launch, 0, 10, 100);
    let third = budget(&launch, 20, 30, 100);
    insert(&world, scope, [first.clone().into_row(), third.clone().into_row()]).await;
    for (from, to) in [(0, 10), (9, 11), (-5, 1), (2, 3), (-5, 40), (15, 21)] {
        let error = try_insert(&world, scope, budget(&launch, from, to, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{from} to {to}: {error:?}");
        assert_eq!(error.message(), "the period of the Budget overlaps with that of another one");
    }
    // Periods that touch, other currencies, other campaigns.
    try_insert(&world, scope, budget(&launch, 10, 20, 1)).await.unwrap();
    try_insert(&world, scope, budget::Model { currency: "USD".to_owned(), ..budget(&launch, 0, 40, 1) }).await.unwrap();
    let other = campaign(scope, "Other");
    insert(&world, scope, [other.clone().into_row(), budget(&other, 0, 40, 1).into_row()]).await;
    // A change may move a period within what is free, and not into another one.
    let shorter = budget::Model { ends_at: third.ends_at - TimeDelta::days(1), version: 2, ..third };
    commit(&world, scope, vec![Change::Update(shorter.into_row())]).await.unwrap();
    let longer = budget::Model { ends_at: first.ends_at + TimeDelta::days(1), version: 2, ..first };
    let error = commit(&world, scope, vec![Change::Update(longer.into_row())]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    // A period has an end after its start, and its campaign takes it along.
    let error = try_insert(&world, scope, budget(&launch, 50, 50, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().starts_with("endsAt"), "{error}");
    commit(&world, scope, vec![Change::Delete(campaign::Model::KIND, other.id)]).await.unwrap();
    assert_eq!(everything::<budget::Model>(&world, scope).await.len(), 4);
}

pub async fn many_writers_do_not_overspend_together(world: Relations) {
    let launch = campaign_with(&world, Some(50)).await;
    let write = async |row: billing_record::Model| {
        let transaction = Transaction { changes: vec![Change::Insert(row.into_row())], ..Transaction::default() };
        world.handle.commit(&world.scope, &transaction).await
    };
    let rows: Vec<_> = (0..8).map(|_| charge(&world, &launch, 10, 0)).collect();
    let results = join_all(rows.into_iter().map(write)).await;
    let written = results.iter().filter(|result| result.is_ok()).count();
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    }
    assert_eq!(written, 5);
    assert_eq!(spent(&world, &launch).await, (50, 5));
}
