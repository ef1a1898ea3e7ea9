//! Many writers of one budget: they never spend more than it holds, and no charge that was acknowledged is lost.

use crate::support::{campaign, charge, insert, open, organization, postgres, scope, write};
use chimera_stores::{
    ErrorKind,
    relational::{BillingKey, Column, Kind, Record, RelationalAdapter},
};
use futures_util::future::join_all;
use std::collections::HashSet;

const WRITERS: usize = 32;
const CHARGES: usize = 8;
/// Enough for half of what the writers want.
const BUDGET: i64 = 1_280;

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_neither_overspend_a_budget_nor_lose_a_row() {
    let Some(server) = postgres() else { return };
    let url = server.owned("billing");
    // Two processes' worth of pools.
    let stores = [open(&url).await.unwrap(), open(&url).await.unwrap()];
    let own = scope(1);
    let launch = campaign(&own, BUDGET);
    write(&stores[0], &own, vec![organization(&own, "own"), launch.clone().into_row()]).await;
    let writers = (0..WRITERS).map(|writer| {
        let (store, own, launch) = (stores[writer % 2].clone(), own.clone(), launch.clone());
        tokio::spawn(async move {
            let mut written = Vec::new();
            let mut refused = 0;
            let mut wanted = CHARGES;
            while wanted > 0 {
                let row = charge(&launch, 10);
                match store.commit(&own, &insert(vec![row.clone().into_row()])).await {
                    Ok(_) => written.push(row.id),
                    Err(error) if error.kind() == ErrorKind::Conflict => refused += 1,
                    // A caller that is told that too much is going on comes again.
                    Err(error) if error.kind() == ErrorKind::Overloaded => continue,
                    Err(error) => panic!("{error:?}"),
                }
                wanted -= 1;
            }
            (written, refused)
        })
    });
    let results: Vec<_> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
    let written: Vec<_> = results.iter().flat_map(|(written, _)| written.iter().copied()).collect();
    let refused: usize = results.iter().map(|(_, refused)| refused).sum();
    assert_eq!(written.len() as i64 * 10, BUDGET, "the budget is spent to the last");
    assert_eq!(written.len() + refused, WRITERS * CHARGES);
    let key = BillingKey { parent: Some((Column::CampaignId, launch.id)), from: None, to: None };
    let totals = stores[1].billing_totals(&own, &[key]).await.unwrap().remove(0);
    assert_eq!((totals[0].amount_minor, totals[0].records), (BUDGET, written.len() as u64));
    let found = stores[0].get(&own, Kind::BillingRecord, &written).await.unwrap();
    assert!(found.iter().all(Option::is_some), "a charge that was acknowledged is there");
    assert_eq!(written.iter().collect::<HashSet<_>>().len(), written.len());
    // One audit entry for each, and none for those that were refused.
    let audited =
        server.sql("billing", "SELECT count(*) FROM audit_entry WHERE entity_id IN (SELECT id FROM billing_record)");
    assert_eq!(audited.trim(), written.len().to_string());
    let all = server.sql("billing", "SELECT count(*) FROM audit_entry");
    assert_eq!(all.trim(), (written.len() + 2).to_string());
}
