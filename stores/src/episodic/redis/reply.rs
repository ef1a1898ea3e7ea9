//! Reading the answers of scripts: lists of text, numbers and nothing.

use super::fault;
use crate::Result;
use ::redis::Value;
use chrono::{DateTime, Utc};

/// The items of a list.
pub(super) fn items(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        _ => Err(fault::senseless()),
    }
}

/// The items of a list, or of names and values, two by two.
pub(super) fn pairs(value: Value) -> Result<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = value {
        return Ok(pairs);
    }
    let mut items = items(value)?.into_iter();
    Ok(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
}

/// A text, or none.
pub(super) fn text(value: Value) -> Result<Option<String>> {
    match value {
        Value::Nil => Ok(None),
        Value::SimpleString(text) => Ok(Some(text)),
        Value::Int(number) => Ok(Some(number.to_string())),
        Value::BulkString(bytes) => String::from_utf8(bytes).map(Some).map_err(fault::corrupt),
        _ => Err(fault::senseless()),
    }
}

/// A number.
pub(super) fn number(value: Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(number),
        value => parse(text(value)?),
    }
}

/// What is written in a text that must be there.
pub(super) fn parse<T: std::str::FromStr>(text: Option<String>) -> Result<T> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| fault::corrupt("a field is missing or no number"))
}

/// A time from microseconds.
pub(super) fn time(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| fault::corrupt("a time is out of range"))
}

/// A list that is read from its beginning.
pub(super) struct Reader(std::vec::IntoIter<Value>);

impl Reader {
    /// Of a list.
    pub(super) fn new(value: Value) -> Result<Self> {
        Ok(Self(items(value)?.into_iter()))
    }

    /// The next item.
    pub(super) fn next(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(fault::senseless)
    }

    /// The next item as text, or none.
    pub(super) fn text(&mut self) -> Result<Option<String>> {
        text(self.next()?)
    }

    /// The next item as what is written in it; it must be there.
    pub(super) fn parse<T: std::str::FromStr>(&mut self) -> Result<T> {
        parse(self.text()?)
    }

    /// The next item as a time.
    pub(super) fn time(&mut self) -> Result<DateTime<Utc>> {
        time(self.parse()?)
    }
}
