//! The files of the folder and every blocking step on them. Called from blocking threads only.
//!
//! `blobs/ab/<sha256>` are bytes that versions use; `uploads/<key>` are uploads that arrived whole and wait for their
//! completion, their modification time being the adapter's clock when they began; `uploads/<random>.part` are on
//! their way in. File names are made of hex digits alone: nothing a caller sends can become a path.

use super::token::UploadGrant;
use crate::{
    Result,
    error::{ErrorKind, Store, StoreError},
    media::content,
};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind as Io, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use uuid::Uuid;

const STORE: Store = Store::Media;
const PART: &str = ".part";

/// What is there under an upload's key.
pub enum Arrived {
    /// Nothing.
    Nothing,
    /// The bytes as signed.
    Fine,
    /// Other bytes; they are gone now. The reason is for the caller.
    Wrong(String),
}

/// The folder.
pub struct Files {
    blobs: PathBuf,
    uploads: PathBuf,
    /// Names of the parts being written now.
    active: Mutex<HashSet<String>>,
}

impl Files {
    /// Makes the folders where they are missing, and removes parts that a crash left behind: nobody writes them now.
    pub fn open(folder: &Path) -> Result<Self> {
        let (blobs, uploads) = (folder.join("blobs"), folder.join("uploads"));
        for path in [&blobs, &uploads] {
            fs::create_dir_all(path).map_err(failed)?;
        }
        let files = Self { blobs, uploads, active: Mutex::default() };
        for path in names(&files.uploads).map_err(failed)?.into_iter().filter(|name| name.ends_with(PART)) {
            fs::remove_file(files.uploads.join(path)).or_else(absent).map_err(failed)?;
        }
        Ok(files)
    }

    /// Whether any blob is there.
    pub fn has_blobs(folder: &Path) -> bool {
        let blobs = folder.join("blobs");
        let shards = names(&blobs).unwrap_or_default();
        shards.iter().any(|shard| names(&blobs.join(shard)).is_ok_and(|names| !names.is_empty()))
    }

    /// Writes and removes a small file.
    pub fn probe(self: &Arc<Self>) -> Result<()> {
        Incoming::begin(self)?.write(b"probe")
    }

    /// Looks at what waits under a key: its size, and whether the content contradicts its type. Its hash was checked
    /// on the way in, and is part of the key.
    pub fn inspect(&self, grant: &UploadGrant) -> Result<Arrived> {
        let path = self.waiting(grant);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Ok(Arrived::Nothing),
            Err(error) => return Err(failed(error)),
        };
        let wrong = if file.metadata().map_err(failed)?.len() != grant.size_bytes {
            Some("the bytes that arrived are not as many as were signed".to_owned())
        } else {
            let mut head = Vec::new();
            (&file).take(content::HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
            let found = content::contradiction(&grant.content_type, &head);
            found.map(|found| format!("the bytes are {found}, not {}", grant.content_type))
        };
        let Some(reason) = wrong else { return Ok(Arrived::Fine) };
        fs::remove_file(path).or_else(absent).map_err(failed)?;
        Ok(Arrived::Wrong(reason))
    }

    /// Makes a blob of what waits under a key, which goes on waiting: until the version is on record, a crash must
    /// not lose the upload. A blob of the wrong size is replaced.
    pub fn promote(&self, grant: &UploadGrant) -> Result<()> {
        let (waiting, blob) = (self.waiting(grant), self.blob(&grant.sha256)?);
        if fs::metadata(&blob).is_ok_and(|there| there.len() == grant.size_bytes) {
            return Ok(());
        }
        let shard = blob.parent().unwrap_or(&self.blobs);
        fs::create_dir_all(shard).map_err(failed)?;
        sync_folder(&self.blobs).map_err(failed)?;
        fs::remove_file(&blob).or_else(absent).map_err(failed)?;
        // A file system without hard links gets a move: after a crash just here the upload is to be sent again.
        fs::hard_link(&waiting, &blob).or_else(|_| fs::rename(&waiting, &blob)).map_err(failed)?;
        sync_folder(shard).map_err(failed)
    }

    /// Removes what waits under a key, if anything does.
    pub fn forget(&self, grant: &UploadGrant) -> Result<()> {
        fs::remove_file(self.waiting(grant)).or_else(absent).map_err(failed)
    }

    /// Removes a blob.
    pub fn remove_blob(&self, sha256: &str) -> Result<()> {
        fs::remove_file(self.blob(sha256)?).or_else(absent).map_err(failed)
    }

    /// Opens a blob at `offset`. `Corrupt` when it is gone or has another size than it was stored with; a change
    /// that keeps the size is not noticed.
    pub fn open_blob(&self, sha256: &str, size_bytes: u64, offset: u64) -> Result<File> {
        let damaged = || StoreError::new(STORE, ErrorKind::Corrupt, format!("the bytes of {sha256} are damaged"));
        let mut file = match File::open(self.blob(sha256)?) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Err(damaged()),
            Err(error) => return Err(failed(error)),
        };
        if file.metadata().map_err(failed)?.len() != size_bytes {
            return Err(damaged());
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(file)
    }

