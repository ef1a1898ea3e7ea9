//! The port's columns and conditions in terms of a table: which column it is, of what type, and the expression of a
//! predicate, an order or a keyset position. A question that a table cannot answer is `Invalid` here, before any SQL.

use super::{
    dialect::{self, Type},
    invalid,
    table::Table,
};
use crate::{
    Result,
    page::{Position, SortValue},
    relational::{Column, Order, Predicate, Value},
};
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use sea_orm::{
    ColumnTrait, DbBackend, Value as SqlValue,
    prelude::StringLen,
    sea_query::{ColumnType, Expr, ExprTrait},
};
use serde_json::Value as Json;
use std::str::FromStr;
use uuid::Uuid;

/// A column of `E`, with what is known about it.
pub(super) struct Typed<E: Table> {
    pub(super) column: E::Column,
    pub(super) of: Type,
    pub(super) nullable: bool,
}

impl<E: Table> Typed<E> {
    /// The column that the port calls `column`.
    pub(super) fn new(column: Column) -> Result<Self> {
        let missing = || invalid(format!("a {} has no column {}", E::KIND.name(), api_name(name(column))));
        let column = E::Column::from_str(name(column)).map_err(|_| missing())?;
        let definition = column.def();
        let of = match definition.get_column_type() {
            ColumnType::String(StringLen::N(_) | StringLen::Max | StringLen::None) | ColumnType::Text => Type::Text,
            ColumnType::BigInteger | ColumnType::Integer => Type::Int,
            ColumnType::Uuid => Type::Uuid,
            ColumnType::TimestampWithTimeZone => Type::Time,
            _ => return Err(missing()),
        };
        Ok(Self { column, of, nullable: definition.is_null() })
    }

    /// The same, for the column that parents are matched with.
    pub(super) fn parent(column: Column) -> Result<Self> {
        let typed = Self::new(column)?;
        match typed.of {
            Type::Uuid => Ok(typed),
            _ => Err(invalid(format!("{} is not the id of a parent", api_name(name(column))))),
        }
    }

    fn at(&self, alias: &'static str) -> Expr {
        Expr::col((alias, self.column))
    }

    fn mismatch(&self) -> crate::StoreError {
        invalid(format!(
            "{} is compared with a value of another type",
            api_name(sea_orm::IdenStatic::as_str(&self.column))
        ))
    }

    fn bound(&self, value: &Value) -> Result<Expr> {
        let value: SqlValue = match (self.of, value) {
            (Type::Text, Value::Text(text)) => text.as_str().into(),
            (Type::Int, Value::Int(number)) => (*number).into(),
            (Type::Uuid, Value::Uuid(id)) => (*id).into(),
            (Type::Time, Value::Time(time)) => clamp(*time).into(),
            _ => return Err(self.mismatch()),
        };
        Ok(Expr::val(value))
    }

    fn listed(&self, value: &Value) -> Result<Json> {
        match (self.of, value) {
            (Type::Text, Value::Text(text)) => Ok(text.as_str().into()),
            (Type::Int, Value::Int(number)) => Ok((*number).into()),
            (Type::Uuid, Value::Uuid(id)) => Ok(dialect::id_text(*id).into()),
            (Type::Time, Value::Time(time)) => Ok(dialect::time_text(clamp(*time)).into()),
            _ => Err(self.mismatch()),
        }
    }
}

/// The condition that `predicate` puts on the row called `alias`.
pub(super) fn condition<E: Table>(backend: DbBackend, alias: &'static str, predicate: &Predicate) -> Result<Expr> {
    match predicate {
        Predicate::In(column, values) => {
            let typed = Typed::<E>::new(*column)?;
            // One value alone keeps the order of an index that begins with the column; a list of one does not.
            if let [value] = values.as_slice() {
                return Ok(typed.at(alias).eq(typed.bound(value)?));
            }
            let values = values.iter().map(|value| typed.listed(value)).collect::<Result<Vec<_>>>()?;
            Ok(dialect::one_of(backend, typed.of, typed.at(alias), values))
        }
        Predicate::Range(column, from, to) => {
            let typed = Typed::<E>::new(*column)?;
            let mut range = typed.at(alias).is_not_null();
            if let Some(from) = from {
                range = range.and(typed.at(alias).gte(typed.bound(from)?));
            }
            if let Some(to) = to {
                range = range.and(typed.at(alias).lt(typed.bound(to)?));
            }
            Ok(range)
        }
        Predicate::Contains(column, needle) => {
            let typed = Typed::<E>::new(*column)?;
            match typed.of {
                Type::Text => Ok(dialect::contains(backend, typed.at(alias), needle)),
                _ => Err(typed.mismatch()),
            }
        }
        Predicate::IsNull(column, true) => Ok(Typed::<E>::new(*column)?.at(alias).is_null()),
        Predicate::IsNull(column, false) => Ok(Typed::<E>::new(*column)?.at(alias).is_not_null()),
    }
}

