//! Whether an input value fits its type: of literals when a document is first seen, of variables in every request.
//!
//! The executor's fast mode trusts what it is given, and the library's strict validation looks at variables only where
//! they are used. Here every variable is checked against its declared type first, after the specification's
//! *Coercing Variable Values*, and literals that contain variables are checked around them.

use async_graphql::{
    Name, Number, Positioned, Value as ConstValue,
    parser::types::{OperationDefinition, VariableDefinition},
    registry::{MetaInputValue, MetaType, MetaTypeName, Registry},
};

/// A literal or a variable's value, looked at alike.
pub(super) enum Shape<'a, T> {
    Variable(&'a Name),
    Null,
    Number(&'a Number),
    String(&'a str),
    Boolean,
    Enum(&'a Name),
    List(&'a [T]),
    Object(&'a async_graphql::indexmap::IndexMap<Name, T>),
    Binary,
}

pub(super) trait Input: Sized {
    fn shape(&self) -> Shape<'_, Self>;
    /// The value without variables; `None` when it has some.
    fn is_scalar(&self, valid: &dyn Fn(&ConstValue) -> bool) -> bool;
    /// Whether it was written in the document, where an enum value is no string.
    const LITERAL: bool;
}

impl Input for ConstValue {
    const LITERAL: bool = false;

    fn shape(&self) -> Shape<'_, Self> {
        match self {
            ConstValue::Null => Shape::Null,
            ConstValue::Number(number) => Shape::Number(number),
            ConstValue::String(text) => Shape::String(text),
            ConstValue::Boolean(_) => Shape::Boolean,
            ConstValue::Binary(_) => Shape::Binary,
            ConstValue::Enum(name) => Shape::Enum(name),
            ConstValue::List(items) => Shape::List(items),
            ConstValue::Object(fields) => Shape::Object(fields),
        }
    }

    fn is_scalar(&self, valid: &dyn Fn(&ConstValue) -> bool) -> bool {
        valid(self)
    }
}

impl Input for async_graphql_value::Value {
    const LITERAL: bool = true;

    fn shape(&self) -> Shape<'_, Self> {
        match self {
            Self::Variable(name) => Shape::Variable(name),
            Self::Null => Shape::Null,
            Self::Number(number) => Shape::Number(number),
            Self::String(text) => Shape::String(text),
            Self::Boolean(_) => Shape::Boolean,
            Self::Binary(_) => Shape::Binary,
            Self::Enum(name) => Shape::Enum(name),
            Self::List(items) => Shape::List(items),
            Self::Object(fields) => Shape::Object(fields),
        }
    }

    fn is_scalar(&self, valid: &dyn Fn(&ConstValue) -> bool) -> bool {
        // A scalar with a variable inside, such as a JSON object, is known when the request comes.
        self.clone().into_const().is_none_or(|value| valid(&value))
    }
}

/// What does not fit, and where inside the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    path: String,
    reason: String,
}

impl Misfit {
    fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    fn inside(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }

    /// `at "input.items[0].name": …`; never the value itself, which may be a secret.
    pub fn describe(&self, root: &str) -> String {
        if self.path.is_empty() { self.reason.clone() } else { format!("at \"{root}{}\": {}", self.path, self.reason) }
    }
}

/// Where a value stands: the type written there, and whether the place has a default of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'r> {
    pub ty: &'r str,
    pub default: bool,
}

impl<'r> Place<'r> {
    pub fn of(argument: &'r MetaInputValue) -> Self {
        // The registry writes an absent default of a nullable place as none, and `null` as text.
        Self { ty: &argument.ty, default: argument.default_value.as_deref().is_some_and(|text| text != "null") }
    }
}

/// Hears of each variable and its place.
type Variables<'f, 'r> = dyn FnMut(&Name, Place<'r>) + 'f;

/// Checks `value` against the type of its place.
pub(super) fn check<'r, T: Input>(
    registry: &'r Registry,
    place: Place<'r>,
    value: &T,
    variable: &mut Variables<'_, 'r>,
) -> Result<(), Misfit> {
    let shape = value.shape();
    if let Shape::Variable(name) = shape {
        variable(name, place);
        return Ok(());
    }
    let inside = |ty| Place { ty, default: false };
    match MetaTypeName::create(place.ty) {
        MetaTypeName::NonNull(inner) => match shape {
            Shape::Null => Err(expected(place.ty, &shape)),
            _ => check(registry, inside(inner), value, variable),
        },
        MetaTypeName::List(inner) => match shape {
            Shape::Null => Ok(()),
            Shape::List(items) => items.iter().enumerate().try_for_each(|(index, item)| {
                check(registry, inside(inner), item, variable).map_err(|misfit| misfit.inside(&format!("[{index}]")))
            }),
            // A single value stands for a list of one.
            _ => check(registry, inside(inner), value, variable),
        },
        MetaTypeName::Named(_) if matches!(shape, Shape::Null) => Ok(()),
        MetaTypeName::Named(name) => named(registry, name, value, variable),
    }
}

fn named<'r, T: Input>(
    registry: &'r Registry,
    name: &'r str,
    value: &T,
    variable: &mut Variables<'_, 'r>,
) -> Result<(), Misfit> {
    let shape = value.shape();
    match registry.types.get(name) {
        Some(MetaType::Scalar { is_valid, .. }) => {
            let fits = match name {
                "Int" => {
                    matches!(shape, Shape::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()))
                }
                "Float" => matches!(shape, Shape::Number(_)),
                "String" => matches!(shape, Shape::String(_)),
                "Boolean" => matches!(shape, Shape::Boolean),
                "ID" => match shape {
                    Shape::String(_) => true,
                    Shape::Number(number) => number.is_i64() || number.is_u64(),
                    _ => false,
                },
                _ => is_valid.as_ref().is_none_or(|valid| value.is_scalar(&|value| valid(value))),
            };
            if fits { Ok(()) } else { Err(expected(name, &shape)) }
        }
        Some(MetaType::Enum { enum_values, .. }) => {
            let given = match shape {
                Shape::Enum(given) => given.as_str(),
                Shape::String(given) if !T::LITERAL => given,
                _ => return Err(expected(name, &shape)),
            };
            if enum_values.contains_key(given) {
                Ok(())
            } else {
                Err(Misfit::new(format!("the enum {name} has no such value")))
            }
        }
        Some(MetaType::InputObject { input_fields, oneof, .. }) => {
            let Shape::Object(given) = shape else { return Err(expected(name, &shape)) };
            if let Some(unknown) = given.keys().find(|key| !input_fields.contains_key(key.as_str())) {
                // The key is the client's own; cut it so that the answer stays small.
                let unknown: String = unknown.chars().take(64).collect();
                return Err(Misfit::new(format!("{name} has no field \"{unknown}\"")));
            }
            if *oneof && (given.len() != 1 || given.values().any(|value| matches!(value.shape(), Shape::Null))) {
                return Err(Misfit::new(format!("{name} takes exactly one of its fields, and not null")));
            }
            input_fields.values().try_for_each(|field| {
                let inside = |misfit: Misfit| misfit.inside(&format!(".{}", field.name));
                match given.get(field.name.as_str()) {
                    Some(value) => check(registry, Place::of(field), value, variable).map_err(inside),
                    None if field.ty.ends_with('!') && field.default_value.is_none() => {
                        Err(inside(Misfit::new(format!("{} is required", field.ty))))
                    }
                    None => Ok(()),
                }
            })
        }
        // Not an input type, or unknown: the rules of validation say so.
        _ => Ok(()),
    }
}

