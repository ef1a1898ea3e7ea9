//! Reads: rows by key, pages per parent, sums of billing records. Each is one statement, whatever the batch.

use super::{
    column::{self, Typed},
    dialect::{self, KEY, ORDINAL, Type},
    fault, invalid,
    session::Session,
    table::Table,
};
use crate::{
    Result, Scope,
    page::{Page, Slice},
    relational::{BillingKey, BillingTotal, Column, Edge, Kind, PageQuery, Row},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    Condition, ConnectionTrait, DbBackend, DbErr, QueryResult, Value,
    sea_query::{Expr, ExprTrait, Func, JoinType, Order, Query, SelectStatement, UnionType},
};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// The batch's keys, the rows they lead to, and the rows a page is cut from.
const KEYS: &str = "k";
const ROWS: &str = "t";
const MEMBERS: &str = "c";

/// Rows by id.
pub(super) async fn get<E: Table>(reader: &Session, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Row>>> {
    let keys = ids.iter().map(|id| dialect::id_text(*id).into()).collect();
    by_key::<E>(reader, scope, &Typed::new(Column::Id)?, keys).await
}

/// Rows by a unique column.
pub(super) async fn find<E: Table>(
    reader: &Session,
    scope: &Scope,
    column: Column,
    values: &[String],
) -> Result<Vec<Option<Row>>> {
    let typed = Typed::<E>::new(column)?;
    if !is_unique(E::KIND, column) {
        let name = column::api_name(column::name(column));
        return Err(invalid(format!("{name} is not unique among the rows of type {}", E::KIND.name())));
    }
    by_key(reader, scope, &typed, values.iter().map(|value| value.as_str().into()).collect()).await
}

/// Wallets are unique by chain and address; an address alone finds the oldest wallet that has it.
fn is_unique(kind: Kind, column: Column) -> bool {
    matches!(
        (kind, column),
        (Kind::Organization | Kind::Persona, Column::Handle)
            | (Kind::User, Column::Email)
            | (Kind::Wallet, Column::Address)
            | (Kind::Persona | Kind::Campaign | Kind::Post | Kind::Video | Kind::BillingRecord, Column::ExternalId)
    )
}

async fn by_key<E: Table>(
    reader: &Session,
    scope: &Scope,
    column: &Typed<E>,
    keys: Vec<Json>,
) -> Result<Vec<Option<Row>>> {
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let backend = reader.get_database_backend();
    let statement = by_key_statement(backend, scope.organization_id(), column, keys);
    for result in reader.query_all(&statement).await.map_err(fault::database)? {
        let (ordinal, row) = read_row::<E>(&result).map_err(fault::database)?;
        if let Some(slot) = found.get_mut(ordinal)
            && slot.as_ref().is_none_or(|other: &Row| row.id() < other.id())
        {
            *slot = Some(row);
        }
    }
    Ok(found)
}

/// Each key's place in the batch with the row it leads to, if the organisation has it.
pub(super) fn by_key_statement<E: Table>(
    backend: DbBackend,
    organization: Uuid,
    column: &Typed<E>,
    keys: Vec<Json>,
) -> SelectStatement {
    Query::select()
        .column((KEYS, ORDINAL))
        .columns(E::columns(ROWS))
        .from_subquery(dialect::keys(backend, column.of, keys), KEYS)
        // SQLite takes a cross join as an order: keys first. Left alone it may walk all rows of the organisation.
        .join_as(JoinType::CrossJoin, E::name(), ROWS, Condition::all())
        .and_where(Expr::col((ROWS, column.column)).equals((KEYS, KEY)))
        .and_where(E::visible(ROWS, organization))
        .take()
}

fn ordinal(result: &QueryResult) -> Result<usize, DbErr> {
    usize::try_from(result.try_get::<i64>("", ORDINAL)?).map_err(|error| DbErr::Type(error.to_string()))
}

/// Both kinds of statement select the ordinal first, then the row.
fn read_row<E: Table>(result: &QueryResult) -> Result<(usize, Row), DbErr> {
    let place: i64 = result.try_get_by_index(0)?;
    let place = usize::try_from(place).map_err(|error| DbErr::Type(error.to_string()))?;
    Ok((place, E::row(result, 1)?))
}

/// One page per parent.
pub(super) async fn pages<E: Table>(
    reader: &Session,
    scope: &Scope,
    query: &PageQuery,
    parents: &[Uuid],
) -> Result<Vec<Page<Row>>> {
    let backend = reader.get_database_backend();
    let statement = pages_statement::<E>(backend, scope.organization_id(), query, parents)?;
    let mut rows = vec![Vec::new(); parents.len()];
    if parents.is_empty() {
        return Ok(Vec::new());
    }
    for result in reader.query_all_raw(dialect::limited(backend, &statement)).await.map_err(fault::database)? {
        let (ordinal, row) = read_row::<E>(&result).map_err(fault::database)?;
        if let Some(page) = rows.get_mut(ordinal) {
            page.push(row);
        }
    }
    let mut pages: Vec<_> = rows.into_iter().map(|rows| cut(&query.slice, rows)).collect();
    if query.total {
        let statement = totals_statement::<E>(backend, scope.organization_id(), query, parents)?;
        for result in reader.query_all(&statement).await.map_err(fault::database)? {
            let total = result.try_get::<i64>("", "total").map_err(fault::database)?;
            if let Some(page) = pages.get_mut(ordinal(&result).map_err(fault::database)?) {
                page.total = u64::try_from(total).ok();
            }
        }
    }
    Ok(pages)
}

/// `rows` hold one more than the limit when the list goes on.
fn cut(slice: &Slice, mut rows: Vec<Row>) -> Page<Row> {
    let limit = slice.limit as usize;
    let goes_on = rows.len() > limit;
    let (before, after) = (slice.after.is_some(), slice.before.is_some());
    if slice.backward {
        rows.drain(..rows.len().saturating_sub(limit));
        Page { items: rows, has_previous: goes_on || before, has_next: after, total: None }
    } else {
        rows.truncate(limit);
        Page { items: rows, has_previous: before, has_next: goes_on || after, total: None }
    }
}

/// For each parent the rows of its page and one more.
pub(super) fn pages_statement<E: Table>(
    backend: DbBackend,
    organization: Uuid,
    query: &PageQuery,
    parents: &[Uuid],
) -> Result<SelectStatement> {
    let PageQuery { order, slice, .. } = query;
    let sort = column::sort_column::<E>(*order)?;
    let mut members = members::<E>(backend, organization, query)?;
    // Descending lists go from greater to less, so what comes after a position is less than it.
    if let Some(after) = &slice.after {
        members.and_where(column::beyond(MEMBERS, sort.as_ref(), after, !order.descending)?);
    }
    if let Some(before) = &slice.before {
        members.and_where(column::beyond(MEMBERS, sort.as_ref(), before, order.descending)?);
    }
    order_by(&mut members, MEMBERS, sort.as_ref(), order.descending != slice.backward);
    members.limit(u64::from(slice.limit) + 1);

    let mut outer = each_parent(backend, parents);
    outer.columns(E::columns(ROWS));
    dialect::join_each::<E>(backend, &mut outer, members, MEMBERS, ROWS);
    outer.order_by((KEYS, ORDINAL), Order::Asc);
    order_by(&mut outer, ROWS, sort.as_ref(), order.descending);
    Ok(outer)
}

fn totals_statement<E: Table>(
    backend: DbBackend,
    organization: Uuid,
    query: &PageQuery,
    parents: &[Uuid],
) -> Result<SelectStatement> {
    let mut members = members::<E>(backend, organization, query)?;
    members.expr(Func::count(Expr::col((MEMBERS, "id"))));
    let mut outer = each_parent(backend, parents);
    outer.expr_as(Expr::SubQuery(None, Box::new(members.into())), "total");
    Ok(outer)
}

fn each_parent(backend: DbBackend, parents: &[Uuid]) -> SelectStatement {
    let keys = parents.iter().map(|parent| dialect::id_text(*parent).into()).collect();
    Query::select().column((KEYS, ORDINAL)).from_subquery(dialect::keys(backend, Type::Uuid, keys), KEYS).take()
}

fn order_by<E: Table>(select: &mut SelectStatement, alias: &'static str, sort: Option<&Typed<E>>, descending: bool) {
    let order = if descending { Order::Desc } else { Order::Asc };
    if let Some(typed) = sort {
        select.order_by((alias, typed.column), order.clone());
    }
    select.order_by((alias, "id"), order);
}

/// All rows of the list that hangs on the parent at hand, without columns, order or limit.
fn members<E: Table>(backend: DbBackend, organization: Uuid, query: &PageQuery) -> Result<SelectStatement> {
    let mut select = Query::select().from_as(E::name(), MEMBERS).and_where(E::visible(MEMBERS, organization)).take();
    match query.edge {
        None => {}
        Some(Edge::Column(parent)) => {
            let parent = Typed::<E>::parent(parent)?;
            select.and_where(Expr::col((MEMBERS, parent.column)).equals((KEYS, KEY)));
        }
        Some(Edge::CampaignPersona) => {
            let (own, parent) = match E::KIND {
                Kind::Persona => ("persona_id", "campaign_id"),
                Kind::Campaign => ("campaign_id", "persona_id"),
                kind => return Err(invalid(format!("a {} does not take part in campaigns", kind.name()))),
            };
            let links = Query::select()
                .column(("link", own))
                .from_as("campaign_persona", "link")
                .and_where(Expr::col(("link", "organization_id")).eq(organization))
                .and_where(Expr::col(("link", parent)).equals((KEYS, KEY)))
                .take();
            select.and_where(Expr::col((MEMBERS, "id")).in_subquery(links));
        }
    }
    for predicate in &query.predicates {
        select.and_where(column::condition::<E>(backend, MEMBERS, predicate)?);
    }
    Ok(select)
}

/// Sums of billing records. Keys are grouped by the column of their parent, so that each group walks its own index.
pub(super) async fn billing_totals(
    reader: &Session,
    scope: &Scope,
    keys: &[BillingKey],
) -> Result<Vec<Vec<BillingTotal>>> {
    let Some(statement) = billing_statement(reader.get_database_backend(), scope.organization_id(), keys)? else {
        return Ok(Vec::new());
    };
    let mut totals = vec![Vec::new(); keys.len()];
    for result in reader.query_all(&statement).await.map_err(fault::database)? {
        let (ordinal, total) = read_total(&result).map_err(fault::database)?;
        if let Some(of_key) = totals.get_mut(ordinal) {
            of_key.push(total);
        }
    }
    for of_key in &mut totals {
        of_key.sort_by(|a: &BillingTotal, b| a.currency.cmp(&b.currency));
    }
    Ok(totals)
}

fn read_total(result: &QueryResult) -> Result<(usize, BillingTotal), DbErr> {
    let records =
        u64::try_from(result.try_get::<i64>("", "records")?).map_err(|error| DbErr::Type(error.to_string()))?;
    let total = BillingTotal {
        currency: result.try_get("", "currency")?,
        amount_minor: result.try_get("", "amount_minor")?,
        records,
    };
    Ok((ordinal(result)?, total))
}

/// One arm of a union for each parent column that occurs; `None` without keys.
pub(super) fn billing_statement(
    backend: DbBackend,
    organization: Uuid,
    keys: &[BillingKey],
) -> Result<Option<SelectStatement>> {
    let parents = keys.iter().flat_map(|key| key.parent);
    if let Some((column, _)) =
        parents.clone().find(|(column, _)| !matches!(column, Column::CampaignId | Column::PersonaId))
    {
        return Err(invalid(format!("billing is not summed by {}", column::api_name(column::name(column)))));
    }
    let mut arms = [None, Some(Column::CampaignId), Some(Column::PersonaId)].into_iter().filter_map(|parent| {
        let in_group = |key: &BillingKey| key.parent.map(|(column, _)| column) == parent;
        let rows: Vec<_> = keys.iter().enumerate().filter(|(_, key)| in_group(key)).map(billing_row).collect();
        (!rows.is_empty()).then(|| billing_arm(backend, organization, parent, rows))
    });
    let Some(mut statement) = arms.next() else {
        return Ok(None);
    };
    statement.unions(arms.map(|arm| (UnionType::All, arm)));
    Ok(Some(statement))
}

/// A missing bound is the furthest time that can be stored, so that every key walks a range of its index.
fn billing_row((ordinal, key): (usize, &BillingKey)) -> Json {
    let parent = key.parent.map(|(_, id)| dialect::id_text(id));
    let from = column::clamp(key.from.unwrap_or(DateTime::<Utc>::MIN_UTC));
    let to = column::clamp(key.to.unwrap_or(DateTime::<Utc>::MAX_UTC));
    json!([ordinal, parent, dialect::time_text(from), dialect::time_text(to)])
}

fn billing_arm(backend: DbBackend, organization: Uuid, parent: Option<Column>, rows: Vec<Json>) -> SelectStatement {
    let columns = [(ORDINAL, Type::Int), (KEY, Type::Uuid), ("from_time", Type::Time), ("to_time", Type::Time)];
    let at = |name: &'static str| Expr::col((ROWS, name));
    let mut sums = Query::select()
        .column((ROWS, "currency"))
        // PostgreSQL sums 64-bit integers into a decimal; the largest amount is small enough for the way back.
        .expr_as(at("amount_minor").sum().cast_as("bigint"), "amount_minor")
        .expr_as(at("id").count(), "records")
        .and_where(at("organization_id").eq(organization))
        .and_where(at("occurred_at").gte(Expr::col((KEYS, "from_time"))))
        .and_where(at("occurred_at").lt(Expr::col((KEYS, "to_time"))))
        .group_by_col((ROWS, "currency"))
        .take();
    if let Some(parent) = parent {
        sums.and_where(at(column::name(parent)).equals((KEYS, KEY)));
    }
    let keys = dialect::tuples(backend, &columns, rows);
    let columns = ["currency", "amount_minor", "records"];
    dialect::sum_each(backend, (keys, KEYS), &[ORDINAL], sums, ("billing_record", ROWS), &columns)
}

/// Whether a row of `table` with this id exists in the organisation; users and organisations exist everywhere.
pub(super) fn exists_statement(table: &str, organization: Uuid, id: Value) -> SelectStatement {
    let mut select = Query::select()
        .expr(Expr::cust("1"))
        .from(sea_orm::sea_query::Alias::new(table))
        .and_where(Expr::col("id").eq(Expr::val(id)))
        .take();
    if !matches!(table, "user" | "organization") {
        select.and_where(Expr::col("organization_id").eq(organization));
    }
    select
}
