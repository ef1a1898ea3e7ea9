//! One walk over a new document: what it would cost, and whether it keeps the limits.
//!
//! Fragments are measured once and remembered, so a document in which fragments multiply each other (`{...A ...A}`,
//! `A` of two `B`s, and so on) costs no more to refuse than to read. The walk knows the types, but it is no validation:
//! what it does not recognise it leaves to the rules that follow.

use super::{
    cost::{Cost, Times, UNPAGED},
    limits::{Exceeded, Limits, MAX_DEFINITIONS_FACTOR, MAX_NESTING},
    refusal::{Refusal, Stage},
    values::{self, Place},
};
use async_graphql::{
    Name, Pos, Positioned, ServerError,
    parser::types::{
        Directive, ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
    },
    registry::{MetaField, MetaInputValue, MetaType, MetaTypeName, Registry},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

type Value = async_graphql_value::Value;
type Result<T> = std::result::Result<T, Refusal>;

/// Lists of the schema (`fields`, `interfaces`, …) inside each other that an introspection query may ask for. Tools need
/// one; each level more multiplies the answer by the size of the schema.
const MAX_INTROSPECTION_LISTS: u32 = 2;

/// What a selection set amounts to with its fragments put in place.
#[derive(Clone, Default)]
struct Size {
    depth: u64,
    nesting: u32,
    selections: u64,
    roots: u64,
    aliases: u64,
    directives: u64,
    introspection: u32,
    /// What counts once.
    once: Cost,
    /// What counts for each row, when this is the selection set of a connection.
    rows: Cost,
}

/// What is known of an operation before anything runs.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub depth: u64,
    pub cost: Arc<Cost>,
    /// Variables that are used where null may not stand.
    pub not_null: HashSet<Name>,
}

/// A variable where it is used.
struct Usage<'a> {
    name: Name,
    place: Place<'a>,
    at: Pos,
}

enum State {
    UnderWay,
    Done(Arc<Size>),
}

/// Walks one document.
pub(super) struct Walk<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    limits: &'a Limits,
    introspection: bool,
    fragments: HashMap<&'a str, State>,
    total: u64,
    /// Of the definition being walked.
    usages: Vec<Usage<'a>>,
    usages_of: HashMap<&'a str, Vec<Usage<'a>>>,
    /// Literals and variables that do not fit.
    pub misfits: Vec<ServerError>,
}

impl<'a> Walk<'a> {
    pub fn new(
        registry: &'a Registry,
        document: &'a ExecutableDocument,
        limits: &'a Limits,
        introspection: bool,
    ) -> Self {
        Self {
            registry,
            document,
            limits,
            introspection,
            fragments: HashMap::new(),
            total: 0,
            usages: Vec::new(),
            usages_of: HashMap::new(),
            misfits: Vec::new(),
        }
    }

    /// Measures the fragments, also those that nothing uses: validation walks them all.
    pub fn fragments(&mut self) -> Result<()> {
        let document = self.document;
        document.fragments.iter().try_for_each(|(name, fragment)| self.fragment(name, fragment.pos, 1).map(drop))
    }

    /// Measures one operation and holds it against the limits.
    pub fn operation(&mut self, operation: &'a Positioned<OperationDefinition>) -> Result<Measured> {
        let root = match operation.node.ty {
            OperationType::Query => Some(&self.registry.query_type),
            OperationType::Mutation => self.registry.mutation_type.as_ref(),
            OperationType::Subscription => self.registry.subscription_type.as_ref(),
        };
        let root = root.and_then(|name| self.registry.types.get(name));
        self.usages.clear();
        self.variable_types(operation)?;
        self.directives(&operation.node.directives);
        let mut size = self.set(&operation.node.selection_set.node, root, 1)?;
        let of_variables =
            operation.node.variable_definitions.iter().map(|variable| variable.node.directives.len() as u64);
        let own = operation.node.directives.len() as u64 + of_variables.sum::<u64>();
        size.directives = size.directives.saturating_add(own);
        let limits = self.limits;
        for (exceeded, limit, actual) in [
            (Exceeded::Depth, limits.max_depth, size.depth),
            (Exceeded::Nesting, u64::from(MAX_NESTING), u64::from(size.nesting)),
            (Exceeded::Selections, limits.max_selections, size.selections),
            (Exceeded::RootFields, limits.max_root_fields, size.roots),
            (Exceeded::Aliases, limits.max_aliases, size.aliases),
            (Exceeded::Directives, limits.max_directives, size.directives),
            (Exceeded::Introspection, u64::from(MAX_INTROSPECTION_LISTS), u64::from(size.introspection)),
        ] {
            if actual > limit {
                return Err(exceeded.refuse(limit, Some(actual), Some(operation.pos)));
            }
        }
        let not_null = self.variables(operation);
        Ok(Measured { depth: size.depth, cost: Arc::new(size.once), not_null })
    }

