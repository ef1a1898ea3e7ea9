//! The head file: how far a chain has been acknowledged.
//!
//! A chain alone cannot tell that whole blocks were cut off its end; this file can. It is written and synced after each
//! block and before the block is acknowledged, into two slots by turns, each with a checksum: whenever the machine
//! stops, one slot is whole, and it is at most one block behind. It protects against loss and accident, not against
//! somebody who rewrites both files; for that, keep the head's hash elsewhere.

use super::codec::{Reader, hash};
use alloy_primitives::B256;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;

const MAGIC: u64 = u64::from_be_bytes(*b"CHIMHEAD");
const CHECKSUM: &[u8] = b"chimera/ledger/head/1\0";
/// Slots lie a page apart, so that no torn write can reach both.
const SLOT: u64 = 4096;
const SLOT_BYTES: usize = 8 + 16 + 8 + 8 + 32 + 32;

/// The newest acknowledged block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 for an empty chain.
    pub number: u64,
    /// Length of the chain file with it.
    pub length: u64,
    /// Its hash.
    pub hash: B256,
}

/// Where the head file of an organisation is.
pub fn path(folder: &Path, organization: Uuid) -> PathBuf {
    folder.join(format!("{organization}.head"))
}

fn encode(head: &Head, organization: Uuid) -> Vec<u8> {
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.extend_from_slice(organization.as_bytes());
    out.extend_from_slice(&head.number.to_be_bytes());
    out.extend_from_slice(&head.length.to_be_bytes());
    out.extend_from_slice(head.hash.as_slice());
    let checksum = hash(&[CHECKSUM, &out]);
    out.extend_from_slice(checksum.as_slice());
    out
}

fn decode(bytes: &[u8], organization: Uuid) -> Option<Head> {
    let mut reader = Reader::new(bytes);
    let (magic, owner) = (reader.u64().ok()?, reader.uuid().ok()?);
    let head = Head { number: reader.u64().ok()?, length: reader.u64().ok()?, hash: reader.hash().ok()? };
    (magic == MAGIC && owner == organization && encode(&head, organization) == bytes).then_some(head)
}

/// Reads the newest whole slot; `None` when no slot is whole.
pub fn read(file: &mut File, organization: Uuid) -> io::Result<Option<Head>> {
    let mut heads = [None, None];
    for (slot, head) in (0..).zip(&mut heads) {
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        file.seek(SeekFrom::Start(slot * SLOT))?;
        (&mut *file).take(SLOT_BYTES as u64).read_to_end(&mut bytes)?;
        *head = decode(&bytes, organization);
    }
    Ok(heads.into_iter().flatten().max_by_key(|head| head.number))
}

/// Writes the next slot and waits until it is on disk.
pub fn write(file: &mut File, organization: Uuid, head: &Head) -> io::Result<()> {
    file.seek(SeekFrom::Start(head.number % 2 * SLOT))?;
    file.write_all(&encode(head, organization))?;
    file.sync_data()
}
