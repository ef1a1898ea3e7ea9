//! Takes out of a document the arguments whose variable was not given.
//!
//! The specification treats `f(x: $x)` without a value for a nullable `$x` as `f`: the argument's own default applies,
//! and an input object's field is absent rather than null. The executor would take it for `null`, which in a mutation
//! is the difference between *leave it* and *erase it*.

use async_graphql::{
    Name, Positioned,
    parser::types::{Directive, ExecutableDocument, OperationDefinition, Selection, SelectionSet},
};

type Value = async_graphql_value::Value;

/// Removes every use of the variables `absent` from the operation and its fragments.
pub(super) fn remove(document: &mut ExecutableDocument, absent: &dyn Fn(&str) -> bool) {
    let operation: &mut Positioned<OperationDefinition> = match &mut document.operations {
        async_graphql::parser::types::DocumentOperations::Single(operation) => operation,
        // The engine executes documents of one operation.
        async_graphql::parser::types::DocumentOperations::Multiple(_) => return,
    };
    in_set(&mut operation.node.selection_set.node, absent);
    in_directives(&mut operation.node.directives, absent);
    for fragment in document.fragments.values_mut() {
        in_set(&mut fragment.node.selection_set.node, absent);
    }
}

fn in_set(set: &mut SelectionSet, absent: &dyn Fn(&str) -> bool) {
    for selection in &mut set.items {
        in_directives(selection.node.directives_mut(), absent);
        match &mut selection.node {
            Selection::Field(field) => {
                in_arguments(&mut field.node.arguments, absent);
                in_set(&mut field.node.selection_set.node, absent);
            }
            Selection::InlineFragment(inline) => in_set(&mut inline.node.selection_set.node, absent),
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn in_directives(directives: &mut [Positioned<Directive>], absent: &dyn Fn(&str) -> bool) {
    for directive in directives {
        in_arguments(&mut directive.node.arguments, absent);
    }
}

fn in_arguments(arguments: &mut Vec<(Positioned<Name>, Positioned<Value>)>, absent: &dyn Fn(&str) -> bool) {
    arguments.retain_mut(|(_, value)| keep(&mut value.node, absent));
}

/// Whether the value stays; inside lists an absent variable is null, as the specification says.
fn keep(value: &mut Value, absent: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Variable(name) => !absent(name),
        Value::List(items) => {
            for item in items {
                if !keep(item, absent) {
                    *item = Value::Null;
                }
            }
            true
        }
        Value::Object(fields) => {
            fields.retain(|_, field| keep(field, absent));
            true
        }
        _ => true,
    }
}
