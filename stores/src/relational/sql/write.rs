//! The one write of the port: rows, audit entries and outbox entries in the transaction at hand. The caller commits it
//! when everything here succeeded and drops it otherwise, so nothing is ever half written.

use super::{
    budget, column,
    dialect::{self, Violation},
    fault, invalid, read,
    session::Session,
    table::{Table, for_kind},
};
use crate::{
    Result, Scope,
    error::{ErrorKind, StoreError},
    relational::{Audit, Change, Committed, Kind, Outgoing, Record, Row, STORE, Transaction},
};
use chrono::{DateTime, SubsecRound, Utc};
use entity::{audit_entry, outbox_entry};
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, IdenStatic, Iterable, ModelTrait, Value,
    sea_query::{Expr, ExprTrait, InsertStatement, Query},
};
use uuid::Uuid;

/// Writes everything and tells what the outbox got.
pub(super) async fn all(
    open: &Session,
    scope: &Scope,
    transaction: &Transaction,
    now: DateTime<Utc>,
) -> Result<Committed> {
    for change in &transaction.changes {
        let kind = match change {
            Change::Insert(row) | Change::Update(row) => row.kind(),
            Change::Delete(kind, _) => *kind,
        };
        if kind == Kind::AuditEntry {
            return Err(invalid("audit entries are written by what they tell about, and never changed"));
        }
        match change {
            Change::Insert(row) => for_kind!(kind, E => insert::<E>(open, scope, row).await)?,
            Change::Update(row) => for_kind!(kind, E => update::<E>(open, scope, row).await)?,
            Change::Delete(_, id) => for_kind!(kind, E => delete::<E>(open, scope, *id).await)?,
        }
    }
    budget::check(open, scope, &transaction.changes).await?;
    for entry in &transaction.audit {
        let row = Row::AuditEntry(audit_row(scope, entry, now));
        write_new::<audit_entry::Entity>(open, scope, &row).await?;
    }
    let mut committed = Committed::default();
    for entry in &transaction.outbox {
        committed.outbox.push((queue(open, scope, entry, now).await?, entry.target));
    }
    Ok(committed)
}

async fn insert<E: Table>(open: &Session, scope: &Scope, row: &Row) -> Result<()> {
    if version::<E>(row) != Some(1) {
        return Err(invalid("a new row has version 1"));
    }
    write_new::<E>(open, scope, row).await
}

async fn write_new<E: Table>(open: &Session, scope: &Scope, row: &Row) -> Result<()> {
    let (columns, values): (Vec<_>, Vec<_>) = values::<E>(row)?.into_iter().unzip();
    let statement = insert_statement(E::default(), columns, values)?;
    match open.execute(&statement).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused::<E>(open, scope, row, error).await),
    }
}

fn insert_statement<E: EntityTrait>(entity: E, columns: Vec<E::Column>, values: Vec<Value>) -> Result<InsertStatement> {
    let internal = |error| StoreError::with_source(STORE, ErrorKind::Internal, "a row could not be written", error);
    let mut insert = Query::insert();
    insert.into_table(entity.table_ref()).columns(columns);
    insert.values(values.into_iter().map(Expr::val)).map_err(internal)?;
    Ok(insert)
}

async fn update<E: Table>(open: &Session, scope: &Scope, row: &Row) -> Result<()> {
    let before = version::<E>(row).and_then(|version| version.checked_sub(1)).unwrap_or_default();
    let mut statement = Query::update();
    statement.table(E::default().table_ref());
    for (column, value) in values::<E>(row)? {
        if column.as_str() != "id" {
            statement.value(column, Expr::val(value));
        }
    }
    statement
        .and_where(Expr::col((E::name(), "id")).eq(row.id()))
        .and_where(Expr::col((E::name(), "version")).eq(before))
        .and_where(E::visible(E::name(), scope.organization_id()));
    match open.execute(&statement).await {
        Ok(done) if done.rows_affected() == 1 => Ok(()),
        Ok(_) => Err(not_updated::<E>(open, scope, row.id()).await),
        Err(error) => Err(refused::<E>(open, scope, row, error).await),
    }
}

