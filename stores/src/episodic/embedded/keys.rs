//! Which task a dedupe key stands for: an open one, or one whose window has not ended.
//!
//! At most one task has a key. Two can lay claim to one only in a file read back: that a window has ended is not
//! written, and the clock may have jumped back since the key was given to another. Then an open task has it before one
//! that is done, and among those the one whose window ends last.

use super::task::Entry;
use chrono::{DateTime, Utc};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

struct Owner {
    id: Uuid,
    /// Until when, for a task that is done or dead.
    until: Option<DateTime<Utc>>,
}

/// The dedupe keys of one organisation.
#[derive(Default)]
pub(super) struct Keys {
    owners: HashMap<String, Owner>,
    ends: BTreeSet<(DateTime<Utc>, String)>,
}

impl Keys {
    /// The task that has the key.
    pub(super) fn get(&self, key: &str) -> Option<&Uuid> {
        self.owners.get(key).map(|owner| &owner.id)
    }

    /// Gives back the keys whose windows have ended.
    pub(super) fn tick(&mut self, now: DateTime<Utc>) {
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.ends.pop_first() {
                self.owners.remove(&key);
            }
        }
    }

    /// Notes a task as it stands now.
    pub(super) fn insert(&mut self, entry: &Entry) {
        let Some(key) = &entry.body.dedupe_key else { return };
        let until = if entry.is_open() { None } else { entry.dedupe_until() };
        let claims = entry.is_open() || until.is_some();
        let has_it = |owner: &Owner| owner.until.is_none_or(|end| until.is_some_and(|until| end >= until));
        if !claims || self.owners.get(key).is_some_and(has_it) {
            return;
        }
        self.release(key);
        if let Some(until) = until {
            self.ends.insert((until, key.clone()));
        }
        self.owners.insert(key.clone(), Owner { id: entry.id, until });
    }

    /// Forgets a task as it stood.
    pub(super) fn remove(&mut self, entry: &Entry) {
        if let Some(key) = &entry.body.dedupe_key
            && self.get(key) == Some(&entry.id)
        {
            self.release(key);
        }
    }

    fn release(&mut self, key: &str) {
        if let Some(Owner { until: Some(until), .. }) = self.owners.remove(key) {
            self.ends.remove(&(until, key.to_owned()));
        }
    }
}
