//! ISO 4217 currency codes.

use super::from_string;
use async_graphql::{InputValueResult, Scalar, ScalarType, Value};

/// Three capital letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyCode(pub String);

/// A currency by its ISO 4217 code: three capital letters, such as `USD`.
#[Scalar]
impl ScalarType for CurrencyCode {
    fn parse(value: Value) -> InputValueResult<Self> {
        let read = |text: &str| {
            let good = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
            good.then(|| Self(text.to_owned()))
        };
        from_string(&value, read, "a currency code of three capital letters, such as `USD`")
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}
