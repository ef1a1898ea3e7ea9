//! The relay's side of the outbox: what is due, how each try ended, how much is left. It knows no organisations.
//!
//! # Order
//!
//! On SQLite writers queue, so sequence numbers ascend in the order of the commits. On PostgreSQL a number is drawn
//! before the commit: entry 11 may be there while the transaction that drew 10 is still open. Nothing is lost by that,
//! because what is due is not what lies after the last number seen but everything that is there: 10 is carried when it
//! has appeared, however many were carried before it.
//!
//! Nor does an entity's order suffer. A transaction changes its rows first and draws its numbers last, and a row's next
//! version is only written over the version before, which must have been committed: who draws the numbers of version 3
//! does so after the commit of version 2. So the entries of a row ascend in the order of its versions. Entries without a row of this store (memories, topics) may come
//! in either order; they carry a version that the target compares, and the older one is superseded whenever it comes.

use super::{
    dialect::{self, Type},
    fault,
    session::Session,
};
use crate::{Result, relational::Settlement};
use chrono::{DateTime, SubsecRound, Utc};
use entity::outbox_entry::{Column, Entity, Model, Target};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Iterable, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait, Query},
};

/// Entries that are due, oldest first, without those that must wait for an older one of the same entity.
pub(super) async fn due(reader: &Session, target: Target, limit: u32, now: DateTime<Utc>) -> Result<Vec<Model>> {
    let older_waits = Query::select()
        .expr(Expr::cust("1"))
        .from_as("outbox_entry", "older")
        .and_where(Expr::col(("older", Column::Target)).eq(Expr::val(target)))
        .and_where(Expr::col(("older", Column::EntityId)).equals(("outbox_entry", Column::EntityId)))
        .and_where(Expr::col(("older", Column::Sequence)).lt(Expr::col(("outbox_entry", Column::Sequence))))
        .and_where(Expr::col(("older", Column::NotBefore)).gt(now))
        .take();
    let due = Entity::find()
        .filter(Column::Target.eq(target))
        .filter(Condition::any().add(Column::NotBefore.is_null()).add(Column::NotBefore.lte(now)))
        .filter(Expr::not_exists(older_waits))
        .order_by_asc(Column::Sequence)
        .limit(u64::from(limit));
    let statement = dialect::limited(reader.get_database_backend(), &QueryTrait::into_query(due));
    Entity::find().from_raw_sql(statement).all(reader).await.map_err(fault::database)
}

/// Removes what was applied and puts off what was not. An entry that has gone already stays gone.
pub(super) async fn settle(open: &Session, settlements: &[(i64, Settlement)]) -> Result<()> {
    let done = settlements.iter().filter(|(_, settlement)| *settlement == Settlement::Done);
    let done: Vec<_> = done.map(|(sequence, _)| (*sequence).into()).collect();
    if !done.is_empty() {
        let list = dialect::list(open.get_database_backend(), Type::Int, done);
        let delete = Entity::delete_many().filter(Expr::col(Column::Sequence).in_subquery(list));
        delete.exec(open).await.map_err(fault::database)?;
    }
    for (sequence, settlement) in settlements {
        let Settlement::Retry { not_before, error } = settlement else {
            continue;
        };
        Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .col_expr(Column::NotBefore, Expr::val(not_before.trunc_subsecs(6)))
            .col_expr(Column::LastError, Expr::val(error.as_str()))
            .filter(Column::Sequence.eq(*sequence))
            .exec(open)
            .await
            .map_err(fault::database)?;
    }
    Ok(())
}

/// Which of these entries are still there, ascending.
pub(super) async fn left(reader: &Session, sequences: &[i64]) -> Result<Vec<i64>> {
    let list = sequences.iter().map(|sequence| (*sequence).into()).collect();
    let list = dialect::list(reader.get_database_backend(), Type::Int, list);
    Entity::find()
        .select_only()
        .column(Column::Sequence)
        .filter(Expr::col(Column::Sequence).in_subquery(list))
        .order_by_asc(Column::Sequence)
        .into_tuple()
        .all(reader)
        .await
        .map_err(fault::database)
}

/// Entries left for each target, also for those that have none.
pub(super) async fn depth(reader: &Session) -> Result<Vec<(Target, u64)>> {
    let counted: Vec<(Target, i64)> = Entity::find()
        .select_only()
        .column(Column::Target)
        .column_as(Column::Sequence.count(), "entries")
        .group_by(Column::Target)
        .into_tuple()
        .all(reader)
        .await
        .map_err(fault::database)?;
    let of = |target| counted.iter().find(|(other, _)| *other == target).map_or(0, |(_, entries)| *entries);
    Ok(Target::iter().map(|target| (target, u64::try_from(of(target)).unwrap_or_default())).collect())
}
