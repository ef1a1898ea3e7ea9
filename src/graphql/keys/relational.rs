//! Look-ups of the relational store.

use crate::graphql::{
    context::RequestContext,
    loader::{LoadKey, spread},
};
use chimera_stores::{
    Page, Position, Result, SortValue, Store, StoreError,
    relational::{BillingKey, BillingTotal, Column, PageQuery, Record, SpendQuery, SpendReport},
};
use std::{collections::HashMap, marker::PhantomData};
use uuid::Uuid;

/// A row by its id.
pub struct ById<R>(pub Uuid, PhantomData<fn() -> R>);

impl<R> ById<R> {
    /// The row with this id.
    pub fn new(id: Uuid) -> Self {
        Self(id, PhantomData)
    }
}

// Derives would ask the row type for what only the id needs.
impl<R> Clone for ById<R> {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl<R> PartialEq for ById<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<R> Eq for ById<R> {}

impl<R> std::hash::Hash for ById<R> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<R: Record> LoadKey for ById<R> {
    type Value = Option<R>;
    const STORE: Store = Store::Relational;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        spread(keys.len(), context.stores().relational.get::<R>(context.scope(), &ids).await)
    }
}

/// A row whose place in an order can be told.
pub trait Ordered: Record {
    /// The value of a column that lists of this type may be ordered by.
    fn sort_value(&self, column: Column) -> SortValue;

    /// Where the row stands in the order of `column`.
    fn position(&self, column: Column) -> Position {
        Position { value: self.sort_value(column), id: self.id() }
    }
}

macro_rules! ordered {
    ($($module:ident { $($column:ident $value:ident $field:ident),* $(,)? })*) => { $(
        impl Ordered for entity::$module::Model {
            fn sort_value(&self, column: Column) -> SortValue {
                match column {
                    $(Column::$column => $value(&self.$field),)*
                    Column::CreatedAt => time(&self.created_at),
                    // The id orders by itself, and every position has it.
                    _ => SortValue::Int(0),
                }
            }
        }
    )* };
}

fn text(value: &str) -> SortValue {
    SortValue::Text(value.to_owned())
}

fn int(value: &i64) -> SortValue {
    SortValue::Int(*value)
}

fn time(at: &chrono::DateTime<chrono::Utc>) -> SortValue {
    SortValue::Int(at.timestamp_micros())
}

ordered! {
    persona { UpdatedAt time updated_at, Handle text handle, Name text name }
    campaign { UpdatedAt time updated_at, Name text name }
    post { UpdatedAt time updated_at }
    video { UpdatedAt time updated_at, Title text title }
    asset {}
    wallet {}
    billing_record { OccurredAt time occurred_at, AmountMinor int amount_minor }
    audit_entry {}
    membership {}
    api_key {}
}

/// A page of the rows of one parent, as what the API makes of them. The question is part of the key: parents that ask the
/// same go out together.
pub struct PageOf<R, T = R> {
    query: PageQuery,
    parent: Uuid,
    row: PhantomData<fn() -> (R, T)>,
}

impl<R, T> PageOf<R, T> {
    /// The page of `parent`; the nil parent for a list of the whole organisation.
    pub fn new(query: PageQuery, parent: Uuid) -> Self {
        Self { query, parent, row: PhantomData }
    }
}

impl<R, T> Clone for PageOf<R, T> {
    fn clone(&self) -> Self {
        Self::new(self.query.clone(), self.parent)
    }
}

impl<R, T> PartialEq for PageOf<R, T> {
    fn eq(&self, other: &Self) -> bool {
        self.parent == other.parent && self.query == other.query
    }
}

impl<R, T> Eq for PageOf<R, T> {}

impl<R, T> std::hash::Hash for PageOf<R, T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.query.hash(state);
        self.parent.hash(state);
    }
}

impl<R: Ordered, T: From<R> + Clone + Send + Sync + 'static> LoadKey for PageOf<R, T> {
    type Value = Page<(Position, T)>;
    const STORE: Store = Store::Relational;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let mut groups: HashMap<&PageQuery, Vec<usize>> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            groups.entry(&key.query).or_default().push(index);
        }
        let calls = groups.into_iter().map(async |(query, indexes)| {
            let parents: Vec<Uuid> =
                indexes.iter().filter_map(|index| keys.get(*index)).map(|key| key.parent).collect();
            let outcome = context.stores().relational.pages::<R>(context.scope(), query, &parents).await;
            let placed = |row: R| (row.position(query.order.column), T::from(row));
            let pages = outcome.map(|pages| pages.into_iter().map(|page| page.map(placed)).collect());
            indexes.into_iter().zip(spread(parents.len(), pages)).collect::<Vec<_>>()
        });
        let mut answers: Vec<(usize, Result<Self::Value>)> =
            futures_util::future::join_all(calls).await.into_iter().flatten().collect();
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, result)| result).collect()
    }
}

/// A row by a column that is unique in the organisation.
pub struct ByUnique<R> {
    column: Column,
    value: String,
    row: PhantomData<fn() -> R>,
}

impl<R> ByUnique<R> {
    /// The row whose `column` is `value`.
    pub fn new(column: Column, value: String) -> Self {
        Self { column, value, row: PhantomData }
    }
}

impl<R> Clone for ByUnique<R> {
    fn clone(&self) -> Self {
        Self::new(self.column, self.value.clone())
    }
}

impl<R> PartialEq for ByUnique<R> {
    fn eq(&self, other: &Self) -> bool {
        self.column == other.column && self.value == other.value
    }
}

impl<R> Eq for ByUnique<R> {}

impl<R> std::hash::Hash for ByUnique<R> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.value.hash(state);
    }
}

impl<R: Record> LoadKey for ByUnique<R> {
    type Value = Option<R>;
    const STORE: Store = Store::Relational;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let mut answers: Vec<Option<Result<Option<R>>>> = vec![None; keys.len()];
        let mut groups: HashMap<Column, Vec<usize>> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            groups.entry(key.column).or_default().push(index);
        }
        for (column, indexes) in groups {
            let values: Vec<String> =
                indexes.iter().filter_map(|index| keys.get(*index)).map(|key| key.value.clone()).collect();
            let outcome = context.stores().relational.find::<R>(context.scope(), column, &values).await;
            for (index, result) in indexes.into_iter().zip(spread(values.len(), outcome)) {
                if let Some(answer) = answers.get_mut(index) {
                    *answer = Some(result);
                }
            }
        }
        let missing = || StoreError::invalid(Store::Relational, "the key was not answered");
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(missing()))).collect()
    }
}

/// Sums of billing records.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BillingTotalOf(pub BillingKey);

impl LoadKey for BillingTotalOf {
    type Value = Vec<BillingTotal>;
    const STORE: Store = Store::Relational;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        spread(count, context.stores().relational.billing_totals(context.scope(), &keys).await)
    }
}

/// Billing records by group. Every question of a level goes out in one call, whatever it groups by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpendReportOf(pub SpendQuery);

impl LoadKey for SpendReportOf {
    type Value = SpendReport;
    const STORE: Store = Store::Relational;

    async fn load_all(context: &RequestContext, keys: Vec<Self>) -> Vec<Result<Self::Value>> {
        let (count, keys) = (keys.len(), keys.into_iter().map(|key| key.0).collect::<Vec<_>>());
        spread(count, context.stores().relational.spend_reports(context.scope(), &keys).await)
    }
}