    /// Refuses variables of unknown types and of types that are no input: the rules of validation would panic on some.
    fn variable_types(&self, operation: &Positioned<OperationDefinition>) -> Result<()> {
        for variable in &operation.node.variable_definitions {
            let ty = variable.node.var_type.node.to_string();
            let known = self.registry.types.get(MetaTypeName::concrete_typename(&ty));
            if !known.is_some_and(MetaType::is_input) {
                let name = &variable.node.name.node;
                let message = format!("the variable \"${name}\" has the type {ty}, which is not an input type");
                return Err(Refusal::new(Stage::Validate, ServerError::new(message, Some(variable.pos))));
            }
        }
        Ok(())
    }

    /// Holds each use of a variable, also in fragments, against its declaration. Gives the nullable ones that are used
    /// where null may not stand, which a default makes legal.
    fn variables(&mut self, operation: &Positioned<OperationDefinition>) -> HashSet<Name> {
        let mut not_null = HashSet::new();
        let mut reached = HashSet::new();
        reach(self.document, &operation.node.selection_set.node, &mut reached);
        let of_fragments = reached.iter().filter_map(|name| self.usages_of.get(name)).flatten();
        for usage in self.usages.iter().chain(of_fragments) {
            let declared = operation.node.variable_definitions.iter();
            // Undeclared ones are named by validation.
            let Some(variable) = declared.map(|variable| &variable.node).find(|it| it.name.node == usage.name) else {
                continue;
            };
            if !values::may_stand(variable, usage.place) {
                let (ty, place) = (&variable.var_type.node, usage.place.ty);
                let message =
                    format!("the variable \"${}\" of type {ty} is used where {place} is expected", usage.name);
                self.misfits.push(ServerError::new(message, Some(usage.at)));
            } else if usage.place.ty.ends_with('!') && variable.var_type.node.nullable {
                not_null.insert(usage.name.clone());
            }
        }
        not_null
    }

