//! Spend reports: every question of a batch in one statement, whatever each of them groups by.
//!
//! What to group by travels with the keys, as data: a column that a question does not group by is null for all its
//! rows. So there is one prepared statement for each set of parents (organisation, campaigns, personas) and not one for
//! each way to group, and each parent walks its own index over its range of time.

use super::{
    column,
    dialect::{self, ORDINAL, Type},
    fault,
    session::Session,
};
use crate::{
    Result, Scope,
    relational::{Column, SpendGroup, SpendQuery, SpendReport, SpendRow},
};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use entity::billing_record::Kind;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult,
    sea_query::{
        CaseStatement, Expr, ExprTrait, Func, NullOrdering, Order, Query, SelectStatement, UnionType, WindowStatement,
    },
};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// The questions, the billing records, the groups, and the groups with their place in the report.
const KEYS: &str = "k";
const ROWS: &str = "t";
const GROUPS: &str = "g";
const PLACED: &str = "p";

/// Columns of a question.
const PARENT: &str = "key";
const FROM: &str = "from_time";
const TO: &str = "to_time";
const BY_CAMPAIGN: &str = "by_campaign";
const BY_PERSONA: &str = "by_persona";
const BY_KIND: &str = "by_kind";
const DATE_LENGTH: &str = "date_length";
const MOST: &str = "most";

/// Columns of a group. None is a column of `billing_record`: PostgreSQL would take that one in `GROUP BY`.
const CAMPAIGN: &str = "group_campaign";
const PERSONA: &str = "group_persona";
const KIND: &str = "group_kind";
const START: &str = "group_start";
const CURRENCY: &str = "group_currency";
const AMOUNT: &str = "group_amount";
const RECORDS: &str = "group_records";
const PLACE: &str = "place";

/// One report per question, in order.
pub(super) async fn spend(reader: &Session, scope: &Scope, queries: &[SpendQuery]) -> Result<Vec<SpendReport>> {
    for query in queries {
        query.check()?;
    }
    let Some(statement) = statement(reader.get_database_backend(), scope.organization_id(), queries) else {
        return Ok(Vec::new());
    };
    let mut reports = vec![SpendReport::default(); queries.len()];
    for result in reader.query_all(&statement).await.map_err(fault::database)? {
        let (ordinal, row) = read_row(&result).map_err(fault::database)?;
        if let (Some(report), Some(query)) = (reports.get_mut(ordinal), queries.get(ordinal)) {
            // One row more than asked for comes back when there is one.
            if report.rows.len() < query.limit as usize {
                report.rows.push(row);
            } else {
                report.has_more = true;
            }
        }
    }
    Ok(reports)
}

/// The groups of all questions in the order of their reports, one more than asked for of each; `None` without questions.
pub(super) fn statement(backend: DbBackend, organization: Uuid, queries: &[SpendQuery]) -> Option<SelectStatement> {
    let mut arms = [None, Some(Column::CampaignId), Some(Column::PersonaId)].into_iter().filter_map(|parent| {
        let of_parent = |query: &SpendQuery| query.parent.map(|(column, _)| column) == parent;
        let keys: Vec<_> = queries.iter().enumerate().filter(|(_, query)| of_parent(query)).map(key).collect();
        (!keys.is_empty()).then(|| arm(backend, organization, parent, keys))
    });
    let mut groups = arms.next()?;
    groups.unions(arms.map(|arm| (UnionType::All, arm)));

    let mut order = WindowStatement::partition_by((GROUPS, ORDINAL));
    order.order_by((GROUPS, START), Order::Asc).order_by((GROUPS, CURRENCY), Order::Asc);
    order.order_by((GROUPS, AMOUNT), Order::Desc);
    for column in [KIND, CAMPAIGN, PERSONA] {
        // The databases differ in where they put nulls when nothing is said.
        order.order_by_with_nulls((GROUPS, column), Order::Asc, NullOrdering::Last);
    }
    let names = [ORDINAL, CAMPAIGN, PERSONA, KIND, START, CURRENCY, AMOUNT, RECORDS, MOST];
    let placed = Query::select()
        .columns(names.map(|name| (GROUPS, name)))
        .expr_window_as(Func::cust("row_number"), order, PLACE)
        .from_subquery(groups, GROUPS)
        .take();
    let statement = Query::select()
        .columns(names.map(|name| (PLACED, name)))
        .from_subquery(placed, PLACED)
        .and_where(Expr::col((PLACED, PLACE)).lte(Expr::col((PLACED, MOST))))
        .order_by((PLACED, ORDINAL), Order::Asc)
        .order_by((PLACED, PLACE), Order::Asc)
        .take();
    Some(statement)
}

