//! Fills an empty search index from the relational store, which owns every fact in it.
//!
//! Documents carry the versions of their rows, so the rebuild may run beside new writes: the newer version wins,
//! whichever comes first.

use crate::{stores::Stores, write::Searchable};
use chimera_stores::{
    Position, Result, Scope, Slice, SortValue,
    relational::{Order, PageQuery, Record},
    search::Change,
};
use uuid::Uuid;

/// Rows of one step.
const STEP: u32 = 500;

/// Indexes every row of every organisation; how many documents were written.
///
/// # Errors
/// What a store says; a repeat starts again and changes nothing that is there.
pub async fn rebuild_search(stores: &Stores) -> Result<u64> {
    let mut written = 0;
    for organization_id in stores.relational.organizations().await? {
        let scope = Scope::system(organization_id);
        written += index::<entity::persona::Model>(stores, &scope).await?;
        written += index::<entity::campaign::Model>(stores, &scope).await?;
        written += index::<entity::post::Model>(stores, &scope).await?;
        written += index::<entity::video::Model>(stores, &scope).await?;
    }
    Ok(written)
}

async fn index<R: Record + Searchable>(stores: &Stores, scope: &Scope) -> Result<u64> {
    let order = Order { descending: false, ..Order::default() };
    let mut query =
        PageQuery { kind: R::KIND, edge: None, predicates: Vec::new(), order, slice: Slice::first(STEP), total: false };
    let mut written = 0;
    loop {
        let pages = stores.relational.pages::<R>(scope, &query, &[Uuid::nil()]).await?;
        let Some(page) = pages.into_iter().next() else { return Ok(written) };
        let changes: Vec<Change> = page.items.iter().flat_map(Searchable::search_changes).collect();
        // A change that is superseded was indexed by a newer write meanwhile.
        stores.search()?.apply(scope, &changes).await?;
        written += changes.len() as u64;
        let last = page.items.last().map(Record::id);
        match last.filter(|_| page.has_next) {
            Some(id) => query.slice.after = Some(Position { value: SortValue::Text(id.to_string()), id }),
            None => return Ok(written),
        }
    }
}
