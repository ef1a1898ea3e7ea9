//! Objects resolved field by field on the spot.
//!
//! The executor makes a task of every field of every object, and wakes each by itself. Most fields are there already, so
//! [`Many`] and [`One`] ask each once where it stands, and make a task only of one that waits. What the selection asks of
//! the type is looked up once for a list. Answers and errors are those of the executor, which still takes what is rare:
//! directives, two fields under one name, fragments on another type. Extensions would not be told of the fields; the schema
//! that executes has none.

use async_graphql::{
    ContainerType, ContextSelectionSet, Name, OutputType, Positioned, ServerResult, Value,
    indexmap::IndexMap,
    parser::types::{Field, Selection, SelectionSet},
    registry::Registry,
    resolver_utils::{resolve_container, resolve_list},
};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use std::{borrow::Cow, task::Poll};
use tokio_util::sync::ReusableBoxFuture;

/// The objects of a list.
pub struct Many<T>(pub Vec<T>);

/// One object.
#[derive(Clone, Debug)]
pub struct One<T>(pub T);

impl<T: ContainerType> OutputType for Many<T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<T>::create_type_info(registry)
    }

    async fn resolve(&self, context: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let Some(fields) = Fields::of::<T>(context) else {
            return resolve_list(context, field, &self.0, Some(self.0.len())).await;
        };
        let places: Vec<_> = (0..self.0.len()).map(|index| context.with_index(index)).collect();
        Ok(Value::List(fields.resolve(&places, &self.0).await))
    }
}

impl<T: ContainerType> OutputType for One<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn qualified_type_name() -> String {
        T::qualified_type_name()
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, context: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        let Some(fields) = Fields::of::<T>(context) else { return resolve_container(context, &self.0).await };
        let objects = fields.resolve(std::slice::from_ref(context), std::slice::from_ref(&self.0)).await;
        Ok(objects.into_iter().next().unwrap_or_default())
    }
}

/// The fields that are asked of each object, in their order.
struct Fields<'a>(Vec<&'a Positioned<Field>>);

impl<'a> Fields<'a> {
    /// The fields of a selection on `T`, unless the executor has to look at each object.
    fn of<T: OutputType>(context: &ContextSelectionSet<'a>) -> Option<Self> {
        let mut fields = Self(Vec::with_capacity(context.item.node.items.len()));
        fields.add(context, &T::type_name(), &context.item.node).then_some(fields)
    }

    fn add(&mut self, context: &ContextSelectionSet<'a>, ty: &str, set: &'a SelectionSet) -> bool {
        set.items.iter().all(|selection| match &selection.node {
            Selection::Field(field) => {
                let new = self.0.iter().all(|known| key(known) != key(field));
                self.0.push(field);
                new && field.node.directives.is_empty()
            }
            Selection::InlineFragment(inline) => {
                let on = inline.node.type_condition.as_ref();
                inline.node.directives.is_empty()
                    && on.is_none_or(|on| on.node.on.node == ty)
                    && self.add(context, ty, &inline.node.selection_set.node)
            }
            Selection::FragmentSpread(spread) => {
                let fragment = context.query_env.fragments.get(&spread.node.fragment_name.node);
                spread.node.directives.is_empty()
                    && fragment.is_some_and(|fragment| {
                        fragment.node.type_condition.node.on.node == ty
                            && self.add(context, ty, &fragment.node.selection_set.node)
                    })
            }
        })
    }