/// A question as a tuple. A missing bound is the furthest time that can be stored, so that a range of an index is walked.
fn key((ordinal, query): (usize, &SpendQuery)) -> Json {
    let parent = query.parent.map(|(_, id)| dialect::id_text(id));
    let from = column::clamp(query.from.unwrap_or(DateTime::<Utc>::MIN_UTC));
    let to = column::clamp(query.to.unwrap_or(DateTime::<Utc>::MAX_UTC));
    let by = |group| i64::from(query.groups_by(group));
    // `2026-01-31` is a day, its first seven characters are the month, and none of them is no time at all.
    let date_length = 10 * by(SpendGroup::Day) + 7 * by(SpendGroup::Month);
    json!([
        ordinal,
        parent,
        dialect::time_text(from),
        dialect::time_text(to),
        by(SpendGroup::Campaign),
        by(SpendGroup::Persona),
        by(SpendGroup::Kind),
        date_length,
        i64::from(query.limit) + 1
    ])
}

/// The groups of all questions about one sort of parent.
fn arm(backend: DbBackend, organization: Uuid, parent: Option<Column>, keys: Vec<Json>) -> SelectStatement {
    let columns = [
        (ORDINAL, Type::Int),
        (PARENT, Type::Uuid),
        (FROM, Type::Time),
        (TO, Type::Time),
        (BY_CAMPAIGN, Type::Int),
        (BY_PERSONA, Type::Int),
        (BY_KIND, Type::Int),
        (DATE_LENGTH, Type::Int),
        (MOST, Type::Int),
    ];
    let at = |name: &'static str| Expr::col((ROWS, name));
    let asked = |name: &'static str| Expr::col((KEYS, name));
    let only_if = |flag, name| CaseStatement::new().case(asked(flag).eq(1_i64), at(name));
    let mut sums = Query::select()
        .expr_as(only_if(BY_CAMPAIGN, "campaign_id"), CAMPAIGN)
        .expr_as(only_if(BY_PERSONA, "persona_id"), PERSONA)
        .expr_as(only_if(BY_KIND, "kind"), KIND)
        .expr_as(dialect::date_text(backend, at("occurred_at"), asked(DATE_LENGTH)), START)
        .expr_as(at("currency"), CURRENCY)
        // PostgreSQL sums 64-bit integers into a decimal; the largest amount is small enough for the way back.
        .expr_as(at("amount_minor").sum().cast_as("bigint"), AMOUNT)
        .expr_as(at("id").count(), RECORDS)
        .and_where(at("organization_id").eq(organization))
        .and_where(at("occurred_at").gte(asked(FROM)))
        .and_where(at("occurred_at").lt(asked(TO)))
        .group_by_columns([CAMPAIGN, PERSONA, KIND, START, CURRENCY])
        .take();
    if let Some(parent) = parent {
        sums.and_where(at(column::name(parent)).equals((KEYS, PARENT)));
    }
    let keys = dialect::tuples(backend, &columns, keys);
    let columns = [CAMPAIGN, PERSONA, KIND, START, CURRENCY, AMOUNT, RECORDS];
    dialect::sum_each(backend, (keys, KEYS), &[ORDINAL, MOST], sums, ("billing_record", ROWS), &columns)
}

fn read_row(result: &QueryResult) -> Result<(usize, SpendRow), DbErr> {
    let count = |error: std::num::TryFromIntError| DbErr::Type(error.to_string());
    let row = SpendRow {
        campaign_id: result.try_get("", CAMPAIGN)?,
        persona_id: result.try_get("", PERSONA)?,
        kind: result.try_get::<Option<Kind>>("", KIND)?,
        start: start(&result.try_get::<String>("", START)?)?,
        currency: result.try_get("", CURRENCY)?,
        amount_minor: result.try_get("", AMOUNT)?,
        records: u64::try_from(result.try_get::<i64>("", RECORDS)?).map_err(count)?,
    };
    Ok((usize::try_from(result.try_get::<i64>("", ORDINAL)?).map_err(count)?, row))
}

/// The beginning of `2026-01-31` or `2026-01`; nothing when the text is empty.
fn start(text: &str) -> Result<Option<DateTime<Utc>>, DbErr> {
    if text.is_empty() {
        return Ok(None);
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .or_else(|_| NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d"))
        .map_err(|error| DbErr::Type(error.to_string()))?;
    Ok(Some(date.and_time(NaiveTime::MIN).and_utc()))
}
