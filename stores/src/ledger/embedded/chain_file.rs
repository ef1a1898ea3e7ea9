//! The chain file of one organisation: a magic number, then a frame for each block.
//!
//! ```text
//! file  = "chimera ledger 1", frames
//! frame = length u32 of the block, the block, the block's hash (32 bytes)
//! ```
//!
//! A frame is never changed once it is acknowledged. Only the end of the file beyond the acknowledged length (see
//! [`super::head`]) may be cut, and only when a crash left it incomplete; everything else that does not check out is
//! refused, with the file and the block named.

use super::{
    codec::Checked,
    head::{self, Head},
    state::State,
};
use crate::{
    Result,
    error::{ErrorKind, StoreError},
    ledger::STORE,
};
use alloy_primitives::B256;
use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;

const MAGIC: &[u8; 16] = b"chimera ledger 1";
const LENGTH_BYTES: u64 = 4;
const HASH_BYTES: u64 = 32;

/// The most a block may have. The writer stays below; a reader refuses to allocate more.
pub const MAX_BLOCK_BYTES: u64 = 16 << 20;

/// Where the chain file of an organisation is.
pub fn path(folder: &Path, organization: Uuid) -> PathBuf {
    folder.join(format!("{organization}.chain"))
}

/// The organisations that have files in a folder.
pub fn organizations(folder: &Path) -> io::Result<Vec<Uuid>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let Some((stem, "chain" | "head")) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        if let Ok(organization) = stem.parse::<Uuid>()
            && organization.to_string() == stem
        {
            found.push(organization);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What a read at the current place of a file found.
pub enum Next {
    /// A whole frame. Nothing in it has been checked.
    Frame {
        /// Where it starts.
        offset: u64,
        /// The block's bytes.
        block: Vec<u8>,
        /// The hash behind them.
        hash: B256,
    },
    /// The end of the file.
    End,
    /// The file ends inside a frame, or holds nothing but zeros from here: a write that did not complete.
    Incomplete,
    /// A length that no writer writes.
    Nonsense,
}

/// Reads a chain file from its start.
pub struct Frames {
    reader: BufReader<File>,
    offset: u64,
    end: u64,
}

impl Frames {
    /// Starts behind the magic number, and reads at most to `end`.
    pub fn open(mut file: File, end: u64) -> io::Result<Checked<Self>> {
        let mut magic = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Ok(Err("the file does not start like a chain".to_owned()));
        }
        Ok(Ok(Self { reader: BufReader::with_capacity(1 << 16, file), offset: MAGIC.len() as u64, end }))
    }

    /// Where the next frame would start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next frame.
    pub fn read(&mut self) -> io::Result<Next> {
        let offset = self.offset;
        let left = self.end.saturating_sub(offset);
        if left == 0 {
            return Ok(Next::End);
        }
        if left < LENGTH_BYTES {
            return Ok(Next::Incomplete);
        }
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = u64::from(u32::from_be_bytes(length));
        if length == 0 {
            return Ok(if self.only_zeros()? { Next::Incomplete } else { Next::Nonsense });
        }
        if LENGTH_BYTES + length + HASH_BYTES > left {
            return Ok(Next::Incomplete);
        }
        if length > MAX_BLOCK_BYTES {
            return Ok(Next::Nonsense);
        }
        let mut block = vec![0; length as usize];
        self.reader.read_exact(&mut block)?;
        let mut hash = [0; 32];
        self.reader.read_exact(&mut hash)?;
        self.offset += LENGTH_BYTES + length + HASH_BYTES;
        Ok(Next::Frame { offset, block, hash: B256::new(hash) })
    }

    fn only_zeros(&mut self) -> io::Result<bool> {
        let mut rest = Vec::new();
        self.reader.by_ref().take(MAX_BLOCK_BYTES).read_to_end(&mut rest)?;
        Ok(rest.iter().all(|byte| *byte == 0))
    }
}

/// Reads one frame again.
pub fn read_frame(path: &Path, offset: u64) -> io::Result<Next> {
    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(offset))?;
    Frames { reader: BufReader::new(file), offset, end }.read()
}

