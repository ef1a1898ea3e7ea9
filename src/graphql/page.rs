//! Relay connections: arguments in, a slice out; a page in, a connection out.

use super::{
    context::RequestContext,
    cursor::ListId,
    error::bad_input,
    resolve::{Many, One},
};
use async_graphql::{ContainerType, Context, Object, SimpleObject, TypeName};
use chimera_stores::{Page, Position, Slice};
use std::{borrow::Cow, sync::Arc};

/// Rows of a page when neither `first` nor `last` is given.
pub const DEFAULT_PAGE_SIZE: u32 = 20;
/// Rows of a page at the most.
pub const MAX_PAGE_SIZE: u32 = 100;

/// The four arguments of a connection as they arrive.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    /// Rows from the front.
    pub first: Option<i32>,
    /// After this cursor.
    pub after: Option<String>,
    /// Rows from the back.
    pub last: Option<i32>,
    /// Before this cursor.
    pub before: Option<String>,
}

impl PageArgs {
    /// The arguments of a field, in the order of the specification.
    pub fn new(first: Option<i32>, after: Option<String>, last: Option<i32>, before: Option<String>) -> Self {
        Self { first, after, last, before }
    }

    /// What they ask for in a list.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for both ends at once, a size out of bounds, or a cursor of another list.
    pub fn slice(&self, context: &RequestContext, list: ListId) -> async_graphql::Result<Slice> {
        let (limit, backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => return Err(bad_input("give either `first` or `last`, not both")),
            (Some(first), None) => (size("first", first)?, false),
            (None, Some(last)) => (size("last", last)?, true),
            (None, None) => (DEFAULT_PAGE_SIZE, self.before.is_some() && self.after.is_none()),
        };
        let key = &context.shared().cursor_key;
        let position = |name: &str, cursor: &Option<String>| match cursor {
            None => Ok(None),
            Some(text) => key
                .decode(list, text)
                .map(Some)
                .ok_or_else(|| bad_input(format!("`{name}` is not a cursor of this list"))),
        };
        Ok(Slice { limit, backward, after: position("after", &self.after)?, before: position("before", &self.before)? })
    }
}

fn size(name: &str, value: i32) -> async_graphql::Result<u32> {
    u32::try_from(value)
        .ok()
        .filter(|value| (1..=MAX_PAGE_SIZE).contains(value))
        .ok_or_else(|| bad_input(format!("`{name}` is {value}; a page has 1 to {MAX_PAGE_SIZE} rows")))
}

/// Whether the client asked for `totalCount`, which costs a count.
pub fn wants_total(context: &Context<'_>) -> bool {
    context.look_ahead().field("totalCount").exists()
}

/// A type that can be listed: its connection's name, and where a row stands.
pub trait Listed: ContainerType + Clone + Send + Sync + 'static {
    /// Its name in the schema.
    const NAME: &'static str;
}

/// One page of a list, shared with what the request keeps of it.
#[derive(Clone)]
pub struct Connection<T: Listed> {
    page: Arc<Page<(Position, T)>>,
    list: ListId,
}

impl<T: Listed> Connection<T> {
    /// A connection over a page whose rows stand at `position`.
    pub fn new<R>(page: Page<R>, list: ListId, position: impl Fn(&R) -> Position) -> Self
    where
        T: From<R>,
    {
        Self::shared(Arc::new(page.map(|row| (position(&row), T::from(row)))), list)
    }

    /// A connection over a page whose rows have their positions.
    pub fn shared(page: Arc<Page<(Position, T)>>, list: ListId) -> Self {
        Self { page, list }
    }
}

impl<T: Listed> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::NAME).into()
    }
}

impl<T: Listed> TypeName for Edge<'_, T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::NAME).into()
    }
}

/// One page of a list, after the Relay cursor connections specification.
#[Object(name_type)]
impl<T: Listed> Connection<T> {
    /// The rows with their cursors.
    async fn edges(&self) -> Many<Edge<'_, T>> {
        Many(self.page.items.iter().map(|(position, node)| Edge { node, position, list: self.list }).collect())
    }

    /// The rows alone.
    async fn nodes(&self) -> Many<&T> {
        Many(self.page.items.iter().map(|(_, node)| node).collect())
    }

    /// Where this page lies in the list.
    async fn page_info(&self, context: &Context<'_>) -> async_graphql::Result<PageInfo> {
        let key = &RequestContext::of(context)?.shared().cursor_key;
        let cursor = |row: Option<&(Position, T)>| row.map(|(position, _)| key.encode(self.list, position));
        Ok(PageInfo {
            has_previous_page: self.page.has_previous,
            has_next_page: self.page.has_next,
            start_cursor: cursor(self.page.items.first()),
            end_cursor: cursor(self.page.items.last()),
        })
    }

    /// How many rows the whole list has. Null where the store does not count.
    async fn total_count(&self) -> Option<u64> {
        self.page.total
    }
}

/// One row of a page.
pub struct Edge<'a, T: Listed> {
    node: &'a T,
    position: &'a Position,
    list: ListId,
}

/// A row and its place in the list.
#[Object(name_type)]
impl<T: Listed> Edge<'_, T> {
    /// The row.
    async fn node(&self) -> One<&T> {
        One(self.node)
    }

    /// The row's place, for `after` and `before`.
    async fn cursor(&self, context: &Context<'_>) -> async_graphql::Result<String> {
        Ok(RequestContext::of(context)?.shared().cursor_key.encode(self.list, self.position))
    }
}

/// Where a page lies in its list.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    /// Whether rows come before this page.
    pub has_previous_page: bool,
    /// Whether rows come after this page.
    pub has_next_page: bool,
    /// Cursor of the first row; null when the page is empty.
    pub start_cursor: Option<String>,
    /// Cursor of the last row; null when the page is empty.
    pub end_cursor: Option<String>,
}