    /// Each object with its fields, at its place.
    async fn resolve<T: ContainerType>(&self, places: &[ContextSelectionSet<'_>], objects: &[T]) -> Vec<Value> {
        let mut values = Vec::with_capacity(objects.len() * self.0.len());
        let mut waiting = FuturesUnordered::new();
        // The box of a field that was there is the next one's.
        let mut free: Option<ReusableBoxFuture<'_, Option<Value>>> = None;
        for (object, place) in objects.iter().zip(places) {
            for field in &self.0 {
                let future = resolve_field(object, place, field);
                let mut future = match free.take() {
                    None => ReusableBoxFuture::new(future),
                    Some(mut free) => {
                        free.set(future);
                        free
                    }
                };
                match futures_util::poll!(&mut future) {
                    Poll::Ready(value) => {
                        values.push(value);
                        free = Some(future);
                    }
                    Poll::Pending => {
                        let index = values.len();
                        values.push(None);
                        waiting.push(future.map(move |value| (index, value)));
                    }
                }
            }
        }
        while let Some((index, value)) = waiting.next().await {
            if let Some(place) = values.get_mut(index) {
                *place = value;
            }
        }
        let mut values = values.into_iter();
        objects.iter().map(|_| self.object(values.by_ref().take(self.0.len()))).collect()
    }

    /// An object without the fields that failed; null when all did, as the executor has it.
    fn object(&self, values: impl Iterator<Item = Option<Value>>) -> Value {
        let mut object = IndexMap::with_capacity(self.0.len());
        object.extend(self.0.iter().zip(values).filter_map(|(field, value)| Some((key(field).clone(), value?))));
        if object.is_empty() { Value::Null } else { Value::Object(object) }
    }
}

fn key(field: &Positioned<Field>) -> &Name {
    &field.node.response_key().node
}

/// The value of a field; `None` after an error, which is then among those of the answer.
async fn resolve_field<T: ContainerType>(
    object: &T,
    place: &ContextSelectionSet<'_>,
    field: &Positioned<Field>,
) -> Option<Value> {
    if field.node.name.node == "__typename" {
        return Some(Value::String(object.introspection_type_name().into_owned()));
    }
    let context = place.with_field(field);
    match object.resolve_field(&context).await {
        Ok(value) => Some(value.unwrap_or_default()),
        Err(error) => {
            place.add_error(error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::{
        ComplexObject, EmptyMutation, EmptySubscription, Interface, Object, Result, Schema, SimpleObject,
    };

    #[derive(Clone, SimpleObject)]
    #[graphql(complex)]
    struct Item {
        number: i32,
    }

    impl Item {
        fn is_odd(&self) -> Result<i32> {
            if self.number % 2 == 1 { Ok(self.number) } else { Err("even".into()) }
        }

        fn after(&self) -> Option<Self> {
            (self.number < 4).then(|| Self { number: self.number + 1 })
        }
    }

    #[ComplexObject]
    impl Item {
        async fn late(&self) -> i32 {
            for _ in 0..self.number {
                tokio::task::yield_now().await;
            }
            self.number
        }

        async fn odd(&self) -> Result<i32> {
            self.is_odd()
        }

        async fn maybe(&self) -> Result<Option<i32>> {
            tokio::task::yield_now().await;
            self.is_odd().map(Some)
        }

        async fn next(&self) -> Option<One<Item>> {
            self.after().map(One)
        }

        async fn plain_next(&self) -> Option<Item> {
            self.after()
        }
    }

    #[derive(Interface)]
    #[graphql(field(name = "number", ty = "&i32"))]
    enum Node {
        Item(Item),
    }

    struct Query;

    fn items() -> Vec<Item> {
        (0..4).map(|number| Item { number }).collect()
    }

    #[Object]
    impl Query {
        async fn many(&self) -> Many<Item> {
            Many(items())
        }

        async fn plain(&self) -> Vec<Item> {
            items()
        }

        async fn node(&self) -> Option<Node> {
            items().pop().map(Node::Item)
        }

        async fn none(&self) -> Many<Item> {
            Many(Vec::new())
        }
    }

    /// The answer with its fields and errors in one order, whoever was first.
    async fn answer(document: &str) -> serde_json::Value {
        let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
        let answer = schema.execute(document).await;
        let mut errors: Vec<_> = answer
            .errors
            .iter()
            .map(|error| format!("{:?} {} {:?}", error.path, error.message, error.locations))
            .collect();
        errors.sort();
        serde_json::json!({ "data": answer.data.into_json().unwrap(), "errors": errors })
    }

    #[tokio::test]
    async fn answers_are_those_of_the_executor() {
        let selections = [
            "number",
            "late number __typename",
            "a: number b: number late maybe",
            "odd",
            "odd maybe number",
            "number number late",
            "next { odd } next { number }",
            "next { late maybe next { odd } }",
            "...F ... on Item { late } ... { number }",
            "... on Node { number } late",
            "number @include(if: true) late @skip(if: true)",
            "... @include(if: false) { odd } number",
        ];
        for selection in selections {
            let of = |list: &str, next: &str| {
                let selection = selection.replace("next", next);
                let fragment = if selection.contains("...F") { "fragment F on Item { number odd }" } else { "" };
                format!("{{ items: {list} {{ {selection} }} }} {fragment}")
            };
            // Aliases keep the keys the same; the places of both documents are padded to the same columns.
            let ours = answer(&of("many ", "next: next     ")).await;
            let theirs = answer(&of("plain", "next: plainNext")).await;
            assert_eq!(ours, theirs, "{selection}");
            assert!(ours["data"].is_object(), "{selection}: {ours}");
        }
        assert_eq!(answer("{ none { number } }").await, serde_json::json!({ "data": { "none": [] }, "errors": [] }));
    }
}
