//! Checks and proofs from the disk: what is in memory is only compared with, never believed.

use super::{
    block::Block,
    chain_file::{self, Frames, Next, unreadable},
    codec::Checked,
    head, merkle,
    state::Place,
    tip::Tip,
};
use crate::{
    Result,
    error::{ErrorKind, StoreError},
    ledger::{Proof, STORE, Verification},
};
use alloy_primitives::B256;
use std::{fs::File, io, path::Path};
use uuid::Uuid;

/// What a chain was when its verification began.
#[derive(Debug)]
pub struct Expected {
    /// Whose chain.
    pub organization: Uuid,
    /// Its newest block.
    pub number: u64,
    /// That block's hash.
    pub hash: B256,
    /// Length of the file with it.
    pub length: u64,
    /// Length of the file on disk, when there is one.
    pub on_disk: Option<u64>,
    /// The head file's word, when it has one.
    pub head: Option<head::Head>,
}

impl Expected {
    /// Adds what the disk says now. The caller sees to it that nothing is being written meanwhile.
    pub fn look(folder: &Path, tip: &Tip, length: u64) -> Result<Self> {
        let organization = tip.organization;
        let path = chain_file::path(folder, organization);
        let on_disk = match std::fs::metadata(&path) {
            Ok(metadata) => Some(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&path, error)),
        };
        let head_path = head::path(folder, organization);
        let head = match File::open(&head_path) {
            Ok(mut file) => head::read(&mut file, organization).map_err(|error| unreadable(&head_path, error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&head_path, error)),
        };
        Ok(Self { organization, number: tip.number, hash: tip.hash, length, on_disk, head })
    }
}

/// Reads the chain file again and checks every byte of it, up to the first fault.
///
/// # Errors
/// `Unavailable` when the disk refuses to be read. What is read and does not check out is no error but the fault.
pub fn verify(folder: &Path, expected: &Expected) -> Result<Verification> {
    let mut tip = Tip::new(expected.organization);
    let fault = if expected.number == 0 { no_blocks(expected) } else { walk(folder, expected, &mut tip)? };
    Ok(Verification {
        blocks: tip.number,
        entries: tip.entries,
        head: (tip.number > 0).then_some(tip.hash),
        fault: fault.err().map(|why| ((tip.number + 1).min(expected.number.max(1)), why)),
    })
}

fn no_blocks(expected: &Expected) -> Checked<()> {
    if expected.on_disk.unwrap_or(0) == expected.length {
        Ok(())
    } else {
        Err("the file holds what was never written".to_owned())
    }
}

fn walk(folder: &Path, expected: &Expected, tip: &mut Tip) -> Result<Checked<()>> {
    let path = chain_file::path(folder, expected.organization);
    let failed = |error| unreadable(&path, error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err("the file is missing".to_owned())),
        Err(error) => return Err(failed(error)),
    };
    // Blocks that were added since then are not looked at; a file that has become shorter is.
    let end = file.metadata().map_err(failed)?.len().min(expected.length);
    let mut frames = match Frames::open(file, end).map_err(failed)? {
        Ok(frames) => frames,
        Err(why) => return Ok(Err(why)),
    };
    loop {
        match frames.read().map_err(failed)? {
            Next::Frame { block, hash, .. } => {
                if let Err(why) = tip.check(&block, hash) {
                    return Ok(Err(why));
                }
            }
            Next::End if tip.number == expected.number => return Ok(whole(expected, tip)),
            Next::End | Next::Incomplete => return Ok(Err("the file ends before it".to_owned())),
            Next::Nonsense => return Ok(Err("its length makes no sense".to_owned())),
        }
    }
}

/// What is left to check when every block fits onto the one before it.
fn whole(expected: &Expected, tip: &Tip) -> Checked<()> {
    if tip.hash != expected.hash {
        return Err("it is not the block that was acknowledged".to_owned());
    }
    if expected.on_disk != Some(expected.length) {
        return Err("the file has bytes behind it that belong to no block".to_owned());
    }
    match expected.head {
        Some(head) if (head.number, head.length, head.hash) == (expected.number, expected.length, expected.hash) => {
            Ok(())
        }
        _ => Err("the head file beside the chain is damaged or names another block".to_owned()),
    }
}

/// Proves that an entry is in its block, from the block's bytes on disk.
///
/// # Errors
/// `Corrupt` when there is no block to be read where it was written.
pub fn prove(folder: &Path, place: &Place, entries: &[(u32, B256)]) -> Result<Vec<Proof>> {
    let path = chain_file::path(folder, place.header.organization);
    let damaged = || {
        let message = format!("{}: block {} cannot be read", path.display(), place.header.number);
        StoreError::new(STORE, ErrorKind::Corrupt, message)
    };
    let frame = match chain_file::read_frame(&path, place.offset) {
        Ok(frame) => frame,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
        Err(error) => return Err(unreadable(&path, error)),
    };
    let Next::Frame { block, hash, .. } = frame else { return Err(damaged()) };
    let block = Block::decode(&block).map_err(|_| damaged())?;
    let leaves = block.leaves();
    let header_holds = hash == place.hash && block.header.hash() == place.hash;
    let proof = |(index, leaf): &(u32, B256)| {
        let path = merkle::path(&leaves, *index as usize);
        let root = block.header.root;
        let on_disk = leaves.get(*index as usize) == Some(leaf);
        let verified = on_disk && header_holds && merkle::climb(*leaf, &path) == root;
        Proof { leaf: *leaf, path, root, block_hash: place.hash, verified }
    };
    Ok(entries.iter().map(proof).collect())
}
