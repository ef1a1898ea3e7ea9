//! Files that were changed, cut, swapped or never finished: what is refused, and what may be cut off.

use super::*;
use crate::{
    error::ErrorKind,
    ledger::{
        EntryId, Verification,
        embedded::{chain_file, head, state::State},
    },
};
use std::{fs, io::Write, path::PathBuf};

/// A chain of three blocks and its bytes after the second and the third.
struct Written {
    folder: tempfile::TempDir,
    ledger: EmbeddedLedger,
    chain: PathBuf,
    head: PathBuf,
    chain_after_2: Vec<u8>,
    head_after_2: Vec<u8>,
    chain_after_3: Vec<u8>,
    head_after_3: Vec<u8>,
    ids: Vec<EntryId>,
}

impl Written {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path()).unwrap();
        let chain = chain_file::path(folder.path(), organization());
        let head = head::path(folder.path(), organization());
        submit(&ledger, "mint", vec![mint(1, 1_000), event(9, Some(1))]).await.unwrap();
        let ids = submit(&ledger, "pay", vec![transfer(1, 2, 300), transfer(2, 3, 100)]).await.unwrap().entries;
        let (chain_after_2, head_after_2) = (fs::read(&chain).unwrap(), fs::read(&head).unwrap());
        submit(&ledger, "pay again", vec![transfer(1, 3, 50)]).await.unwrap();
        let (chain_after_3, head_after_3) = (fs::read(&chain).unwrap(), fs::read(&head).unwrap());
        Self { folder, ledger, chain, head, chain_after_2, head_after_2, chain_after_3, head_after_3, ids }
    }

    /// Puts these bytes in place of the files and reads them as at a start.
    fn load(&self, chain: &[u8], head: &[u8]) -> Result<State> {
        put(&self.chain, chain);
        put(&self.head, head);
        chain_file::load(self.folder.path(), organization())
    }

    async fn verify(&self) -> Verification {
        self.ledger.verify(&scope(), Chain::Local).await.unwrap()
    }

    /// The number of the block whose frame holds this byte.
    fn block_at(&self, offset: usize) -> u64 {
        let mut start = 16;
        for number in 1.. {
            let length = u32::from_be_bytes(self.chain_after_3[start..start + 4].try_into().unwrap()) as usize;
            start += 4 + length + 32;
            if offset < start {
                return number;
            }
        }
        unreachable!()
    }
}