/// Reads and checks a whole chain, and cuts off what a crash left incomplete behind the acknowledged end.
///
/// # Errors
/// `Corrupt` when anything does not check out, `Unavailable` when the files cannot be read.
pub fn load(folder: &Path, organization: Uuid) -> Result<State> {
    let path = path(folder, organization);
    let failed = |error| unreadable(&path, error);
    let mut head_file = match OpenOptions::new().read(true).write(true).open(head::path(folder, organization)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(&path, 1, "the head file beside it is missing"));
        }
        Err(error) => return Err(failed(error)),
    };
    let head = head::read(&mut head_file, organization).map_err(failed)?;
    let head = head.ok_or_else(|| corrupt(&path, 1, "the head file beside it is damaged"))?;
    let mut state = State::new(organization);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && head.number == 0 => return Ok(state),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(&path, 1, "the file is missing"));
        }
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    if head.number == 0 && length < MAGIC.len() as u64 {
        file.set_len(0).map_err(failed)?;
        return Ok(state);
    }
    let mut frames = Frames::open(file.try_clone().map_err(failed)?, length)
        .map_err(failed)?
        .map_err(|why| corrupt(&path, 1, &why))?;
    read_all(&path, &mut frames, &head, &mut state)?;
    if state.length < length {
        tracing::warn!(file = %path.display(), kept = state.length, cut = length - state.length,
            "a write that was never acknowledged is cut off");
        file.set_len(state.length).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    if state.tip.number > head.number {
        let head = Head { number: state.tip.number, length: state.length, hash: state.tip.hash };
        head::write(&mut head_file, organization, &head).map_err(failed)?;
    }
    Ok(state)
}

fn read_all(path: &Path, frames: &mut Frames, head: &Head, state: &mut State) -> Result<()> {
    state.length = frames.offset();
    loop {
        let number = state.tip.number + 1;
        if state.tip.number == head.number
            && head.number > 0
            && (state.tip.hash, state.length) != (head.hash, head.length)
        {
            return Err(corrupt(path, head.number, "it is not the block that was acknowledged"));
        }
        match frames.read().map_err(|error| unreadable(path, error))? {
            Next::Frame { offset, block, hash } => {
                let block = state.tip.check(&block, hash).map_err(|why| corrupt(path, number, &why))?;
                state.index(block, offset, frames.offset());
            }
            Next::End | Next::Incomplete if state.tip.number < head.number => {
                let why = format!("the file ends, but {} blocks were acknowledged", head.number);
                return Err(corrupt(path, number, &why));
            }
            Next::End | Next::Incomplete => return Ok(()),
            Next::Nonsense => return Err(corrupt(path, number, "its length makes no sense")),
        }
    }
}

fn corrupt(path: &Path, number: u64, why: &str) -> StoreError {
    let message = format!("{}: block {number} does not check out: {why}; restore the file", path.display());
    StoreError::new(STORE, ErrorKind::Corrupt, message)
}

/// An error for a file that cannot be read now.
pub fn unreadable(path: &Path, error: io::Error) -> StoreError {
    let message = format!("{} cannot be read", path.display());
    StoreError::with_source(STORE, ErrorKind::Unavailable, message, error)
}

/// The writing end of a chain file.
#[derive(Debug)]
pub struct Appender {
    organization: Uuid,
    chain: File,
    head: File,
    folder: PathBuf,
    length: u64,
    broken: bool,
}

impl Appender {
    /// Opens the files for appending behind `length`; makes them when that is 0.
    pub fn open(folder: &Path, organization: Uuid, length: u64) -> io::Result<Self> {
        let open =
            |path: PathBuf, create| OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path);
        let new = length == 0;
        let mut head = open(head::path(folder, organization), new)?;
        if new && head::read(&mut head, organization)?.is_none() {
            // The head comes first: from here on, a chain file without one is a fault.
            head::write(&mut head, organization, &Head { number: 0, length: 0, hash: B256::ZERO })?;
            sync_folder(folder)?;
        }
        let chain = open(path(folder, organization), new)?;
        Ok(Self { organization, chain, head, folder: folder.to_owned(), length, broken: false })
    }

    /// Writes a block behind the newest one, and returns when it is on disk: where its frame starts and ends.
    ///
    /// A write that fails is taken back. When that fails too, or when the disk does not say whether it has the bytes,
    /// nothing more is written until the chain is opened anew: what is on disk decides.
    pub fn append(&mut self, number: u64, block: &[u8], hash: B256) -> io::Result<(u64, u64)> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed; the chain must be opened anew"));
        }
        let mut frame = Vec::with_capacity(block.len() + 64);
        if self.length == 0 {
            frame.extend_from_slice(MAGIC);
        }
        let offset = self.length + frame.len() as u64;
        frame.extend_from_slice(&(block.len() as u32).to_be_bytes());
        frame.extend_from_slice(block);
        frame.extend_from_slice(hash.as_slice());
        let end = self.length + frame.len() as u64;

        let written = self.chain.seek(SeekFrom::Start(self.length)).and_then(|_| self.chain.write_all(&frame));
        if let Err(error) = written {
            self.broken = self.chain.set_len(self.length).is_err();
            return Err(error);
        }
        let head = Head { number, length: end, hash };
        self.broken = true;
        self.chain.sync_data()?;
        if self.length == 0 {
            sync_folder(&self.folder)?;
        }
        head::write(&mut self.head, self.organization, &head)?;
        self.broken = false;
        self.length = end;
        Ok((offset, end))
    }
}

/// Makes the names of new files durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
