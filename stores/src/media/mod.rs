//! The media port: the bytes of images, videos and audio, with their versions, moved by signed URLs.
//!
//! Bytes never pass through GraphQL. An upload is asked for (the URL binds type, size and SHA-256), sent to that URL,
//! then completed: only then does the object exist for anyone. Signing is arithmetic: no I/O, no batch.

pub mod content;
mod folder;

pub use folder::FolderMedia;

use crate::{
    Result, Scope,
    error::{Store, StoreError},
    guard::{Guard, Idempotence, one_per_key},
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use url::Url;
use uuid::Uuid;

/// What will be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSpec {
    /// The asset, which is the object's key within the organisation.
    pub asset_id: Uuid,
    /// Media type the bytes will be sent as.
    pub content_type: String,
    /// Exact size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
    /// How long the URL works.
    pub expires_in: Duration,
}

/// Where and how to send the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadTarget {
    /// `PUT`.
    pub method: &'static str,
    /// Where; relative to the server's own address when the adapter serves it itself.
    pub url: String,
    /// Headers that must be sent as they are.
    pub headers: Vec<(String, String)>,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

/// What to make a download URL for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadSpec {
    /// The asset.
    pub asset_id: Uuid,
    /// A version; `None` is the newest.
    pub version: Option<String>,
    /// Offered as the name of the file.
    pub file_name: Option<String>,
    /// How long the URL works.
    pub expires_in: Duration,
}

/// One stored version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectVersion {
    /// The version's name, opaque.
    pub version: String,
    /// Media type.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// When it was completed.
    pub created_at: DateTime<Utc>,
    /// Whether it is what a download without a version gives.
    pub latest: bool,
}

/// What a media adapter can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Adapter name, such as `folder`.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
    /// The largest object in bytes.
    pub max_bytes: u64,
    /// Whether older versions are kept.
    pub versions: bool,
    /// The longest life of a URL in seconds.
    pub max_expiry_seconds: u64,
}

/// What a media store implements. Another organisation's objects behave as absent.
#[async_trait]
pub trait MediaAdapter: Send + Sync + 'static {
    /// Limits and properties.
    fn capabilities(&self) -> Capabilities;

    /// Answers when the store can be read and written.
    async fn health(&self) -> Result<()>;

    /// A URL that accepts exactly these bytes. No I/O.
    fn sign_upload(&self, scope: &Scope, spec: &UploadSpec) -> Result<UploadTarget>;

    /// A URL that gives the bytes, without looking whether they exist. No I/O.
    fn sign_download(&self, scope: &Scope, spec: &DownloadSpec) -> Result<String>;

    /// Makes what was uploaded under the spec visible as the newest version. `NotFound` when nothing has arrived,
    /// `Invalid` when size, SHA-256 or the type by content differ (what arrived is then gone). Repeating it is harmless.
    async fn complete(&self, scope: &Scope, spec: &UploadSpec) -> Result<ObjectVersion>;

    /// Stores bytes directly, as an upload and its completion in one.
    async fn put(&self, scope: &Scope, spec: &UploadSpec, bytes: Bytes) -> Result<ObjectVersion>;

    /// Versions by asset, newest first; an unknown asset has none.
    async fn versions(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<Vec<Vec<ObjectVersion>>>;

    /// Makes an old version the newest again. `NotFound` when there is none such.
    async fn restore(&self, scope: &Scope, asset_id: Uuid, version: &str) -> Result<ObjectVersion>;

    /// Removes all versions; absent is fine.
    async fn delete(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<()>;

    /// Removes uploads begun before `before` and never completed, in every organisation; how many.
    async fn sweep(&self, before: DateTime<Utc>) -> Result<u64>;

    /// For adapters whose URLs point at this process: what serves them.
    fn local(&self) -> Option<Arc<dyn LocalMedia>> {
        None
    }
}

/// What the HTTP layer needs to serve the URLs of an adapter that lives in this process. The token is the URL's last
/// part; it carries its own authority, so no scope is needed.
#[async_trait]
pub trait LocalMedia: Send + Sync + 'static {
    /// Takes an upload. Nothing stays behind unless it returns `Ok`. `Forbidden` for a forged or expired token, `Invalid`
    /// for other bytes than signed.
    async fn accept(&self, token: &str, content_type: Option<&str>, body: ByteStream) -> Result<()>;

    /// Opens a download; `range` is an inclusive byte range.
    async fn open(&self, token: &str, range: Option<(u64, Option<u64>)>) -> Result<Download>;
}

/// Bytes on their way in; an error means that the sender went away.
pub type ByteStream = std::pin::Pin<Box<dyn futures_util::Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Bytes on their way out.
pub struct Download {
    /// The version served.
    pub object: ObjectVersion,
    /// The name to offer.
    pub file_name: Option<String>,
    /// First byte served.
    pub offset: u64,
    /// How many bytes are served.
    pub length: u64,
    /// The bytes.
    pub body: ByteStream,
}

