//! Whether fields that share a response key can be answered as one: the specification's *Field Selection Merging*.
//!
//! The library compares the fields of one selection set only (async-graphql 7.2.1). `{ me { x: id } me { x: name } }` would
//! pass, and one of the two would silently be lost when the two answers for `me` are merged.
//!
//! Each level gathers the fields of all sets that will be merged, so every field is looked at once for each object type
//! it may belong to; a budget ends documents built to make that a lot.

use super::{
    limits::{Exceeded, Limits, MAX_DEFINITIONS_FACTOR},
    refusal::{Refusal, Stage},
};
use async_graphql::{
    Positioned, ServerError,
    parser::types::{ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet},
    registry::{MetaField, MetaType, MetaTypeName, Registry},
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A field as it stands in one of the sets to be merged.
#[derive(Clone, Copy)]
struct Entry<'a> {
    parent: Option<&'a MetaType>,
    meta: Option<&'a MetaField>,
    field: &'a Positioned<Field>,
}

type Groups<'a> = BTreeMap<&'a str, Vec<Entry<'a>>>;

/// Checks every operation of a document that passed the other rules.
pub(super) fn check(registry: &Registry, document: &ExecutableDocument, limits: &Limits) -> Result<(), Refusal> {
    let most = limits.max_selections.saturating_mul(MAX_DEFINITIONS_FACTOR);
    let mut merge = Merge { registry, document, most, left: most };
    document.operations.iter().try_for_each(|(_, operation)| merge.operation(operation))
}

struct Merge<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    most: u64,
    left: u64,
}

impl<'a> Merge<'a> {
    fn operation(&mut self, operation: &'a Positioned<OperationDefinition>) -> Result<(), Refusal> {
        let root = match operation.node.ty {
            OperationType::Query => Some(&self.registry.query_type),
            OperationType::Mutation => self.registry.mutation_type.as_ref(),
            OperationType::Subscription => self.registry.subscription_type.as_ref(),
        };
        let root = root.and_then(|name| self.registry.types.get(name));
        let mut groups = Groups::new();
        self.gather(&operation.node.selection_set.node, root, &mut HashSet::new(), &mut groups)?;
        self.same(&groups)
    }

    fn gather(
        &mut self,
        set: &'a SelectionSet,
        parent: Option<&'a MetaType>,
        spread: &mut HashSet<&'a str>,
        groups: &mut Groups<'a>,
    ) -> Result<(), Refusal> {
        for selection in &set.items {
            let Some(left) = self.left.checked_sub(1) else {
                return Err(Exceeded::Selections.refuse(self.most, None, Some(selection.pos)));
            };
            self.left = left;
            match &selection.node {
                Selection::Field(field) => {
                    let meta = parent.and_then(|parent| parent.field_by_name(&field.node.name.node));
                    let key = field.node.response_key().node.as_str();
                    groups.entry(key).or_default().push(Entry { parent, meta, field });
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    let parent = on.map_or(parent, |name| self.registry.types.get(name));
                    self.gather(&inline.node.selection_set.node, parent, spread, groups)?;
                }
                Selection::FragmentSpread(fragment) => {
                    let name = fragment.node.fragment_name.node.as_str();
                    let Some(fragment) = self.document.fragments.get(name).filter(|_| spread.insert(name)) else {
                        continue;
                    };
                    let parent = self.registry.types.get(fragment.node.type_condition.node.on.node.as_str());
                    self.gather(&fragment.node.selection_set.node, parent, spread, groups)?;
                }
            }
        }
        Ok(())
    }

