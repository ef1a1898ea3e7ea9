//! The names of keys and channels. All begin with the prefix; what is between the braces decides in which slot of a
//! cluster a key lies, so keys that one script changes together have the same text there.

use super::fault;
use crate::{Result, Scope};
use uuid::Uuid;

/// The names of one installation.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// Names that begin with `prefix`.
    ///
    /// # Errors
    /// `Invalid` for a prefix that could end the part that decides on the slot, or that is none.
    pub(super) fn new(prefix: &str) -> Result<Self> {
        if !Self::is_prefix(prefix) {
            return Err(fault::wrong("the key prefix has 1 to 64 letters, digits, `_`, `.`, `:` and `-`"));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// Whether names may begin so.
    pub(super) fn is_prefix(prefix: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        (1..=64).contains(&prefix.len()) && prefix.bytes().all(plain)
    }

    /// The beginning of all keys of a queue.
    pub(super) fn queue(&self, scope: &Scope, queue: &str) -> String {
        format!("{}{{{}:{queue}}}:", self.prefix, scope.organization_id())
    }

    /// The names of an organisation's queues, each with when something was last enqueued.
    pub(super) fn queues(&self, scope: &Scope) -> String {
        format!("{}{{{}}}:queues", self.prefix, scope.organization_id())
    }

    /// Which queue has a task.
    pub(super) fn task(&self, scope: &Scope, id: Uuid) -> String {
        format!("{}{{{}:t:{}}}:queue", self.prefix, scope.organization_id(), id.simple())
    }

    /// The beginning of all keys of a persona's turns.
    pub(super) fn persona(&self, scope: &Scope, id: Uuid) -> String {
        format!("{}{{{}:p:{}}}:", self.prefix, scope.organization_id(), id.simple())
    }

    /// A session.
    pub(super) fn session(&self, scope: &Scope, id: &str) -> String {
        format!("{}{{{}:s:{id}}}", self.prefix, scope.organization_id())
    }

    /// A counter of windows of this length.
    pub(super) fn counter(&self, scope: &Scope, key: &str, length: &str) -> String {
        format!("{}{{{}:n:{length}:{key}}}", self.prefix, scope.organization_id())
    }

    /// The channel of a topic.
    pub(super) fn topic(&self, scope: &Scope, topic: &str) -> String {
        format!("{}{{{}:l:{topic}}}", self.prefix, scope.organization_id())
    }

    /// A key that is only there to try whether keys can be written.
    pub(super) fn probe(&self) -> String {
        format!("{}:probe", self.prefix)
    }

    /// The key whose node is the place where live events meet their listeners, and a channel nobody listens to.
    pub(super) fn live(&self) -> String {
        format!("{}:live", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_cannot_move_keys_to_another_slot() {
        for prefix in ["", "a{b", "a}b", "a b", "é", &"x".repeat(65)] {
            assert!(Keys::new(prefix).is_err(), "{prefix:?}");
        }
        let keys = Keys::new("app-1:chimera").unwrap();
        let scope = Scope::system(Uuid::nil());
        assert_eq!(keys.queue(&scope, "render"), "app-1:chimera{00000000-0000-0000-0000-000000000000:render}:");
    }
}
