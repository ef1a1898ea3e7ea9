//! Integers of any size as decimal strings.

use super::from_string;
use alloy_primitives::U256;
use async_graphql::{InputValueResult, Scalar, ScalarType, Value};

/// An integer as a string of decimal digits, with a leading `-` when negative. Exact at any size, which JSON numbers
/// are not: amounts of tokens and money are never floats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigInt(String);

impl BigInt {
    /// As an amount of a token; `None` when it is negative or above 2^256 - 1.
    pub fn to_u256(&self) -> Option<U256> {
        U256::from_str_radix(&self.0, 10).ok()
    }

    /// As minor units of money; `None` when it does not fit 64 bits.
    pub fn to_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl From<i64> for BigInt {
    fn from(value: i64) -> Self {
        Self(value.to_string())
    }
}

impl From<u64> for BigInt {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl From<U256> for BigInt {
    fn from(value: U256) -> Self {
        Self(value.to_string())
    }
}

fn read(text: &str) -> Option<BigInt> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" && text == "0" || !digits.starts_with('0');
    let plain = !digits.is_empty() && digits.len() <= 78 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (plain && canonical).then(|| BigInt(text.to_owned()))
}

/// An integer as a string of decimal digits, with a leading `-` when negative and no leading zeros; up to 78 digits.
/// Exact at any size, which JSON numbers are not.
#[Scalar]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        from_string(&value, read, "an integer of up to 78 decimal digits without leading zeros")
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_read() {
        for good in ["0", "7", "-7", &U256::MAX.to_string()] {
            assert!(read(good).is_some(), "{good}");
        }
        for bad in ["", "-", "-0", "007", "+1", "1.0", "1e3", " 1", "0x10", "١", &"9".repeat(79)] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