    /// The fields below these, as they will be merged.
    fn below(&mut self, entries: &[Entry<'a>]) -> Result<Groups<'a>, Refusal> {
        let (mut groups, mut spread) = (Groups::new(), HashSet::new());
        for entry in entries {
            let ty = entry.meta.map(|meta| MetaTypeName::concrete_typename(&meta.ty));
            let ty = ty.and_then(|name| self.registry.types.get(name));
            self.gather(&entry.field.node.selection_set.node, ty, &mut spread, &mut groups)?;
        }
        Ok(groups)
    }

    /// Fields that can stand in the same object are the same field with the same arguments, all the way down.
    fn same(&mut self, groups: &Groups<'a>) -> Result<(), Refusal> {
        for (key, entries) in groups {
            alike(key, entries)?;
            let objects: BTreeSet<&str> = entries.iter().filter_map(Entry::object).collect();
            if objects.len() < 2 {
                self.same_in_one_object(key, entries)?;
                continue;
            }
            for object in objects {
                let together = |entry: &&Entry<'a>| entry.object().is_none_or(|name| name == object);
                let together: Vec<_> = entries.iter().filter(together).copied().collect();
                self.same_in_one_object(key, &together)?;
            }
            // Never in one object, but under one key of the answer: the shape must be the same.
            let below = self.below(entries)?;
            self.alike_below(&below)?;
        }
        Ok(())
    }

    fn same_in_one_object(&mut self, key: &str, entries: &[Entry<'a>]) -> Result<(), Refusal> {
        if let Some((first, rest)) = entries.split_first() {
            for other in rest {
                let (left, right) = (&first.field.node, &other.field.node);
                if left.name.node != right.name.node {
                    let why = format!("\"{}\" and \"{}\" are different fields", left.name.node, right.name.node);
                    return Err(conflict(key, &why, first, other));
                }
                if !same_arguments(left, right) {
                    return Err(conflict(key, "they have different arguments", first, other));
                }
            }
        }
        let below = self.below(entries)?;
        if below.is_empty() { Ok(()) } else { self.same(&below) }
    }

    fn alike_below(&mut self, groups: &Groups<'a>) -> Result<(), Refusal> {
        for (key, entries) in groups {
            alike(key, entries)?;
            let below = self.below(entries)?;
            self.alike_below(&below)?;
        }
        Ok(())
    }
}

impl<'a> Entry<'a> {
    /// The object type it belongs to; `None` below an interface or union, where it may belong to several.
    fn object(&self) -> Option<&'a str> {
        self.parent.filter(|parent| !parent.is_abstract()).map(MetaType::name)
    }
}

fn alike(key: &str, entries: &[Entry<'_>]) -> Result<(), Refusal> {
    let mut typed = entries.iter().filter_map(|entry| Some((entry, entry.meta?)));
    let Some((first, meta)) = typed.next() else { return Ok(()) };
    let leaf = |entry: &Entry<'_>| entry.field.node.selection_set.node.items.is_empty();
    match typed.find(|(entry, other)| !same_shape(&meta.ty, &other.ty, leaf(first) || leaf(entry))) {
        None => Ok(()),
        Some((other, with)) => {
            let why = format!("they answer {} and {}", meta.ty, with.ty);
            Err(conflict(key, &why, first, other))
        }
    }
}

/// Lists and nulls at the same places, and the same leaf; the fields of objects are compared on their own.
fn same_shape(left: &str, right: &str, leaf: bool) -> bool {
    match (MetaTypeName::create(left), MetaTypeName::create(right)) {
        (MetaTypeName::NonNull(left), MetaTypeName::NonNull(right)) => same_shape(left, right, leaf),
        (MetaTypeName::List(left), MetaTypeName::List(right)) => same_shape(left, right, leaf),
        (MetaTypeName::Named(left), MetaTypeName::Named(right)) => !leaf || left == right,
        _ => false,
    }
}

fn same_arguments(left: &Field, right: &Field) -> bool {
    let same = |(name, value): &(Positioned<async_graphql::Name>, Positioned<async_graphql_value::Value>)| {
        right.get_argument(&name.node).is_some_and(|other| other.node == value.node)
    };
    left.arguments.len() == right.arguments.len() && left.arguments.iter().all(same)
}

fn conflict(key: &str, why: &str, first: &Entry<'_>, other: &Entry<'_>) -> Refusal {
    let key: String = key.chars().take(64).collect();
    let message = format!("the fields under \"{key}\" cannot be answered as one: {why}; give one of them an alias");
    let mut error = ServerError::new(message, Some(first.field.pos));
    error.locations.push(other.field.pos);
    Refusal::new(Stage::Validate, error)
}
