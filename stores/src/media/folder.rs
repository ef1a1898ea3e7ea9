//! Media in a folder: the embedded default. Its URLs point at this process ([`LocalMedia`]).
//!
//! Bytes are content-addressed: the same bytes are stored once, whoever has them, and go when the last version that
//! uses them goes. An upload streams into a part, hashed on the way; when it is whole, on disk and what was signed, it
//! waits. Only [`MediaAdapter::complete`] puts it on record, after which it survives `kill -9` and a crash of the machine.
//!
//! - *Versions*: every completion of other bytes is a new version; `restore` makes a new version of the old bytes, so
//!   that history only grows. Completing what is the newest version already gives that version.
//! - *Repeats*: the same upload may be sent and completed any number of times.
//! - *Removal*: `delete` forgets all versions at once; the bytes follow unless another asset has them. An upload that
//!   waits is not touched: it may still be completed, or is swept.
//! - *Damage*: a damaged index is refused at open. Of a blob the size is checked whenever it is opened; a change that
//!   keeps the size is not noticed (a client can check the SHA-256 that every version carries).
//! - *Changes* are made one at a time, each to its end even when its caller has gone, so that a blob cannot be removed
//!   while another asset begins to use it.

mod files;
mod index;
#[cfg(test)]
mod tests;
mod token;

use super::{
    ByteStream, Capabilities, Download, DownloadSpec, LocalMedia, MediaAdapter, ObjectVersion, UploadSpec, UploadTarget,
};
use crate::{
    Clock, Result, Scope,
    durable::Durable,
    error::{ErrorKind, Store, StoreError},
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use files::{Arrived, Files, Incoming};
use futures_util::{StreamExt, stream};
use index::{Entry, Index, Key};
use parking_lot::RwLock;
use std::{fs::File, io, io::Read, path::Path, path::PathBuf, sync::Arc, time::Duration};
use token::{DownloadGrant, Tokens};
use uuid::Uuid;

const STORE: Store = Store::Media;
/// S3's limit for one PUT, so that what works here works there.
const MAX_BYTES: u64 = 5 << 30;
/// S3's limit too.
const MAX_EXPIRY_SECONDS: u64 = 7 * 24 * 60 * 60;
/// The longest name that common file systems take.
const MAX_FILE_NAME: usize = 255;
/// Bytes of one piece of a download.
const PIECE: u64 = 128 * 1024;

/// Media in a folder. Cheap to clone.
#[derive(Clone)]
pub struct FolderMedia(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    files: Arc<Files>,
    index: RwLock<Index>,
    durable: Durable,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    /// Held while blobs and index change.
    changes: tokio::sync::Mutex<()>,
}

impl FolderMedia {
    /// Opens or makes the folder; URLs are signed with `secret`. Blocks: call it at the start.
    ///
    /// # Errors
    /// `Corrupt` for a damaged index, or a lost one while there are bytes; `Unavailable` when the folder cannot be used or
    /// another process has it.
    pub fn open(folder: &Path, secret: [u8; 32], clock: Arc<dyn Clock>) -> Result<Self> {
        let path = folder.join("media.redb");
        if !path.exists() && Files::has_blobs(folder) {
            let message = format!("{} is missing although there are bytes; restore it from a backup", path.display());
            return Err(StoreError::new(STORE, ErrorKind::Corrupt, message));
        }
        std::fs::create_dir_all(folder).map_err(files::failed)?;
        // The index first: it is locked, so that parts found afterwards are nobody's.
        let (durable, records) = Durable::open(STORE, &path)?;
        let index = RwLock::new(Index::load(&path, &records)?);
        let files = Arc::new(Files::open(folder)?);
        let tokens = Tokens::new(&secret)?;
        let changes = tokio::sync::Mutex::default();
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), files, index, durable, tokens, clock, changes })))
    }

    /// Runs a change to its end, whether or not its caller waits for it.
    async fn change<T, F, Fut>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Inner>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let inner = self.0.clone();
        let task = tokio::spawn(async move {
            let _turn = inner.changes.lock().await;
            change(inner.clone()).await
        });
        task.await.map_err(broke_off)?
    }
}

impl Inner {
    fn expiry(&self, expires_in: Duration) -> Result<DateTime<Utc>> {
        let span = TimeDelta::from_std(expires_in).ok();
        let until = span.and_then(|span| self.clock.now().checked_add_signed(span));
        until.ok_or_else(|| StoreError::invalid(STORE, "the expiry is too far away"))
    }

