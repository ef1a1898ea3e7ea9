//! Opaque, signed cursors: a list's fingerprint and a position in it.
//!
//! A cursor is base64url of `version ‖ list (4 bytes) ‖ position (JSON) ‖ HMAC-SHA256 (first 8 bytes)`. The list's
//! fingerprint keeps a cursor of one list or order out of another; the signature keeps clients from building their own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chimera_stores::Position;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const VERSION: u8 = 1;
const SIGNATURE_BYTES: usize = 8;

/// Signs and reads cursors.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// A key derived from the installation's secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(Sha256::new().chain_update(b"chimera cursor").chain_update(secret).finalize().into())
    }

    /// The cursor of a position in a list.
    pub fn encode(&self, list: ListId, position: &Position) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&list.0);
        // A position is a number or a text and an id: it always has a JSON form.
        bytes.extend(serde_json::to_vec(position).unwrap_or_default());
        let signature = self.sign(&bytes);
        bytes.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position a cursor names in this list; `None` when it was made elsewhere.
    pub fn decode(&self, list: ListId, cursor: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signed, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE_BYTES)?)?;
        if !bool::from(self.sign(signed).ct_eq(signature)) {
            return None;
        }
        let (head, position) = signed.split_at_checked(5)?;
        let (version, fingerprint) = head.split_first()?;
        if *version != VERSION || fingerprint != list.0 {
            return None;
        }
        serde_json::from_slice(position).ok()
    }

    fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut full = [0; SIGNATURE_BYTES];
        if let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            let digest = mac.chain_update(bytes).finalize().into_bytes();
            for (to, from) in full.iter_mut().zip(digest) {
                *to = from;
            }
        }
        full
    }
}

/// Which list a cursor belongs to: a fingerprint of its type and order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListId([u8; 4]);

impl ListId {
    /// The fingerprint of a list's name and order, such as `videos` and `CREATED_AT DESC`.
    pub fn new(name: &str, order: &str) -> Self {
        // FNV-1a: made for every page, and it guards against a mistake only; against forgery stands the signature.
        let bytes = name.bytes().chain([0]).chain(order.bytes());
        let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self(hash.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimera_stores::SortValue;
    use proptest::prelude::*;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn a_cursor_comes_back_and_nothing_else_is_accepted(value in any::<i64>(), id in any::<u128>(), flip in 0..40usize) {
            let key = CursorKey::new(b"secret");
            let list = ListId::new("videos", "ID");
            let position = Position { value: SortValue::Int(value), id: Uuid::from_u128(id) };
            let cursor = key.encode(list, &position);
            prop_assert_eq!(key.decode(list, &cursor), Some(position));
            prop_assert_eq!(key.decode(ListId::new("posts", "ID"), &cursor), None);
            prop_assert_eq!(CursorKey::new(b"other").decode(list, &cursor), None);
            let mut forged = cursor.into_bytes();
            forged[flip] = if forged[flip] == b'A' { b'B' } else { b'A' };
            prop_assert_eq!(key.decode(list, &String::from_utf8(forged).unwrap()), None);
        }

        #[test]
        fn any_text_is_refused(text in ".{0,80}") {
            prop_assert_eq!(CursorKey::new(b"secret").decode(ListId::new("videos", "ID"), &text), None);
        }
    }
}