/// Tells a row that somebody else has changed from one that is not there.
async fn not_updated<E: Table>(open: &Session, scope: &Scope, id: Uuid) -> StoreError {
    let statement = Query::select()
        .expr(Expr::cust("1"))
        .from(E::default().table_ref())
        .and_where(Expr::col((E::name(), "id")).eq(id))
        .and_where(E::visible(E::name(), scope.organization_id()))
        .take();
    match open.query_one(&statement).await {
        Ok(Some(_)) => conflict(format!("the {} was changed by someone else", E::KIND.name())),
        Ok(None) => missing::<E>(),
        Err(error) => fault::database(error),
    }
}

async fn delete<E: Table>(open: &Session, scope: &Scope, id: Uuid) -> Result<()> {
    let mut exists = E::visible(E::name(), scope.organization_id());
    if E::KIND == Kind::User {
        // A user whose last membership has gone, perhaps earlier in this transaction, belongs to nobody.
        exists = exists.or(Expr::not_exists(
            Query::select()
                .expr(Expr::cust("1"))
                .from("membership")
                .and_where(Expr::col(("membership", "user_id")).equals((E::name(), "id")))
                .take(),
        ));
    }
    let mut statement = Query::delete();
    statement.from_table(E::default().table_ref()).and_where(Expr::col((E::name(), "id")).eq(id)).and_where(exists);
    let strange = E::KIND == Kind::User;
    if strange {
        // Whether they belong to nobody is only seen by who sees every membership.
        open.see_everything(true).await.map_err(fault::database)?;
    }
    let done = open.execute(&statement).await;
    if strange && done.is_ok() {
        open.see_everything(false).await.map_err(fault::database)?;
    }
    match done {
        Ok(done) if done.rows_affected() == 1 => Ok(()),
        Ok(_) => Err(missing::<E>()),
        Err(error) => match violation::<E>(&error) {
            Some(Violation::Reference(_)) => {
                let message = format!("other rows still refer to the {}", E::KIND.name());
                Err(StoreError::with_source(STORE, ErrorKind::Conflict, message, error))
            }
            _ => Err(fault::database(error)),
        },
    }
}

/// Columns and values of a row as they are stored: times in microseconds, which is what every database keeps.
fn values<E: Table>(row: &Row) -> Result<Vec<(E::Column, Value)>> {
    let model = E::Model::from_row(row.clone()).ok_or_else(|| invalid("the row is of another kind"))?;
    E::Column::iter()
        .map(|column| match model.get(column) {
            Value::ChronoDateTimeUtc(Some(time)) if !column::storable(time) => {
                Err(invalid(format!("{} is outside of the years 1 to 9999", column::api_name(column.as_str()))))
            }
            Value::ChronoDateTimeUtc(Some(time)) => Ok((column, time.trunc_subsecs(6).into())),
            value => Ok((column, value)),
        })
        .collect()
}

fn version<E: Table>(row: &Row) -> Option<i64> {
    let column = E::Column::iter().find(|column| column.as_str() == "version")?;
    match E::Model::from_row(row.clone())?.get(column) {
        Value::BigInt(version) => version,
        _ => None,
    }
}

fn audit_row(scope: &Scope, entry: &Audit, now: DateTime<Utc>) -> audit_entry::Model {
    audit_entry::Model {
        // Made while the transaction holds the write lock, so ids order entries as they were committed, also when the
        // clock jumps.
        id: Uuid::now_v7(),
        organization_id: scope.organization_id(),
        actor: scope.principal().label(),
        action: entry.action.to_owned(),
        entity_type: entry.entity_type.to_owned(),
        entity_id: entry.entity_id,
        request_id: entry.request_id.clone(),
        before_hash: entry.before_hash.clone(),
        after_hash: entry.after_hash.clone(),
        created_at: now,
    }
}