    async fn complete(&self, key: Key, spec: &UploadSpec) -> Result<ObjectVersion> {
        let grant = files::grant(key.0, spec);
        match self.on_files(grant.clone(), Files::inspect).await? {
            Arrived::Nothing => {
                let done = self.index.read().completed(key, spec);
                return done.ok_or_else(|| StoreError::new(STORE, ErrorKind::NotFound, "nothing has been uploaded"));
            }
            Arrived::Wrong(reason) => return Err(StoreError::invalid(STORE, reason)),
            Arrived::Fine => self.on_files(grant.clone(), Files::promote).await?,
        }
        let newest = self.index.read().completed(key, spec).filter(|object| object.latest);
        let object = match newest {
            Some(object) => object,
            None => self.add(key, spec.content_type.clone(), spec.size_bytes, spec.sha256.clone()).await?,
        };
        if let Err(error) = self.on_files(grant, Files::forget).await {
            tracing::warn!(error = %error.chain(), "a completed upload could not be removed");
        }
        Ok(object)
    }

    async fn add(&self, key: Key, content_type: String, size_bytes: u64, sha256: String) -> Result<ObjectVersion> {
        let sequence = self.index.read().next_sequence();
        let version = hex::encode(rand::random::<[u8; 16]>());
        let created_at = self.clock.now();
        let entry = Entry { sequence, version, content_type, size_bytes, sha256, created_at };
        self.durable.commit(vec![entry.write(key)?]).await?;
        let mut index = self.index.write();
        index.add(key, entry);
        index.version(key, None).ok_or_else(|| StoreError::new(STORE, ErrorKind::Internal, "a version went missing"))
    }

    async fn restore(&self, key: Key, version: &str) -> Result<ObjectVersion> {
        let old = self.index.read().version(key, Some(version));
        let old = old.ok_or_else(|| StoreError::new(STORE, ErrorKind::NotFound, "there is no such version"))?;
        if old.latest {
            return Ok(old);
        }
        let (sha256, size) = (old.sha256.clone(), old.size_bytes);
        self.on_files((), move |files, _| files.open_blob(&sha256, size, 0)).await?;
        self.add(key, old.content_type, old.size_bytes, old.sha256).await
    }

    async fn delete(&self, keys: Vec<Key>) -> Result<()> {
        let removals = {
            let index = self.index.read();
            let of = |key: &Key| index.entries(*key).iter().map(|entry| entry.removal(*key)).collect::<Vec<_>>();
            keys.iter().flat_map(of).collect::<Vec<_>>()
        };
        if removals.is_empty() {
            return Ok(());
        }
        self.durable.commit(removals).await?;
        let unused = {
            let mut index = self.index.write();
            keys.into_iter().flat_map(|key| index.remove(key)).collect::<Vec<_>>()
        };
        // From here on the assets are gone; a blob that cannot be removed is left to a sweep.
        let removed = self.on_files(unused, |files, unused| unused.iter().try_for_each(|blob| files.remove_blob(blob)));
        if let Err(error) = removed.await {
            tracing::warn!(error = %error.chain(), "a blob that nothing uses could not be removed");
        }
        Ok(())
    }

    /// Runs a step on the files on a thread that may block.
    async fn on_files<A, T, F>(&self, argument: A, step: F) -> Result<T>
    where
        A: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&Files, &A) -> Result<T> + Send + 'static,
    {
        let files = self.files.clone();
        aside(move || step(&files, &argument)).await
    }
}