/// Like `fs::write`, without emptying the file first, which some file systems answer with a sync.
fn put(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn assert_corrupt(result: Result<State>, written: &Written, block: u64) {
    let error = result.err().unwrap_or_else(|| panic!("damage in block {block} went unnoticed"));
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let named = format!("{}: block {block} ", written.chain.display());
    assert!(error.message().contains(&named), "{} does not name {named}", error.message());
}

#[tokio::test]
async fn every_flipped_byte_is_refused_at_opening_and_found_by_verify() {
    let written = Written::new().await;
    assert_eq!(written.verify().await.fault, None);
    for offset in 0..written.chain_after_3.len() {
        // One bit of each byte, every bit by turns.
        let mut bytes = written.chain_after_3.clone();
        bytes[offset] ^= 1 << (offset % 8);
        let block = written.block_at(offset);
        assert_corrupt(written.load(&bytes, &written.head_after_3), &written, block);
        assert_eq!(fs::read(&written.chain).unwrap(), bytes, "a damaged file is left as it is");
        let fault = written.verify().await.fault.map(|(block, _)| block);
        assert_eq!(fault, Some(block), "byte {offset}");
    }
}

#[tokio::test]
async fn every_cut_into_what_was_acknowledged_is_refused_and_found() {
    let written = Written::new().await;
    for length in 0..written.chain_after_3.len() {
        let bytes = &written.chain_after_3[..length];
        let block = written.block_at(length);
        assert_corrupt(written.load(bytes, &written.head_after_3), &written, block);
        assert_eq!(written.verify().await.fault.map(|(block, _)| block), Some(block), "cut to {length} bytes");
    }
    let whole = written.load(&written.chain_after_3, &written.head_after_3).unwrap();
    assert_eq!(whole.tip.number, 3);
}

#[tokio::test]
async fn a_write_that_was_never_acknowledged_is_cut_off_or_kept_whole() {
    let written = Written::new().await;
    let acknowledged = written.chain_after_2.len();
    for length in acknowledged..written.chain_after_3.len() {
        let state = written.load(&written.chain_after_3[..length], &written.head_after_2).unwrap();
        assert_eq!(state.tip.number, 2);
        assert_eq!(fs::read(&written.chain).unwrap(), written.chain_after_2, "the rest of the file is cut off");
    }
    let zeros = [written.chain_after_2.as_slice(), &[0; 5_000]].concat();
    assert_eq!(written.load(&zeros, &written.head_after_2).unwrap().tip.number, 2);
    assert_eq!(fs::read(&written.chain).unwrap(), written.chain_after_2);

    let state = written.load(&written.chain_after_3, &written.head_after_2).unwrap();
    assert_eq!(state.tip.number, 3, "a whole block is kept: its writer may have had the answer on its way");
    assert_eq!(fs::read(&written.head).unwrap(), written.head_after_3, "and from now on it counts as acknowledged");
}

#[tokio::test]
async fn a_damaged_block_behind_the_acknowledged_ones_is_never_taken_in() {
    let written = Written::new().await;
    for offset in written.chain_after_2.len()..written.chain_after_3.len() {
        let mut bytes = written.chain_after_3.clone();
        bytes[offset] ^= 0x40;
        match written.load(&bytes, &written.head_after_2) {
            // Only a length that now reaches past the end looks like a write that did not complete.
            Ok(state) => assert!(state.tip.number == 2 && offset < written.chain_after_2.len() + 4),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }
}

#[tokio::test]
async fn no_damage_to_the_head_file_loses_a_block() {
    let written = Written::new().await;
    let slots = (0..110).chain(4_090..written.head_after_3.len());
    for offset in slots {
        let mut head = written.head_after_3.clone();
        head[offset] ^= 0x10;
        assert_eq!(written.load(&written.chain_after_3, &head).unwrap().tip.number, 3, "head byte {offset}");
    }
    assert_corrupt(written.load(&written.chain_after_3, &[]), &written, 1);
    fs::remove_file(&written.head).unwrap();
    assert_corrupt(chain_file::load(written.folder.path(), organization()), &written, 1);
    fs::write(&written.head, &written.head_after_3).unwrap();
    fs::remove_file(&written.chain).unwrap();
    assert_corrupt(chain_file::load(written.folder.path(), organization()), &written, 1);
    assert_eq!(written.verify().await.fault, Some((1, "the file is missing".to_owned())));
}

#[tokio::test]
async fn another_chain_in_its_place_is_refused() {
    let written = Written::new().await;
    let other = tempfile::tempdir().unwrap();
    let ledger = open(other.path()).unwrap();
    for (key, amount) in [("a", 1), ("b", 2), ("c", 3)] {
        submit(&ledger, key, vec![mint(1, amount)]).await.unwrap();
    }
    let bytes = fs::read(chain_file::path(other.path(), organization())).unwrap();
    assert_corrupt(written.load(&bytes, &written.head_after_3), &written, 3);
    assert_eq!(written.verify().await.fault.map(|(block, _)| block), Some(3));

    let foreign = Uuid::from_u128(2);
    fs::write(chain_file::path(other.path(), foreign), &written.chain_after_3).unwrap();
    fs::write(head::path(other.path(), foreign), &written.head_after_3).unwrap();
    assert_eq!(chain_file::load(other.path(), foreign).unwrap_err().kind(), ErrorKind::Corrupt);
    drop(ledger);
    let error = open(other.path()).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains(&foreign.to_string()), "{error:?}");
}

#[tokio::test]
async fn bytes_behind_the_newest_block_are_a_fault_of_a_running_ledger() {
    let written = Written::new().await;
    let longer = [written.chain_after_3.as_slice(), b"more"].concat();
    fs::write(&written.chain, longer).unwrap();
    let verification = written.verify().await;
    assert_eq!((verification.blocks, verification.fault.map(|(block, _)| block)), (3, Some(3)));
    fs::write(&written.chain, &written.chain_after_3).unwrap();
    fs::write(&written.head, &written.head_after_2).unwrap();
    assert_eq!(written.verify().await.fault.map(|(block, _)| block), Some(3), "the head file was set back");
}

#[tokio::test]
async fn nothing_is_proved_from_a_damaged_block() {
    let written = Written::new().await;
    let proved = |proofs: Result<Vec<Option<crate::ledger::Proof>>>| match proofs {
        Ok(proofs) => proofs.iter().flatten().filter(|proof| proof.verified).count(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            0
        }
    };
    assert_eq!(proved(written.ledger.proofs(&scope(), &written.ids).await), 2);
    let (first, last) = (written.block_frame(2).start, written.block_frame(2).end);
    for offset in first..last {
        let mut bytes = written.chain_after_3.clone();
        bytes[offset] ^= 0x02;
        put(&written.chain, &bytes);
        assert_eq!(proved(written.ledger.proofs(&scope(), &written.ids).await), 0, "byte {offset}");
    }
}

impl Written {
    fn block_frame(&self, number: u64) -> std::ops::Range<usize> {
        let offsets: Vec<usize> = (16..self.chain_after_3.len()).filter(|at| self.block_at(*at) == number).collect();
        offsets[0]..offsets[offsets.len() - 1] + 1
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_leaves_the_ledger_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    let chain = chain_file::path(folder.path(), organization());
    fs::create_dir(&chain).unwrap();
    let error = submit(&ledger, "a", vec![mint(1, 5)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    fs::remove_dir(&chain).unwrap();
    assert_eq!(ledger.verify(&scope(), Chain::Local).await.unwrap().blocks, 0);
    assert_eq!(submit(&ledger, "a", vec![mint(1, 5)]).await.unwrap().block_number, 1);
    drop(ledger);
    assert_eq!(open(folder.path()).unwrap().verify(&scope(), Chain::Local).await.unwrap().blocks, 1);
}

#[tokio::test]
async fn a_start_that_was_interrupted_is_an_empty_chain() {
    let written = Written::new().await;
    let folder = tempfile::tempdir().unwrap();
    let chain = chain_file::path(folder.path(), organization());
    // What Appender::open and a first append leave behind, step by step.
    drop(chain_file::Appender::open(folder.path(), organization(), 0).unwrap());
    for length in 0..written.block_frame(1).end {
        fs::write(&chain, &written.chain_after_3[..length]).unwrap();
        let ledger = open(folder.path()).unwrap();
        assert_eq!(ledger.verify(&scope(), Chain::Local).await.unwrap().fault, None, "cut to {length} bytes");
        assert_eq!(ledger.verify(&scope(), Chain::Local).await.unwrap().blocks, 0);
    }
    let ledger = open(folder.path()).unwrap();
    submit(&ledger, "a", vec![mint(1, 5)]).await.unwrap();
    let verification = ledger.verify(&scope(), Chain::Local).await.unwrap();
    assert_eq!((verification.blocks, verification.fault), (1, None));
}

#[tokio::test]
async fn two_processes_cannot_have_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert_eq!(open(folder.path()).unwrap_err().kind(), ErrorKind::Unavailable);
    drop(first);
    assert!(open(folder.path()).is_ok());
}
