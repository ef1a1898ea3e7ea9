//! 32-byte hashes.

use super::from_string;
use alloy_primitives::B256;
use async_graphql::{InputValueResult, Scalar, ScalarType, Value};

/// Thirty-two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub B256);

/// A hash of 32 bytes: `0x` and 64 lower-case hex digits.
#[Scalar]
impl ScalarType for Hash {
    fn parse(value: Value) -> InputValueResult<Self> {
        let read = |text: &str| {
            let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64)?;
            let lower = digits.bytes().all(|byte| !byte.is_ascii_uppercase());
            digits.parse().ok().filter(|_| lower).map(Self)
        };
        from_string(&value, read, "a hash: `0x` and 64 lower-case hex digits")
    }

    fn to_value(&self) -> Value {
        Value::String(format!("0x{}", hex::encode(self.0)))
    }
}