#[async_trait]
impl MediaAdapter for FolderMedia {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            adapter: "folder",
            place: self.0.folder.display().to_string(),
            max_bytes: MAX_BYTES,
            versions: true,
            max_expiry_seconds: MAX_EXPIRY_SECONDS,
        }
    }

    async fn health(&self) -> Result<()> {
        let files = self.0.files.clone();
        aside(move || files.probe()).await?;
        self.0.durable.commit(Vec::new()).await
    }

    fn sign_upload(&self, scope: &Scope, spec: &UploadSpec) -> Result<UploadTarget> {
        let expires_at = self.0.expiry(spec.expires_in)?;
        let token = self.0.tokens.seal_upload(files::grant(scope.organization_id(), spec), expires_at)?;
        Ok(UploadTarget {
            method: "PUT",
            url: format!("/media/upload/{token}"),
            headers: vec![("content-type".to_owned(), spec.content_type.clone())],
            expires_at,
        })
    }

    fn sign_download(&self, scope: &Scope, spec: &DownloadSpec) -> Result<String> {
        if spec.file_name.as_deref().is_some_and(|name| !is_file_name(name)) {
            let message = format!("a file name has up to {MAX_FILE_NAME} bytes, no slashes and no control characters");
            return Err(StoreError::invalid(STORE, message));
        }
        let grant = DownloadGrant {
            organization_id: scope.organization_id(),
            asset_id: spec.asset_id,
            version: spec.version.clone(),
            file_name: spec.file_name.clone(),
        };
        let token = self.0.tokens.seal_download(grant, self.0.expiry(spec.expires_in)?)?;
        Ok(format!("/media/download/{token}"))
    }

    async fn complete(&self, scope: &Scope, spec: &UploadSpec) -> Result<ObjectVersion> {
        let (key, spec) = ((scope.organization_id(), spec.asset_id), spec.clone());
        self.change(move |inner| async move { inner.complete(key, &spec).await }).await
    }

    async fn put(&self, scope: &Scope, spec: &UploadSpec, bytes: Bytes) -> Result<ObjectVersion> {
        let (files, begun) = (self.0.files.clone(), self.0.clock.now());
        let grant = files::grant(scope.organization_id(), spec);
        let arrive = move || {
            let mut incoming = Incoming::begin(&files)?;
            incoming.write(&bytes)?;
            incoming.arrive(&grant, begun)
        };
        aside(arrive).await?;
        self.complete(scope, spec).await
    }

    async fn versions(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<Vec<Vec<ObjectVersion>>> {
        let index = self.0.index.read();
        Ok(asset_ids.iter().map(|asset_id| index.versions((scope.organization_id(), *asset_id))).collect())
    }

    async fn restore(&self, scope: &Scope, asset_id: Uuid, version: &str) -> Result<ObjectVersion> {
        let (key, version) = ((scope.organization_id(), asset_id), version.to_owned());
        self.change(move |inner| async move { inner.restore(key, &version).await }).await
    }

    async fn delete(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<()> {
        let keys = asset_ids.iter().map(|asset_id| (scope.organization_id(), *asset_id)).collect();
        self.change(move |inner| async move { inner.delete(keys).await }).await
    }

    async fn sweep(&self, before: DateTime<Utc>) -> Result<u64> {
        self.change(move |inner| async move {
            aside(move || inner.files.sweep(before, |sha256| inner.index.read().uses(sha256))).await
        })
        .await
    }

    fn local(&self) -> Option<Arc<dyn LocalMedia>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl LocalMedia for FolderMedia {
    /// The content type must be sent as it was signed. A URL that expires while its bytes are on their way still counts.
    async fn accept(&self, token: &str, content_type: Option<&str>, mut body: ByteStream) -> Result<()> {
        let begun = self.0.clock.now();
        let grant = self.0.tokens.open_upload(token, begun)?;
        if !content_type.is_some_and(|sent| sent.eq_ignore_ascii_case(&grant.content_type)) {
            let message = format!("the content type is not {}, as was signed", grant.content_type);
            return Err(StoreError::invalid(STORE, message));
        }
        let files = self.0.files.clone();
        let mut incoming = aside(move || Incoming::begin(&files)).await?;
        while let Some(piece) = body.next().await {
            let piece = piece
                .map_err(|error| StoreError::with_source(STORE, ErrorKind::Invalid, "the upload broke off", error))?;
            if piece.len() as u64 > grant.size_bytes - incoming.received() {
                return Err(StoreError::invalid(STORE, "the bytes are more than were signed"));
            }
            incoming = aside(move || incoming.write(&piece).map(|()| incoming)).await?;
        }
        aside(move || incoming.arrive(&grant, begun)).await
    }

    /// `NotFound` for an absent object, `Invalid` for a range that begins past its end, `Corrupt` for damaged bytes.
    async fn open(&self, token: &str, range: Option<(u64, Option<u64>)>) -> Result<Download> {
        let DownloadGrant { organization_id, asset_id, version, file_name } =
            self.0.tokens.open_download(token, self.0.clock.now())?;
        let object = self.0.index.read().version((organization_id, asset_id), version.as_deref());
        let object = object.ok_or_else(|| StoreError::new(STORE, ErrorKind::NotFound, "there is no such object"))?;
        let (offset, length) = span(object.size_bytes, range)?;
        let (sha256, size) = (object.sha256.clone(), object.size_bytes);
        let file = self.0.on_files((), move |files, _| files.open_blob(&sha256, size, offset)).await?;
        Ok(Download { object, file_name, offset, length, body: pieces(file, length) })
    }
}

/// Offset and length of an inclusive range, cut to the size.
fn span(size: u64, range: Option<(u64, Option<u64>)>) -> Result<(u64, u64)> {
    let Some((first, last)) = range else { return Ok((0, size)) };
    let last = last.unwrap_or(u64::MAX).min(size.saturating_sub(1));
    if first > last {
        return Err(StoreError::invalid(STORE, format!("the range lies outside the {size} bytes there are")));
    }
    Ok((first, last - first + 1))
}

/// The next `length` bytes of a file, read piece by piece as they are asked for.
fn pieces(file: File, length: u64) -> ByteStream {
    Box::pin(stream::try_unfold((file, length), |(file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = move || -> io::Result<_> {
            let mut piece = Vec::new();
            let got = (&file).take(left.min(PIECE)).read_to_end(&mut piece)? as u64;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Some((Bytes::from(piece), (file, left - got))))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }))
}

fn is_file_name(name: &str) -> bool {
    let plain = |character: char| !character.is_control() && character != '/' && character != '\\';
    !name.is_empty() && name.len() <= MAX_FILE_NAME && name.chars().all(plain)
}

/// Runs what blocks on a thread that may.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(broke_off)?
}

fn broke_off(error: tokio::task::JoinError) -> StoreError {
    StoreError::with_source(STORE, ErrorKind::Internal, "a change broke off", error)
}
