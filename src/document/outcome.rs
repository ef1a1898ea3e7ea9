//! What is put right in an answer after it was executed: codes, hidden defects, and nulls in their place.
//!
//! The executor leaves a non-null field that failed out of its object. The specification makes the nearest nullable
//! parent null instead, and a typed client relies on it. Answers without errors are not looked at.

use async_graphql::{
    PathSegment, Positioned, Response, ServerError, Value,
    parser::types::{DocumentOperations, ExecutableDocument, Field, OperationType, Selection, SelectionSet},
    registry::{MetaType, MetaTypeName, Registry},
};

/// Completes an answer.
pub(super) fn complete(registry: &Registry, document: &ExecutableDocument, response: &mut Response) {
    if response.errors.is_empty() {
        // All root fields were skipped: an empty object, not null.
        if response.data == Value::Null {
            response.data = Value::Object(Default::default());
        }
        return;
    }
    for error in &mut response.errors {
        code(error);
    }
    let DocumentOperations::Single(operation) = &document.operations else { return };
    let root = match operation.node.ty {
        OperationType::Query => Some(&registry.query_type),
        OperationType::Mutation => registry.mutation_type.as_ref(),
        OperationType::Subscription => registry.subscription_type.as_ref(),
    };
    let Some(root) = root.and_then(|name| registry.types.get(name)) else { return };
    let sets = [&operation.node.selection_set.node];
    let paths: Vec<_> =
        response.errors.iter().map(|error| error.path.as_slice()).filter(|path| !path.is_empty()).collect();
    if paths.is_empty() {
        return;
    }
    // An object whose every field failed arrives as null.
    if response.data == Value::Null {
        response.data = Value::Object(Default::default());
    }
    // First every null where it belongs, then what they make of their parents: an object that is null already because of
    // one error must not come back because of the next.
    let walk = Walk { registry, document };
    for path in &paths {
        walk.object(&mut response.data, root, &sets, path, Pass::Fill);
    }
    for path in &paths {
        if walk.object(&mut response.data, root, &sets, path, Pass::Propagate) == Fate::Null {
            response.data = Value::Null;
            return;
        }
    }
}

/// Gives an error its code. An error that came in by `?` from some library carries its source and may say anything: it is
/// a defect of the program, written to the log and hidden from the client.
fn code(error: &mut ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_some() {
        return;
    }
    if error.source.is_some() {
        tracing::error!(message = %error.message, path = ?error.path, "a field failed without a code");
        "internal error".clone_into(&mut error.message);
        extensions.set("code", "INTERNAL_ERROR");
    } else {
        extensions.set("code", "BAD_USER_INPUT");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Fill,
    Propagate,
}

#[derive(PartialEq)]
enum Fate {
    Keep,
    /// A null stands where none may: the parent becomes null.
    Null,
}

struct Walk<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
}

impl<'a> Walk<'a> {
    fn object(
        &self,
        value: &mut Value,
        ty: &'a MetaType,
        sets: &[&'a SelectionSet],
        path: &[PathSegment],
        pass: Pass,
    ) -> Fate {
        let Some((PathSegment::Field(key), rest)) = path.split_first() else { return Fate::Keep };
        let Value::Object(object) = value else { return Fate::Keep };
        let mut found = Vec::new();
        sets.iter().for_each(|set| self.collect(set, ty, key, &mut found));
        let Some((field_type, _)) = found.first() else { return Fate::Keep };
        let field_type: &str = field_type;
        let slot = object.entry(async_graphql::Name::new(key)).or_insert(Value::Null);
        let sets: Vec<_> = found.iter().map(|(_, field)| &field.node.selection_set.node).collect();
        self.value(slot, field_type, &sets, rest, pass)
    }

    fn value(
        &self,
        value: &mut Value,
        ty: &'a str,
        sets: &[&'a SelectionSet],
        path: &[PathSegment],
        pass: Pass,
    ) -> Fate {
        match MetaTypeName::create(ty) {
            MetaTypeName::NonNull(inner) => {
                self.value(value, inner, sets, path, pass);
                if pass == Pass::Propagate && *value == Value::Null { Fate::Null } else { Fate::Keep }
            }
            MetaTypeName::List(inner) => {
                if let (Some((PathSegment::Index(index), rest)), Value::List(items)) = (path.split_first(), &mut *value)
                    && let Some(item) = items.get_mut(*index)
                    && self.value(item, inner, sets, rest, pass) == Fate::Null
                {
                    *value = Value::Null;
                }
                Fate::Keep
            }
            MetaTypeName::Named(name) => {
                let Some(ty) = self.registry.types.get(name).filter(|_| !path.is_empty()) else { return Fate::Keep };
                if pass == Pass::Fill && *value == Value::Null {
                    *value = Value::Object(Default::default());
                }
                if self.object(value, ty, sets, path, pass) == Fate::Null {
                    *value = Value::Null;
                }
                Fate::Keep
            }
        }
    }

    /// The fields answered under `key`, with their types. An interface's or union's object may be of several types; fields
    /// that can be merged have the same nullability, so the first that knows the name will do.
    fn collect(
        &self,
        set: &'a SelectionSet,
        parent: &'a MetaType,
        key: &str,
        found: &mut Vec<(&'a str, &'a Positioned<Field>)>,
    ) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) if field.node.response_key().node == *key => {
                    if let Some(meta) = parent.field_by_name(&field.node.name.node) {
                        found.push((&meta.ty, field));
                    }
                }
                Selection::Field(_) => {}
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    let parent = on.and_then(|name| self.registry.types.get(name)).unwrap_or(parent);
                    self.collect(&inline.node.selection_set.node, parent, key, found);
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) else { continue };
                    let on = fragment.node.type_condition.node.on.node.as_str();
                    let parent = self.registry.types.get(on).unwrap_or(parent);
                    self.collect(&fragment.node.selection_set.node, parent, key, found);
                }
            }
        }
    }
}