/// Puts an entry into the outbox and returns its sequence number.
async fn queue(open: &Session, scope: &Scope, entry: &Outgoing, now: DateTime<Utc>) -> Result<i64> {
    use outbox_entry::Column;
    let values = [
        (Column::OrganizationId, scope.organization_id().into()),
        (Column::Target, entry.target.into()),
        (Column::EntityId, entry.entity_id.into()),
        (Column::EntityVersion, entry.entity_version.into()),
        (Column::Body, entry.body.clone().into()),
        (Column::Attempts, 0_i32.into()),
        (Column::CreatedAt, now.trunc_subsecs(6).into()),
    ];
    let (columns, values) = values.into_iter().unzip();
    let mut statement = insert_statement(outbox_entry::Entity, columns, values)?;
    statement.returning_col(Column::Sequence);
    let sequence = async {
        let row = open.query_one(&statement).await?.ok_or(DbErr::RecordNotInserted)?;
        row.try_get::<i64>("", Column::Sequence.as_str())
    };
    sequence.await.map_err(|error: DbErr| {
        match fault::refusal(&error).and_then(|error| dialect::violation(error, "outbox_entry")) {
            Some(Violation::Reference(_)) => invalid("organizationId refers to an Organization that does not exist"),
            _ => fault::database(error),
        }
    })
}

fn violation<E: Table>(error: &DbErr) -> Option<Violation> {
    fault::refusal(error).and_then(|error| dialect::violation(error, E::name()))
}

/// Why the database refused a row, in words for the caller.
async fn refused<E: Table>(open: &Session, scope: &Scope, row: &Row, error: DbErr) -> StoreError {
    let kind = E::KIND.name();
    let names =
        |columns: &[String]| columns.iter().map(|name| column::api_name(name)).collect::<Vec<_>>().join(" and ");
    let (kind, message) = match violation::<E>(&error) {
        Some(Violation::Unique(columns)) => {
            (ErrorKind::Conflict, format!("another {kind} has the same {}", names(&columns)))
        }
        Some(Violation::Overlap) => {
            (ErrorKind::Conflict, format!("the period of the {kind} overlaps with that of another one"))
        }
        Some(Violation::Check(column)) => {
            (ErrorKind::Invalid, format!("{} of the {kind} has a value that is not allowed", column::api_name(&column)))
        }
        Some(Violation::Reference(column)) => {
            let column = match column {
                Some(column) => Some(column),
                None => broken_reference::<E>(open, scope, row).await.unwrap_or_default(),
            };
            let what = column.map_or_else(|| "something".to_owned(), |column| column::api_name(&column));
            (ErrorKind::Invalid, format!("{what} of the {kind} refers to a row that does not exist"))
        }
        None => return fault::database(error),
    };
    StoreError::with_source(STORE, kind, message, error)
}

/// The column whose reference leads nowhere, looked for inside of the transaction that the row would be part of.
async fn broken_reference<E: Table>(open: &Session, scope: &Scope, row: &Row) -> Result<Option<String>, DbErr> {
    let Ok(values) = values::<E>(row) else {
        return Ok(None);
    };
    for (column, table) in dialect::references(open, E::name()).await? {
        let value = values.iter().find(|(own, _)| own.as_str() == column).map(|(_, value)| value.clone());
        if let Some(value @ Value::Uuid(Some(_))) = value
            && open.query_one(&read::exists_statement(&table, scope.organization_id(), value)).await?.is_none()
        {
            return Ok(Some(column));
        }
    }
    Ok(None)
}

fn missing<E: Table>() -> StoreError {
    StoreError::new(STORE, ErrorKind::NotFound, format!("the {} does not exist", E::KIND.name()))
}

fn conflict(message: String) -> StoreError {
    StoreError::new(STORE, ErrorKind::Conflict, message)
}
