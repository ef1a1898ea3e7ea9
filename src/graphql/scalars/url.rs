//! Absolute URLs.

use super::from_string;
use async_graphql::{InputValueResult, Scalar, ScalarType, Value};

/// An absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

/// An absolute `http` or `https` URL of at most 2,048 bytes.
#[Scalar(name = "URL")]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        let read = |text: &str| {
            let url = ::url::Url::parse(text).ok().filter(|_| text.len() <= 2048)?;
            (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| Self(text.to_owned()))
        };
        from_string(&value, read, "an absolute http or https URL of at most 2,048 bytes")
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}