    /// Removes uploads begun before `before` that nobody completed, and parts that nobody writes; how many. Also
    /// blobs as old that no version uses, which a crash in the middle of a completion or removal leaves behind.
    pub fn sweep(&self, before: DateTime<Utc>, used: impl Fn(&str) -> bool) -> Result<u64> {
        let mut removed = 0;
        for name in names(&self.uploads).map_err(failed)? {
            let path = self.uploads.join(&name);
            let stale = if name.ends_with(PART) {
                !self.active.lock().contains(&name)
            } else {
                is_sha256(&name) && begun_before(&path, before)
            };
            if stale {
                fs::remove_file(path).or_else(absent).map_err(failed)?;
                removed += 1;
            }
        }
        for shard in names(&self.blobs).map_err(failed)? {
            let shard = self.blobs.join(shard);
            for name in names(&shard).map_err(failed)?.into_iter().filter(|name| is_sha256(name) && !used(name)) {
                let path = shard.join(name);
                if begun_before(&path, before) {
                    fs::remove_file(path).or_else(absent).map_err(failed)?;
                }
            }
        }
        Ok(removed)
    }

    fn blob(&self, sha256: &str) -> Result<PathBuf> {
        match sha256.get(..2) {
            Some(shard) if is_sha256(sha256) => Ok(self.blobs.join(shard).join(sha256)),
            _ => Err(StoreError::invalid(STORE, "the SHA-256 is not 64 lower-case hex digits")),
        }
    }

    /// Where an upload waits. Its name is a hash of all that was signed, so that the same upload sent twice is one.
    fn waiting(&self, grant: &UploadGrant) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(grant.organization_id.as_bytes());
        hash.update(grant.asset_id.as_bytes());
        hash.update(grant.size_bytes.to_be_bytes());
        hash.update(&grant.sha256);
        hash.update(&grant.content_type);
        self.uploads.join(hex::encode(hash.finalize()))
    }
}

/// Bytes on their way in. Dropping it removes them.
pub struct Incoming {
    files: Arc<Files>,
    name: String,
    file: File,
    hash: Sha256,
    received: u64,
}

impl Incoming {
    /// An empty part.
    pub fn begin(files: &Arc<Files>) -> Result<Self> {
        let name = format!("{}{PART}", hex::encode(rand::random::<[u8; 16]>()));
        files.active.lock().insert(name.clone());
        let opened = OpenOptions::new().write(true).create_new(true).open(files.uploads.join(&name));
        match opened {
            Ok(file) => Ok(Self { files: files.clone(), name, file, hash: Sha256::new(), received: 0 }),
            Err(error) => {
                files.active.lock().remove(&name);
                Err(failed(error))
            }
        }
    }

    /// How many bytes came so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.received += bytes.len() as u64;
        self.file.write_all(bytes).map_err(failed)
    }

    /// Lets the bytes wait for their completion, when they are those that were signed. They are on disk afterwards.
    pub fn arrive(mut self, grant: &UploadGrant, begun: DateTime<Utc>) -> Result<()> {
        if self.received != grant.size_bytes {
            return Err(StoreError::invalid(STORE, "the bytes are not as many as were signed"));
        }
        if hex::encode(self.hash.finalize_reset()) != grant.sha256 {
            return Err(StoreError::invalid(STORE, "the bytes do not have the SHA-256 that was signed"));
        }
        self.file.set_modified(SystemTime::from(begun)).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        fs::rename(self.path(), self.files.waiting(grant)).map_err(failed)?;
        sync_folder(&self.files.uploads).map_err(failed)
    }

    fn path(&self) -> PathBuf {
        self.files.uploads.join(&self.name)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After an arrival there is none; what cannot be removed here is removed by a sweep.
        let _ = fs::remove_file(self.path());
        self.files.active.lock().remove(&self.name);
    }
}

/// The grant that an upload of one organisation needs; also what an upload's key is made of.
pub fn grant(organization_id: Uuid, spec: &crate::media::UploadSpec) -> UploadGrant {
    UploadGrant {
        organization_id,
        asset_id: spec.asset_id,
        content_type: spec.content_type.clone(),
        size_bytes: spec.size_bytes,
        sha256: spec.sha256.clone(),
    }
}

fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn begun_before(path: &Path, before: DateTime<Utc>) -> bool {
    let modified = fs::metadata(path).and_then(|there| there.modified());
    modified.is_ok_and(|modified| DateTime::<Utc>::from(modified) < before)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == Io::NotFound { Ok(()) } else { Err(error) }
}

/// Puts names on disk: a file's own fsync does not.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// What a file system's error means to a caller.
pub fn failed(error: io::Error) -> StoreError {
    let message = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => "the disk of the media folder is full",
        _ => "the media folder cannot be read or written",
    };
    StoreError::with_source(STORE, ErrorKind::Unavailable, message, error)
}
