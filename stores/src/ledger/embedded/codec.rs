//! The primitives of the canonical encoding: fixed-width integers big-endian, everything else behind a `u32` length.
//!
//! One value has one encoding. Reading never allocates by a number it has read, and never panics: what is read may be
//! damaged.

use crate::ledger::Address;
use alloy_primitives::{B256, U256};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A value, or why the bytes do not check out, in words that fit behind "block 7 does not check out: ".
pub type Checked<T> = Result<T, String>;

/// SHA-256 over the parts one after the other. The first part names what is hashed, so that the hash of one kind of
/// thing is never the hash of another.
pub fn hash(parts: &[&[u8]]) -> B256 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    B256::new(digest.finalize().into())
}

/// Appends bytes behind their length. Every field is far below 4 GiB: the rules of a transaction see to that.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a 0, or a 1 and the bytes behind their length.
pub fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(1);
            put_bytes(out, bytes);
        }
    }
}

/// Reads what the `put` functions wrote.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses bytes that are left over.
    pub fn end(&self) -> Checked<()> {
        if self.is_empty() { Ok(()) } else { Err(format!("{} bytes are left over", self.0.len())) }
    }

    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Checked<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Checked<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Checked<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Checked<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Checked<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub fn uuid(&mut self) -> Checked<Uuid> {
        Ok(Uuid::from_bytes(self.array()?))
    }

    pub fn hash(&mut self) -> Checked<B256> {
        Ok(B256::new(self.array()?))
    }

    pub fn amount(&mut self) -> Checked<U256> {
        Ok(U256::from_be_bytes(self.array::<32>()?))
    }

    pub fn bytes(&mut self) -> Checked<&'a [u8]> {
        let length = self.u32()? as usize;
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a length reaches past the end")?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn text(&mut self) -> Checked<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
    }

    pub fn address(&mut self) -> Checked<Address> {
        self.text().map(Address)
    }

    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<Option<T>> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            other => Err(format!("{other} is no sign of presence")),
        }
    }
}
