//! Scalars with strict coercion: what is not of the documented form is refused, never guessed.

mod big_int;
mod currency_code;
mod date_time;
mod duration;
mod hash;
mod url;

pub use big_int::BigInt;
pub use currency_code::CurrencyCode;
pub use date_time::DateTime;
pub use duration::Duration;
pub use hash::Hash;
pub use url::Url;

use async_graphql::{InputValueError, InputValueResult, Value};

/// Reads a string scalar through `read`, which says what is accepted when it refuses.
fn from_string<T: async_graphql::InputType>(
    value: &Value,
    read: impl FnOnce(&str) -> Option<T>,
    accepted: &str,
) -> InputValueResult<T> {
    match value {
        Value::String(text) => read(text).ok_or_else(|| InputValueError::custom(format!("not {accepted}"))),
        _ => Err(InputValueError::custom(format!("expected {accepted}, as a string"))),
    }
}