    fn set(&mut self, set: &'a SelectionSet, parent: Option<&'a MetaType>, nesting: u32) -> Result<Size> {
        let mut size = Size { nesting: 1, ..Size::default() };
        for selection in &set.items {
            let at = selection.pos;
            // Checked on the way down as well, so that the walk itself cannot exhaust the stack.
            if nesting > MAX_NESTING {
                return Err(Exceeded::Nesting.refuse(u64::from(MAX_NESTING), None, Some(at)));
            }
            self.directives(selection.node.directives());
            size.directives = size.directives.saturating_add(selection.node.directives().len() as u64);
            match &selection.node {
                Selection::Field(field) => self.field(field, parent, nesting, &mut size)?,
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    // An unknown fragment counts as one selection; validation names it.
                    let inner = self.fragment(name, at, nesting + 1)?;
                    size.put(inner.as_deref().unwrap_or(&Size::default()));
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map(|condition| condition.node.on.node.as_str());
                    let parent = on.map_or(parent, |name| self.registry.types.get(name));
                    let inner = self.set(&inline.node.selection_set.node, parent, nesting + 1)?;
                    size.put(&inner);
                }
            }
            if size.selections > self.limits.max_selections {
                return Err(Exceeded::Selections.refuse(self.limits.max_selections, None, Some(at)));
            }
        }
        Ok(size)
    }

    fn fragment(&mut self, name: &'a str, at: Pos, nesting: u32) -> Result<Option<Arc<Size>>> {
        match self.fragments.get(name) {
            Some(State::Done(size)) => return Ok(Some(Arc::clone(size))),
            Some(State::UnderWay) => {
                let message = format!("the fragment \"{name}\" contains itself");
                return Err(Refusal::new(Stage::Validate, ServerError::new(message, Some(at))));
            }
            None => {}
        }
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(None) };
        self.fragments.insert(name, State::UnderWay);
        let parent = self.registry.types.get(fragment.node.type_condition.node.on.node.as_str());
        let outside = std::mem::take(&mut self.usages);
        self.directives(&fragment.node.directives);
        let mut size = self.set(&fragment.node.selection_set.node, parent, nesting)?;
        let own = std::mem::replace(&mut self.usages, outside);
        self.usages_of.insert(name, own);
        size.directives = size.directives.saturating_add(fragment.node.directives.len() as u64);
        if size.nesting > MAX_NESTING {
            return Err(Exceeded::Nesting.refuse(u64::from(MAX_NESTING), None, Some(at)));
        }
        self.total = self.total.saturating_add(size.selections);
        let most = self.limits.max_selections.saturating_mul(MAX_DEFINITIONS_FACTOR);
        if self.total > most {
            return Err(Exceeded::Selections.refuse(most, None, Some(at)));
        }
        let size = Arc::new(size);
        self.fragments.insert(name, State::Done(Arc::clone(&size)));
        Ok(Some(size))
    }

    fn field(
        &mut self,
        field: &'a Positioned<Field>,
        parent: Option<&'a MetaType>,
        nesting: u32,
        size: &mut Size,
    ) -> Result<()> {
        let name = field.node.name.node.as_str();
        if !self.introspection && matches!(name, "__schema" | "__type") {
            let mut error = ServerError::new("introspection is switched off (server.introspection)", Some(field.pos));
            error.extensions.get_or_insert_default().set("code", "INTROSPECTION_DISABLED");
            return Err(Refusal::new(Stage::Validate, error));
        }
        let meta = parent.and_then(|parent| parent.field_by_name(name));
        if let Some(meta) = meta {
            self.arguments(&field.node.arguments, &meta.args);
        }
        let named = meta.map(|meta| MetaTypeName::concrete_typename(&meta.ty));
        let ty = named.and_then(|name| self.registry.types.get(name));
        let inner = self.set(&field.node.selection_set.node, ty, nesting + 1)?;

        size.depth = size.depth.max(inner.depth + 1);
        size.nesting = size.nesting.max(inner.nesting + 1);
        size.selections = size.selections.saturating_add(inner.selections).saturating_add(1);
        size.roots = size.roots.saturating_add(1);
        size.aliases = size.aliases.saturating_add(inner.aliases).saturating_add(u64::from(field.node.alias.is_some()));
        size.directives = size.directives.saturating_add(inner.directives);
        let parent = parent.map(MetaType::name).unwrap_or_default();
        let lists = parent == "__Type" && matches!(name, "fields" | "interfaces" | "possibleTypes" | "inputFields");
        size.introspection = size.introspection.max(inner.introspection + u32::from(lists));
        if name != "__typename" {
            let cost = Arc::new(self.cost(&field.node, meta, ty, inner));
            let rows = parent.ends_with("Connection") && matches!(name, "edges" | "nodes");
            let into = if rows { &mut size.rows } else { &mut size.once };
            into.add(Times::Fixed(1), &cost);
        }
        Ok(())
    }

    fn cost(&self, field: &Field, meta: Option<&MetaField>, ty: Option<&MetaType>, inner: Size) -> Cost {
        let mut cost = Cost::one();
        let Size { once, rows, .. } = inner;
        let (once, rows) = (Arc::new(once), Arc::new(rows));
        let (Some(meta), Some(ty)) = (meta, ty) else {
            cost.add(Times::Fixed(1), &once);
            return cost;
        };
        if ty.name().ends_with("Connection") {
            let page = self.page(field, meta).unwrap_or(Times::Fixed(self.limits.default_page_size.into()));
            cost.add(Times::Fixed(1), &once);
            cost.add(page, &rows);
            return cost;
        }
        let list = MetaTypeName::create(&meta.ty).is_list() && ty.is_composite();
        let times = match self.page(field, meta).or_else(|| keys(field)) {
            Some(times) => times,
            None if list && !ty.name().starts_with("__") && !is_rows(field) => Times::Fixed(UNPAGED),
            None => Times::Fixed(1),
        };
        cost.add(times.clone(), &once);
        // Only reached with a fragment on a connection where none stands; validation refuses it.
        cost.add(times, &rows);
        cost
    }

    /// The page a field asks for; `None` when it takes no page argument or none is given and none is its default.
    fn page(&self, field: &Field, meta: &MetaField) -> Option<Times> {
        let fallback = |argument: &MetaInputValue| argument.default_value.as_ref().and_then(|text| text.parse().ok());
        ["first", "last"].into_iter().find_map(|name| {
            let argument = meta.args.get(name)?;
            let absent = fallback(argument);
            match field.get_argument(name).map(|value| &value.node) {
                Some(Value::Number(number)) => Some(Times::Fixed(number.as_u64().unwrap_or(0))),
                Some(Value::Variable(variable)) => {
                    // With `first: $a, last: $b` one of the two is null; the other then says how many.
                    let other = if name == "first" { "last" } else { "first" };
                    let absent = match field.get_argument(other).map(|value| &value.node) {
                        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
                        Some(Value::Variable(_)) => self.limits.max_page_size.into(),
                        _ => absent.unwrap_or(self.limits.default_page_size.into()),
                    };
                    Some(Times::Variable { name: variable.clone(), absent })
                }
                _ => absent.map(Times::Fixed),
            }
        })
    }

    fn directives(&mut self, directives: &'a [Positioned<Directive>]) {
        let registry = self.registry;
        for directive in directives {
            if let Some(meta) = registry.directives.get(directive.node.name.node.as_str()) {
                self.arguments(&directive.node.arguments, &meta.args);
            }
        }
    }

    fn arguments(
        &mut self,
        given: &[(Positioned<Name>, Positioned<Value>)],
        known: &'a async_graphql::indexmap::IndexMap<String, MetaInputValue>,
    ) {
        for (name, value) in given {
            let Some(argument) = known.get(name.node.as_str()) else { continue };
            let (usages, at) = (&mut self.usages, value.pos);
            let mut seen = |name: &Name, place| usages.push(Usage { name: name.clone(), place, at });
            if let Err(misfit) = values::check(self.registry, Place::of(argument), &value.node, &mut seen) {
                let root = name.node.as_str();
                let message = format!("the argument \"{root}\" does not fit: {}", misfit.describe(root));
                self.misfits.push(ServerError::new(message, Some(value.pos)));
            }
        }
    }
}

