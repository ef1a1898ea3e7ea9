//! `schema.graphql` is what is served, and every part of it is documented.

use async_graphql::parser::{
    parse_schema,
    types::{TypeKind, TypeSystemDefinition},
};
use std::path::PathBuf;

#[test]
fn schema_graphql_is_what_is_served() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == chimera::graphql::sdl(),
        "schema.graphql differs from the schema; look at the difference, then run `chimera schema > schema.graphql`"
    );
}

#[test]
fn every_part_of_the_schema_is_documented() {
    let sdl = chimera::graphql::sdl();
    let mut bare = Vec::new();
    for definition in parse_schema(&sdl).unwrap().definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let definition = definition.node;
        let name = definition.name.node.to_string();
        let mut note = |described: bool, what: String| {
            if !described {
                bare.push(what);
            }
        };
        note(definition.description.is_some(), name.clone());
        match definition.kind {
            TypeKind::Object(object) => fields(&name, object.fields.into_iter().map(|field| field.node), &mut note),
            TypeKind::Interface(interface) => {
                fields(&name, interface.fields.into_iter().map(|field| field.node), &mut note)
            }
            TypeKind::Enum(values) => {
                for value in values.values {
                    note(value.node.description.is_some(), format!("{name}.{}", value.node.value.node));
                }
            }
            TypeKind::InputObject(input) => {
                for field in input.fields {
                    note(field.node.description.is_some(), format!("{name}.{}", field.node.name.node));
                }
            }
            TypeKind::Scalar | TypeKind::Union(_) => {}
        }
    }
    assert!(bare.is_empty(), "these need a description: {bare:#?}");
}

fn fields(
    name: &str,
    fields: impl Iterator<Item = async_graphql::parser::types::FieldDefinition>,
    note: &mut impl FnMut(bool, String),
) {
    for field in fields {
        let at = format!("{name}.{}", field.name.node);
        note(field.description.is_some(), at.clone());
        for argument in field.arguments {
            note(argument.node.description.is_some(), format!("{at}({}:)", argument.node.name.node));
        }
    }
}

#[test]
fn fields_that_cross_into_a_store_are_nullable() {
    // A non-null field that fails takes its parent with it; only what a row itself holds may be non-null.
    let sdl = chimera::graphql::sdl();
    let crossing = ["Connection!", ": RenderStats!", ": Definition!", ": Persona!\n", ": Asset!\n"];
    for line in sdl.lines() {
        for part in crossing {
            // The node of an edge is the row itself, which is there when the edge is.
            let edge = line.trim_start().starts_with("node:");
            assert!(edge || !format!("{line}\n").contains(part), "{line}");
        }
    }
}
