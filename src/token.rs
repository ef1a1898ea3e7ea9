//! Bearer tokens of programs: how one is made, and the hash under which the database knows it.
//!
//! A token carries 256 random bits, so a plain SHA-256 is enough to keep: there is nothing to guess. The token itself is
//! never stored or logged.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// What every token begins with, so that people and secret scanners recognise one.
const MARK: &str = "chim_";
/// Characters of a token that are kept readable, to recognise it by: the mark and seven more.
const PREFIX: usize = 12;

/// A new token with its prefix and its hash, in this order.
pub fn new_token() -> (String, String, String) {
    let token = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let prefix = token.chars().take(PREFIX).collect();
    let hash = hash_token(&token);
    (token, prefix, hash)
}

/// SHA-256 (hex) of a whole token, by which it is looked up.
pub fn hash_token(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_is_found_by_its_hash() {
        let (token, prefix, hash) = new_token();
        assert_eq!(token.len(), 5 + 43);
        assert_eq!(prefix.len(), 12);
        assert!(token.starts_with(&prefix) && prefix.starts_with("chim_"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(token.bytes().all(plain), "{token}");
        assert_eq!(hash, hash_token(&token));
        assert_ne!(token, new_token().0);
    }

    #[test]
    fn the_hash_is_sha_256_in_lower_case_hex() {
        assert_eq!(hash_token("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
