//! Which versions every asset has and how often each blob is used: the whole of it in memory, each entry a record of
//! `media.redb`. It knows no files.

use crate::{
    Result,
    durable::{Record, Write},
    error::{ErrorKind, Store, StoreError},
    media::{ObjectVersion, UploadSpec},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, path::Path};
use uuid::Uuid;

/// The table of versions in the file.
const VERSIONS: u8 = 1;

/// Organisation and asset.
pub type Key = (Uuid, Uuid);

/// One version of an asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The order of all versions in this folder, whatever the clock did.
    #[serde(skip)]
    pub sequence: u64,
    /// Random, so that a version of a deleted asset is never mistaken for one of its successor.
    pub version: String,
    /// Media type.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The blob.
    pub sha256: String,
    /// When it was completed.
    pub created_at: DateTime<Utc>,
}

impl Entry {
    /// Whether it holds what the spec describes.
    pub fn is(&self, spec: &UploadSpec) -> bool {
        self.sha256 == spec.sha256 && self.size_bytes == spec.size_bytes && self.content_type == spec.content_type
    }

    /// The record that keeps it.
    pub fn write(&self, key: Key) -> Result<Write> {
        let value = serde_json::to_vec(self).map_err(|error| {
            StoreError::with_source(Store::Media, ErrorKind::Internal, "a version could not be written", error)
        })?;
        Ok(Write { table: VERSIONS, key: record_key(key, self.sequence), value: Some(value) })
    }

    /// The removal of its record.
    pub fn removal(&self, key: Key) -> Write {
        Write { table: VERSIONS, key: record_key(key, self.sequence), value: None }
    }

    fn object(&self, latest: bool) -> ObjectVersion {
        ObjectVersion {
            version: self.version.clone(),
            content_type: self.content_type.clone(),
            size_bytes: self.size_bytes,
            sha256: self.sha256.clone(),
            created_at: self.created_at,
            latest,
        }
    }
}

fn record_key((organization_id, asset_id): Key, sequence: u64) -> Vec<u8> {
    [organization_id.as_bytes().as_slice(), asset_id.as_bytes(), &sequence.to_be_bytes()].concat()
}

/// Versions by asset.
#[derive(Default)]
pub struct Index {
    /// In order of their sequence.
    assets: HashMap<Key, Vec<Entry>>,
    uses: HashMap<String, usize>,
    last: u64,
}

impl Index {
    /// The index that the records of `path` describe.
    pub fn load(path: &Path, records: &[Record]) -> Result<Self> {
        let mut index = Self::default();
        for record in records {
            let (key, entry) = decode(record).ok_or_else(|| {
                let message =
                    format!("{} holds a record that makes no sense; restore it from a backup", path.display());
                StoreError::new(Store::Media, ErrorKind::Corrupt, message)
            })?;
            index.add(key, entry);
        }
        Ok(index)
    }

    /// The sequence of the next version.
    pub fn next_sequence(&self) -> u64 {
        self.last + 1
    }

    /// Adds the newest version of an asset.
    pub fn add(&mut self, key: Key, entry: Entry) {
        self.last = self.last.max(entry.sequence);
        *self.uses.entry(entry.sha256.clone()).or_default() += 1;
        self.assets.entry(key).or_default().push(entry);
    }

    /// Removes an asset; the blobs that nothing uses any more.
    pub fn remove(&mut self, key: Key) -> Vec<String> {
        let mut unused = Vec::new();
        for entry in self.assets.remove(&key).unwrap_or_default() {
            if let Some(uses) = self.uses.get_mut(&entry.sha256) {
                *uses -= 1;
                if *uses == 0 {
                    self.uses.remove(&entry.sha256);
                    unused.push(entry.sha256);
                }
            }
        }
        unused
    }

    /// Whether any version of any asset has these bytes.
    pub fn uses(&self, sha256: &str) -> bool {
        self.uses.contains_key(sha256)
    }

    /// The entries of an asset, oldest first.
    pub fn entries(&self, key: Key) -> &[Entry] {
        self.assets.get(&key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The versions of an asset, newest first.
    pub fn versions(&self, key: Key) -> Vec<ObjectVersion> {
        let newest_first = self.entries(key).iter().rev().enumerate();
        newest_first.map(|(age, entry)| entry.object(age == 0)).collect()
    }

    /// One version of an asset, the newest when none is named.
    pub fn version(&self, key: Key, version: Option<&str>) -> Option<ObjectVersion> {
        self.versions(key).into_iter().find(|object| version.is_none_or(|version| object.version == version))
    }

    /// The newest version that holds what the spec describes.
    pub fn completed(&self, key: Key, spec: &UploadSpec) -> Option<ObjectVersion> {
        let newest_first = self.entries(key).iter().rev().enumerate();
        newest_first
            .map(|(age, entry)| (age == 0, entry))
            .find(|(_, entry)| entry.is(spec))
            .map(|(latest, entry)| entry.object(latest))
    }
}

fn decode(record: &Record) -> Option<(Key, Entry)> {
    let (organization_id, rest) = record.key.split_first_chunk::<16>()?;
    let (asset_id, rest) = rest.split_first_chunk::<16>()?;
    let sequence = u64::from_be_bytes(rest.try_into().ok()?);
    let entry: Entry = serde_json::from_slice(&record.value).ok()?;
    let key = (Uuid::from_bytes(*organization_id), Uuid::from_bytes(*asset_id));
    (record.table == VERSIONS).then_some((key, Entry { sequence, ..entry }))
}
