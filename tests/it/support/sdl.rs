//! The served schema as data, for tests that must cover all of it.

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition},
};
use std::collections::BTreeMap;

/// The types of the schema by name.
pub struct Sdl(BTreeMap<String, TypeKind>);

impl Sdl {
    /// The schema that is served.
    pub fn read() -> Self {
        let types = parse_schema(chimera::graphql::sdl()).unwrap().definitions.into_iter().filter_map(|definition| {
            let TypeSystemDefinition::Type(definition) = definition else { return None };
            Some((definition.node.name.node.to_string(), definition.node.kind))
        });
        Self(types.collect())
    }

    /// The names of all object types.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, kind)| matches!(kind, TypeKind::Object(_))).map(|(name, _)| name.as_str())
    }

    /// The fields of an object or interface; none for other types.
    pub fn fields(&self, name: &str) -> Vec<&FieldDefinition> {
        match self.0.get(name) {
            Some(TypeKind::Object(object)) => object.fields.iter().map(|field| &field.node).collect(),
            Some(TypeKind::Interface(interface)) => interface.fields.iter().map(|field| &field.node).collect(),
            _ => Vec::new(),
        }
    }

    /// The fields of an input object; none for other types.
    pub fn inputs(&self, name: &str) -> Vec<&InputValueDefinition> {
        match self.0.get(name) {
            Some(TypeKind::InputObject(input)) => input.fields.iter().map(|field| &field.node).collect(),
            _ => Vec::new(),
        }
    }

    /// The values of an enum; none for other types.
    pub fn values(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(TypeKind::Enum(values)) => {
                values.values.iter().map(|value| value.node.value.node.to_string()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The members of a union; none for other types.
    pub fn members(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(TypeKind::Union(union)) => union.members.iter().map(|member| member.node.to_string()).collect(),
            _ => Vec::new(),
        }
    }

    /// Where ids can be put in an argument, such as `input.tasks.personaId`.
    pub fn id_paths(&self, argument: &InputValueDefinition) -> Vec<String> {
        let mut paths = Vec::new();
        self.ids_below(argument, "", &mut Vec::new(), &mut paths);
        paths
    }

    fn ids_below(&self, value: &InputValueDefinition, above: &str, types: &mut Vec<String>, into: &mut Vec<String>) {
        let name = named(&value.ty.node);
        let path = format!("{above}{}", value.name.node);
        if name == "ID" {
            into.push(path);
        } else if !types.iter().any(|seen| seen == name) {
            types.push(name.to_owned());
            self.inputs(name).into_iter().for_each(|field| self.ids_below(field, &format!("{path}."), types, into));
            types.pop();
        }
    }
}

/// The name of a type without its lists and exclamation marks.
pub fn named(ty: &Type) -> &str {
    let mut base = &ty.base;
    loop {
        match base {
            BaseType::Named(name) => return name,
            BaseType::List(inner) => base = &inner.base,
        }
    }
}

/// Whether a field is a list.
pub fn is_list(field: &FieldDefinition) -> bool {
    matches!(field.ty.node.base, BaseType::List(_))
}

/// Whether an argument must be given.
pub fn required(argument: &InputValueDefinition) -> bool {
    !argument.ty.node.nullable && argument.default_value.is_none()
}