/// The column of an order; `None` when it is the id alone.
pub(super) fn sort_column<E: Table>(order: Order) -> Result<Option<Typed<E>>> {
    if order.column == Column::Id {
        return Ok(None);
    }
    let typed = Typed::<E>::new(order.column)?;
    if typed.nullable {
        return Err(invalid(format!("{} can be null, so it orders nothing", api_name(name(order.column)))));
    }
    Ok(Some(typed))
}

/// Whether the row called `alias` lies beyond `position`: greater in the order of the columns, or less.
pub(super) fn beyond<E: Table>(
    alias: &'static str,
    sort: Option<&Typed<E>>,
    position: &Position,
    greater: bool,
) -> Result<Expr> {
    let id = Expr::col((alias, "id"));
    let (left, right) = match sort {
        None => (id, Expr::val(position.id)),
        Some(typed) => {
            let value = typed.bound(&cursor_value(typed.of, &position.value)?)?;
            (Expr::tuple([typed.at(alias), id]), Expr::tuple([value, Expr::val(position.id)]))
        }
    };
    Ok(if greater { left.gt(right) } else { left.lt(right) })
}

fn cursor_value(of: Type, value: &SortValue) -> Result<Value> {
    let read = match (of, value) {
        (Type::Text, SortValue::Text(text)) => Some(Value::Text(text.clone())),
        (Type::Uuid, SortValue::Text(text)) => Uuid::parse_str(text).ok().map(Value::Uuid),
        (Type::Int, SortValue::Int(number)) => Some(Value::Int(*number)),
        (Type::Time, SortValue::Int(micros)) => DateTime::from_timestamp_micros(*micros).map(Value::Time),
        _ => None,
    };
    read.ok_or_else(|| invalid("the cursor was made for another order"))
}

/// The first and last year whose times are stored. Within them a stored time is text of one shape, whose order is that
/// of the times.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// Whether this time can be stored.
pub(super) fn storable(time: DateTime<Utc>) -> bool {
    YEARS.contains(&time.year())
}

/// A bound outside of what can be stored means the nearest bound that leaves out nothing stored.
pub(super) fn clamp(time: DateTime<Utc>) -> DateTime<Utc> {
    if storable(time) {
        return time;
    }
    let edge = if time.year() < *YEARS.start() {
        NaiveDate::from_ymd_opt(*YEARS.start(), 1, 1).and_then(|date| date.and_hms_opt(0, 0, 0))
    } else {
        // Finer than what is stored, so later than the last time that can be.
        NaiveDate::from_ymd_opt(*YEARS.end(), 12, 31).and_then(|date| date.and_hms_nano_opt(23, 59, 59, 999_999_999))
    };
    edge.map_or(time, |edge| edge.and_utc())
}

/// The name of a column in the database.
pub(super) const fn name(column: Column) -> &'static str {
    match column {
        Column::Id => "id",
        Column::ExternalId => "external_id",
        Column::Handle => "handle",
        Column::Name => "name",
        Column::Title => "title",
        Column::Email => "email",
        Column::Status => "status",
        Column::Kind => "kind",
        Column::Category => "category",
        Column::Platform => "platform",
        Column::Chain => "chain",
        Column::Address => "address",
        Column::Actor => "actor",
        Column::Action => "action",
        Column::EntityType => "entity_type",
        Column::EntityId => "entity_id",
        Column::UserId => "user_id",
        Column::PersonaId => "persona_id",
        Column::CampaignId => "campaign_id",
        Column::VideoId => "video_id",
        Column::AssetId => "asset_id",
        Column::SourceAssetId => "source_asset_id",
        Column::AmountMinor => "amount_minor",
        Column::OccurredAt => "occurred_at",
        Column::ScheduledAt => "scheduled_at",
        Column::PublishedAt => "published_at",
        Column::StartsAt => "starts_at",
        Column::EndsAt => "ends_at",
        Column::CreatedAt => "created_at",
        Column::UpdatedAt => "updated_at",
    }
}

/// The name of a column as the API's callers know it: `persona_id` → `personaId`.
pub(super) fn api_name(column: &str) -> String {
    let mut words = column.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}
