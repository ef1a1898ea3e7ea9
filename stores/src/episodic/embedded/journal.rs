//! What a decision leaves behind on disk, and how long its answer has to wait.
//!
//! Every decision taken under the store's lock has a number; its writes queue under the same lock, so the numbers rise
//! in the order in which the disk will hold them. Whatever is stored remembers the number of the decision that wrote
//! it. An answer waits for the highest number among the things it tells of, and for nothing else: reading what has
//! been quiet for a while never waits, and nobody is told of a change that a crash could still take back.

use crate::{
    durable::Write,
    error::{ErrorKind, Result, Store, StoreError},
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use uuid::Uuid;

/// What the file is: written first, checked at every open.
pub(super) const FORMAT: u8 = 0;
/// What a task was enqueued with; never changes.
pub(super) const TASK: u8 = 1;
/// Where a task stands; small, rewritten with every step.
pub(super) const PROGRESS: u8 = 2;
/// Turns.
pub(super) const TURN: u8 = 3;
/// Sessions.
pub(super) const SESSION: u8 = 4;
/// The settings of a queue, when they are not the default ones.
pub(super) const SETTINGS: u8 = 5;
/// How many tasks a queue with a rate limit handed out at a time.
pub(super) const HANDED: u8 = 6;
/// How tries ended in a minute.
pub(super) const MINUTE: u8 = 7;

/// One decision about one organisation.
pub(super) struct Batch {
    pub(super) organization_id: Uuid,
    /// When it is taken; the clock is read under the lock.
    pub(super) now: DateTime<Utc>,
    number: u64,
    needed: u64,
    writes: Vec<Write>,
}

impl Batch {
    pub(super) fn new(organization_id: Uuid, now: DateTime<Utc>, number: u64) -> Self {
        Self { organization_id, now: now.trunc_subsecs(6), number, needed: 0, writes: Vec::new() }
    }

    /// Writes a record, which the answer waits for. Gives the number to remember with it.
    pub(super) fn put(&mut self, table: u8, id: &[u8], value: Vec<u8>) -> u64 {
        self.needed = self.number;
        self.write(table, id, Some(value));
        self.number
    }

    /// Writes a record that the answer need not wait for. Gives the number to remember with it.
    pub(super) fn note(&mut self, table: u8, id: &[u8], value: Vec<u8>) -> u64 {
        self.write(table, id, Some(value));
        self.number
    }

    /// Removes a record, which the answer waits for.
    pub(super) fn remove(&mut self, table: u8, id: &[u8]) {
        self.needed = self.number;
        self.write(table, id, None);
    }

    /// Removes a record whose time has passed. No answer waits for it: after a crash, time removes it again.
    pub(super) fn forget(&mut self, table: u8, id: &[u8]) {
        self.write(table, id, None);
    }

    /// The answer tells of something that the decision `number` wrote.
    pub(super) fn tells_of(&mut self, number: u64) {
        self.needed = self.needed.max(number);
    }

    /// The decision to wait for and the records to write.
    pub(super) fn finish(self) -> (u64, Vec<Write>) {
        (self.needed, self.writes)
    }

    fn write(&mut self, table: u8, id: &[u8], value: Option<Vec<u8>>) {
        let mut key = self.organization_id.as_bytes().to_vec();
        key.extend_from_slice(id);
        self.writes.push(Write { table, key, value });
    }
}

/// A record's bytes.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        StoreError::with_source(Store::Episodic, ErrorKind::Internal, "a record could not be encoded", error)
    })
}

/// A record from its bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        StoreError::with_source(Store::Episodic, ErrorKind::Corrupt, "a stored record makes no sense", error)
    })
}

/// The organisation and the rest of a key.
pub(super) fn split_key(key: &[u8]) -> Result<(Uuid, &[u8])> {
    key.split_first_chunk().map(|(organization, id)| (Uuid::from_bytes(*organization), id)).ok_or_else(senseless)
}

/// The id that is the rest of a key.
pub(super) fn id_of(rest: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(rest).map_err(|_| senseless())
}

/// A file that no version of this store has written.
pub(super) fn senseless() -> StoreError {
    StoreError::new(Store::Episodic, ErrorKind::Corrupt, "a stored record makes no sense")
}

/// `by` after `at`; as late as there is a date for when that is too long.
pub(super) fn later(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by)
        .ok()
        .and_then(|by| at.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .trunc_subsecs(6)
}

/// `by` before `at`; as early as there is a date for when that is too long.
pub(super) fn earlier(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| at.checked_sub_signed(by)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
