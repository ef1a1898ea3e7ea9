//! The estimate of an operation's complexity, compiled once per document and evaluated for each request's variables.
//!
//! - Every field costs 1; `__typename` costs nothing.
//! - A connection multiplies what its `edges` and `nodes` cost by its page: `first` or `last` when given, otherwise
//!   the default page size. Its other fields (`pageInfo`, `totalCount`, facets) count once.
//! - Any other field with `first` or `last` multiplies all of its fields by it.
//! - `nodes(ids: …)`, `_entities(representations: …)` multiply by the number of ids.
//! - Any other list of objects counts as [`UNPAGED`] of them, a list of scalars as one.
//! - Nothing is multiplied inside `__schema` and `__type`.
//!
//! `@skip` and `@include` are not looked at: the estimate is an upper bound of what the document can ask for.

use async_graphql::{Name, Value, Variables};
use std::sync::Arc;

/// How many objects a list without a page is taken for.
pub const UNPAGED: u64 = 10;

/// How often a part counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Times {
    /// Always as often.
    Fixed(u64),
    /// As often as an integer variable says; `absent` when it says nothing.
    Variable { name: Name, absent: u64 },
    /// Once for each element of a list variable.
    Length(Name),
}

impl Times {
    fn evaluate(&self, variables: &Variables) -> u64 {
        match self {
            Times::Fixed(times) => *times,
            Times::Variable { name, absent } => match variables.get(name) {
                Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
                _ => *absent,
            },
            Times::Length(name) => match variables.get(name) {
                Some(Value::List(items)) => items.len() as u64,
                Some(Value::Null) | None => 0,
                Some(_) => 1,
            },
        }
    }
}

/// A sum of what is known and of what depends on variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    known: u64,
    parts: Vec<(Times, Arc<Cost>)>,
}

impl Cost {
    /// One field.
    pub fn one() -> Self {
        Self { known: 1, parts: Vec::new() }
    }

    /// Adds `times` × `cost`. Shared, not copied: a fragment spread a hundred times is held once.
    pub fn add(&mut self, times: Times, cost: &Arc<Cost>) {
        match times {
            Times::Fixed(0) => {}
            Times::Fixed(times) if cost.parts.is_empty() => {
                self.known = self.known.saturating_add(times.saturating_mul(cost.known));
            }
            times if cost.known > 0 || !cost.parts.is_empty() => self.parts.push((times, Arc::clone(cost))),
            _ => {}
        }
    }

    /// The value for these variables. The work is bounded by the number of fields, which has its own limit.
    pub fn evaluate(&self, variables: &Variables) -> u64 {
        self.parts.iter().fold(self.known, |sum, (times, cost)| {
            let times = times.evaluate(variables);
            // A part that does not count needs no look, and cannot overflow.
            let part = if times == 0 { 0 } else { times.saturating_mul(cost.evaluate(variables)) };
            sum.saturating_add(part)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::value;

    #[test]
    fn variables_multiply_and_nothing_overflows() {
        let mut inner = Cost::one();
        inner.add(Times::Variable { name: Name::new("m"), absent: 20 }, &Arc::new(Cost::one()));
        let mut outer = Cost::one();
        outer.add(Times::Variable { name: Name::new("n"), absent: 20 }, &Arc::new(inner));
        let with = |variables| outer.evaluate(&Variables::from_value(variables));
        assert_eq!(with(value!({})), 1 + 20 * 21);
        assert_eq!(with(value!({ "n": 5, "m": 3 })), 1 + 5 * 4);
        assert_eq!(with(value!({ "n": 0 })), 1);
        assert_eq!(with(value!({ "n": (-5) })), 1);
        assert_eq!(with(value!({ "n": (u64::MAX), "m": (u64::MAX) })), u64::MAX);
    }

    #[test]
    fn lists_count_their_elements() {
        let mut cost = Cost::default();
        cost.add(Times::Length(Name::new("ids")), &Arc::new(Cost::one()));
        let with = |variables| cost.evaluate(&Variables::from_value(variables));
        assert_eq!(with(value!({ "ids": [1, 2, 3] })), 3);
        assert_eq!(with(value!({ "ids": "a" })), 1, "a single value is a list of one");
        assert_eq!(with(value!({ "ids": null })), 0);
    }
}