fn expected<T>(ty: &str, found: &Shape<'_, T>) -> Misfit {
    let found = match found {
        Shape::Variable(_) => "a variable",
        Shape::Null => "null",
        Shape::Number(number) if number.is_f64() => "a fraction",
        Shape::Number(number) if ty == "Int" && number.as_i64().is_none_or(|n| i32::try_from(n).is_err()) => {
            "an integer of more than 32 bits"
        }
        Shape::Number(_) => "an integer",
        Shape::String(_) if matches!(ty, "Int" | "Float" | "Boolean") => "a string",
        Shape::String(_) => "a string of another form",
        Shape::Boolean => "a boolean",
        Shape::Enum(_) => "an enum value",
        Shape::List(_) => "a list",
        Shape::Object(_) => "an object",
        Shape::Binary => "bytes",
    };
    Misfit::new(format!("expected {ty}, found {found}"))
}

/// Whether a variable declared as `variable` may stand at a place: the specification's *All Variable Usages Are Allowed*.
/// The library has this rule, but its visitor never calls it (async-graphql 7.2.1).
pub(super) fn may_stand(variable: &VariableDefinition, place: Place<'_>) -> bool {
    let ty = variable.var_type.node.to_string();
    let default = variable.default_value.as_ref().is_some_and(|value| value.node != ConstValue::Null);
    match (MetaTypeName::create(place.ty), MetaTypeName::create(&ty)) {
        (MetaTypeName::NonNull(_), MetaTypeName::NonNull(_)) => compatible(&ty, place.ty),
        (MetaTypeName::NonNull(inner), _) => (default || place.default) && compatible(&ty, inner),
        _ => compatible(&ty, place.ty),
    }
}

fn compatible(variable: &str, place: &str) -> bool {
    match (MetaTypeName::create(variable), MetaTypeName::create(place)) {
        (MetaTypeName::NonNull(variable), MetaTypeName::NonNull(place)) => compatible(variable, place),
        (_, MetaTypeName::NonNull(_)) => false,
        (MetaTypeName::NonNull(variable), _) => compatible(variable, place),
        (MetaTypeName::List(variable), MetaTypeName::List(place)) => compatible(variable, place),
        (MetaTypeName::Named(variable), MetaTypeName::Named(place)) => variable == place,
        _ => false,
    }
}

/// A variable as its operation declares it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub name: Name,
    /// The type as written, such as `[ID!]!`.
    pub ty: String,
    pub default: Option<ConstValue>,
    /// Whether null may be given. A nullable variable with a default may be used where null may not stand; then null
    /// must not be given for it either.
    pub nullable: bool,
}

/// What an operation declares. `not_null` are the variables used where null may not stand.
pub(super) fn declared(operation: &OperationDefinition, not_null: &dyn Fn(&str) -> bool) -> Vec<Declared> {
    let declare = |definition: &Positioned<VariableDefinition>| {
        let definition = &definition.node;
        let name = definition.name.node.clone();
        Declared {
            nullable: definition.var_type.node.nullable && !not_null(&name),
            ty: definition.var_type.node.to_string(),
            default: definition.default_value.as_ref().map(|value| value.node.clone()),
            name,
        }
    };
    operation.variable_definitions.iter().map(declare).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misfits_say_where_and_never_what() {
        let misfit = Misfit::new("expected Int, found a string").inside("[2]").inside(".items");
        assert_eq!(misfit.describe("input"), "at \"input.items[2]\": expected Int, found a string");
    }
}
