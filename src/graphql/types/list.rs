//! Lists of relational rows: orders, filters, and the one way to page through children.

use crate::graphql::{
    context::RequestContext,
    cursor::ListId,
    keys::relational::{Ordered, PageOf},
    page::{Connection, Listed, PageArgs, wants_total},
};
use async_graphql::{Context, Enum, Result};
use chimera_stores::relational::{Column, Edge, Order, PageQuery, Predicate, Value};
use uuid::Uuid;

/// Which way a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum OrderDirection {
    /// Smallest, oldest or first in the alphabet first.
    Asc,
    /// Largest, newest or last in the alphabet first.
    Desc,
}

/// A field of the API that names a column to order by.
pub trait OrderField: Copy {
    /// The column.
    fn column(self) -> Column;
}

/// The order of a list; newest first when nothing is said.
pub fn order<F: OrderField>(field: Option<F>, direction: Option<OrderDirection>) -> Order {
    let column = field.map_or(Column::Id, F::column);
    Order { column, descending: direction.unwrap_or(OrderDirection::Desc) == OrderDirection::Desc }
}

/// What a list of children is asked for, apart from its page.
pub struct ListOf {
    /// How the rows hang on their parent; `None` lists the organisation.
    pub edge: Option<Edge>,
    /// The parent; nil with `None`.
    pub parent: Uuid,
    /// All must hold.
    pub predicates: Vec<Predicate>,
    /// The order.
    pub order: Order,
}

impl ListOf {
    /// All rows of the organisation, newest first.
    pub fn organization() -> Self {
        Self { edge: None, parent: Uuid::nil(), predicates: Vec::new(), order: Order::default() }
    }

    /// The rows whose `column` is `parent`, newest first.
    pub fn children(column: Column, parent: Uuid) -> Self {
        Self { edge: Some(Edge::Column(column)), parent, ..Self::organization() }
    }

    /// Only rows that satisfy these.
    #[must_use]
    pub fn filtered(mut self, predicates: Vec<Predicate>) -> Self {
        self.predicates = predicates;
        self
    }

    /// In this order.
    #[must_use]
    pub fn ordered(mut self, order: Order) -> Self {
        self.order = order;
        self
    }
}

/// Loads one page of rows as a connection.
///
/// # Errors
/// A bad page argument, or what the store says.
pub async fn connection<R, T>(context: &Context<'_>, list: ListOf, args: PageArgs) -> Result<Option<Connection<T>>>
where
    R: Ordered,
    T: Listed + From<R>,
{
    let request = RequestContext::of(context)?;
    let id = ListId::new(T::NAME, &format!("{:?}", list.order));
    let slice = args.slice(request, id)?;
    let query = PageQuery {
        kind: R::KIND,
        edge: list.edge,
        predicates: list.predicates,
        order: list.order,
        slice,
        total: wants_total(context),
    };
    let page = request.load_shared(PageOf::<R, T>::new(query, list.parent)).await?;
    Ok(Some(Connection::shared(page, id)))
}

/// The predicate that a column is one of these enum values; none when nothing is asked.
pub fn one_of<T: serde::Serialize>(column: Column, values: Option<Vec<T>>) -> Option<Predicate> {
    let name = |value: &T| match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Some(Value::Text(name)),
        _ => None,
    };
    values.map(|values| Predicate::In(column, values.iter().filter_map(name).collect()))
}

/// The predicate that a column lies in a range of time; none when nothing is asked.
pub fn between(
    column: Column,
    from: Option<crate::graphql::scalars::DateTime>,
    to: Option<crate::graphql::scalars::DateTime>,
) -> Option<Predicate> {
    let bound = |at: crate::graphql::scalars::DateTime| Value::Time(at.0);
    (from.is_some() || to.is_some()).then(|| Predicate::Range(column, from.map(bound), to.map(bound)))
}