/// The media handle.
#[derive(Clone)]
pub struct Media {
    guard: Guard,
    adapter: Arc<dyn MediaAdapter>,
}

const STORE: Store = Store::Media;

impl Media {
    /// A handle on `adapter` behind `guard`.
    pub fn new(guard: Guard, adapter: Arc<dyn MediaAdapter>) -> Self {
        Self { guard, adapter }
    }

    /// The guard, for its state.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// See [`MediaAdapter::capabilities`].
    pub fn capabilities(&self) -> Capabilities {
        self.adapter.capabilities()
    }

    /// See [`MediaAdapter::local`].
    pub fn local(&self) -> Option<Arc<dyn LocalMedia>> {
        self.adapter.local()
    }

    /// See [`MediaAdapter::health`].
    pub async fn health(&self, scope: &Scope) -> Result<()> {
        self.guard.call(scope, "health", Idempotence::Read, || self.adapter.health()).await
    }

    /// See [`MediaAdapter::sign_upload`]. `Invalid` for a spec out of bounds.
    pub fn sign_upload(&self, scope: &Scope, spec: &UploadSpec) -> Result<UploadTarget> {
        self.check(spec)?;
        self.adapter.sign_upload(scope, spec)
    }

    /// See [`MediaAdapter::sign_download`].
    pub fn sign_download(&self, scope: &Scope, spec: &DownloadSpec) -> Result<String> {
        self.check_expiry(spec.expires_in)?;
        self.adapter.sign_download(scope, spec)
    }

    /// See [`MediaAdapter::complete`].
    pub async fn complete(&self, scope: &Scope, spec: &UploadSpec) -> Result<ObjectVersion> {
        self.check(spec)?;
        self.guard.call(scope, "complete", Idempotence::Read, || self.adapter.complete(scope, spec)).await
    }

    /// See [`MediaAdapter::put`].
    pub async fn put(&self, scope: &Scope, spec: &UploadSpec, bytes: Bytes) -> Result<ObjectVersion> {
        self.check(spec)?;
        let call = || self.adapter.put(scope, spec, bytes.clone());
        self.guard.call(scope, "put", Idempotence::Once, call).await
    }

    /// See [`MediaAdapter::versions`].
    pub async fn versions(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<Vec<Vec<ObjectVersion>>> {
        let call = || self.adapter.versions(scope, asset_ids);
        one_per_key(STORE, asset_ids.len(), self.guard.call(scope, "versions", Idempotence::Read, call).await?)
    }

    /// See [`MediaAdapter::restore`].
    pub async fn restore(&self, scope: &Scope, asset_id: Uuid, version: &str) -> Result<ObjectVersion> {
        if !self.adapter.capabilities().versions {
            return Err(StoreError::unsupported(STORE, "this media store keeps no versions"));
        }
        let call = || self.adapter.restore(scope, asset_id, version);
        self.guard.call(scope, "restore", Idempotence::Once, call).await
    }

    /// See [`MediaAdapter::delete`].
    pub async fn delete(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<()> {
        self.guard.call(scope, "delete", Idempotence::Once, || self.adapter.delete(scope, asset_ids)).await
    }

    /// See [`MediaAdapter::sweep`].
    pub async fn sweep(&self, scope: &Scope, before: DateTime<Utc>) -> Result<u64> {
        self.guard.call(scope, "sweep", Idempotence::Once, || self.adapter.sweep(before)).await
    }

    fn check(&self, spec: &UploadSpec) -> Result<()> {
        let max = self.adapter.capabilities().max_bytes;
        if spec.size_bytes == 0 || spec.size_bytes > max {
            return Err(StoreError::invalid(STORE, format!("the size is not between 1 and {max} bytes")));
        }
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if spec.sha256.len() != 64 || !spec.sha256.bytes().all(hex) {
            return Err(StoreError::invalid(STORE, "the SHA-256 is not 64 lower-case hex digits"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+-._".contains(&byte);
        if spec.content_type.split('/').count() != 2 || !spec.content_type.bytes().all(plain) {
            return Err(StoreError::invalid(STORE, "the content type is not of the form type/subtype"));
        }
        self.check_expiry(spec.expires_in)
    }

    fn check_expiry(&self, expires_in: Duration) -> Result<()> {
        let max = self.adapter.capabilities().max_expiry_seconds;
        if expires_in.is_zero() || expires_in.as_secs() > max {
            return Err(StoreError::invalid(STORE, format!("the expiry is not between 1 and {max} seconds")));
        }
        Ok(())
    }
}

/// Joins a relative URL of a local adapter to the server's public address.
pub fn absolute(public: &Url, url: &str) -> String {
    public.join(url).map_or_else(|_| url.to_owned(), String::from)
}
