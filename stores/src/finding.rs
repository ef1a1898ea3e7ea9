//! What a look at a store's own state brings up: not an error of a call, but something its operator should know.

use serde::Serialize;

/// Something that works, or seems to, and will hurt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is so: lower case, no full stop.
    pub message: String,
    /// What to do about it: lower case, no full stop.
    pub advice: String,
}

impl Finding {
    /// A finding.
    pub fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }
}
