//! Instants after RFC 3339.

use super::from_string;
use async_graphql::{InputValueResult, Scalar, ScalarType, Value};
use chrono::{SecondsFormat, SubsecRound, Utc};

/// An instant, kept to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub chrono::DateTime<Utc>);

impl From<chrono::DateTime<Utc>> for DateTime {
    fn from(at: chrono::DateTime<Utc>) -> Self {
        Self(at)
    }
}

/// An instant after RFC 3339 with its offset, such as `2026-01-31T08:30:00Z`; kept to the microsecond, answered in UTC.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let read = |text: &str| {
            // RFC 3339 wants the `T`; the library also takes a space.
            let strict = text.as_bytes().get(10).is_some_and(|byte| *byte == b'T');
            let at = chrono::DateTime::parse_from_rfc3339(text).ok().filter(|_| strict)?;
            Some(Self(at.with_timezone(&Utc).trunc_subsecs(6)))
        };
        from_string(&value, read, "a date and time after RFC 3339 with an offset, such as `2026-01-31T08:30:00Z`")
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}