impl Size {
    /// Takes the place of a fragment in this selection set.
    fn put(&mut self, fragment: &Size) {
        self.depth = self.depth.max(fragment.depth);
        self.nesting = self.nesting.max(fragment.nesting + 1);
        self.selections = self.selections.saturating_add(fragment.selections).saturating_add(1);
        self.roots = self.roots.saturating_add(fragment.roots);
        self.aliases = self.aliases.saturating_add(fragment.aliases);
        self.directives = self.directives.saturating_add(fragment.directives);
        self.introspection = self.introspection.max(fragment.introspection);
        self.once.add(Times::Fixed(1), &Arc::new(fragment.once.clone()));
        self.rows.add(Times::Fixed(1), &Arc::new(fragment.rows.clone()));
    }
}

/// `edges` and `nodes` of a connection and `rows` of a report are multiplied by its page already.
fn is_rows(field: &Field) -> bool {
    matches!(field.name.node.as_str(), "edges" | "nodes" | "rows") && field.arguments.is_empty()
}

/// Fields that take a list of keys answer one object for each.
fn keys(field: &Field) -> Option<Times> {
    let value = ["ids", "representations"].iter().find_map(|name| field.get_argument(name))?;
    Some(match &value.node {
        Value::List(items) => Times::Fixed(items.len() as u64),
        Value::Variable(name) => Times::Length(name.clone()),
        _ => Times::Fixed(1),
    })
}

/// The names of the fragments that a selection set reaches.
pub(super) fn reach<'a>(document: &'a ExecutableDocument, set: &'a SelectionSet, reached: &mut HashSet<&'a str>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => reach(document, &field.node.selection_set.node, reached),
            Selection::InlineFragment(inline) => reach(document, &inline.node.selection_set.node, reached),
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if reached.insert(name)
                    && let Some(fragment) = document.fragments.get(name)
                {
                    reach(document, &fragment.node.selection_set.node, reached);
                }
            }
        }
    }
}
