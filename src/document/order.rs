//! The order of an answer's fields: that of the document, as the specification asks. The executor writes them in the
//! order in which they end.

use async_graphql::{
    Name, Value,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

/// The response keys of a selection in their order, each with what is selected below it. Decided once for a document.
#[derive(Debug, Default)]
pub(super) struct Shape(Vec<(Name, Shape)>);

impl Shape {
    /// The shape of a selection. Type conditions are not looked at: a key that does not apply is not in the answer.
    pub(super) fn of(document: &ExecutableDocument, set: &SelectionSet) -> Self {
        let mut shape = Self::default();
        shape.add(document, set);
        shape
    }

    fn add(&mut self, document: &ExecutableDocument, set: &SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let key = &field.node.response_key().node;
                    let known = self.0.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
                        self.0.push((key.clone(), Self::default()));
                        self.0.len() - 1
                    });
                    if let Some((_, below)) = self.0.get_mut(known) {
                        below.add(document, &field.node.selection_set.node);
                    }
                }
                Selection::InlineFragment(inline) => self.add(document, &inline.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                        self.add(document, &fragment.node.selection_set.node);
                    }
                }
            }
        }
    }

    /// Puts a value's fields in order. What is in order already, as most objects are, is only looked at.
    pub(super) fn apply(&self, value: &mut Value) {
        match value {
            Value::List(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Value::Object(object) if !self.0.is_empty() => {
                if !self.is_ordered(object.keys()) {
                    object.sort_by_key(|key, _| self.place(key));
                }
                // Keys and shapes run in the same order now; a key that was not selected has no shape.
                let mut shapes = self.0.iter();
                for (key, value) in object {
                    if let Some((_, below)) = shapes.find(|(name, _)| same(name, key))
                        && !below.0.is_empty()
                    {
                        below.apply(value);
                    }
                }
            }
            _ => {}
        }
    }

    fn is_ordered<'a>(&self, keys: impl Iterator<Item = &'a Name>) -> bool {
        let mut shapes = self.0.iter();
        keys.into_iter().all(|key| shapes.any(|(name, _)| same(name, key)))
    }

    fn place(&self, key: &Name) -> usize {
        self.0.iter().position(|(name, _)| same(name, key)).unwrap_or(usize::MAX)
    }
}

/// Names of one document share their text, which makes most comparisons one of addresses.
fn same(a: &Name, b: &Name) -> bool {
    std::ptr::eq(a.as_str(), b.as_str()) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::{parse_query, types::DocumentOperations};

    #[test]
    fn fields_stand_in_the_order_of_the_document() {
        let document = parse_query("{ b { z y ...F } a c: d ... on T { e } } fragment F on U { x y z }").unwrap();
        let DocumentOperations::Single(operation) = &document.operations else { panic!("one operation") };
        let shape = Shape::of(&document, &operation.node.selection_set.node);
        let mut value = Value::from_json(serde_json::json!({
            "e": 1, "c": 2, "a": 3, "b": [{ "x": 1, "y": 2, "z": 3 }, null, { "y": 4, "x": 5 }],
        }))
        .unwrap();
        shape.apply(&mut value);
        assert_eq!(
            serde_json::to_string(&value).unwrap(),
            r#"{"b":[{"z":3,"y":2,"x":1},null,{"y":4,"x":5}],"a":3,"c":2,"e":1}"#
        );
    }
}
