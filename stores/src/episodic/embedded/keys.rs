//! Which task of a queue a dedupe key stands for: an open one, or one whose window has not ended.
//!
//! At most one task of a queue has a key. Two can lay claim to one only in a file read back: that a window has ended is not
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

/// A queue and a key.
type Name = (String, String);

/// The dedupe keys of one organisation.
#[derive(Default)]
pub(super) struct Keys {
    owners: HashMap<Name, Owner>,
    ends: BTreeSet<(DateTime<Utc>, Name)>,
}

impl Keys {
    /// The task of a queue that has the key.
    pub(super) fn get(&self, queue: &str, key: &str) -> Option<&Uuid> {
        self.owners.get(&(queue.to_owned(), key.to_owned())).map(|owner| &owner.id)
    }

    /// Gives back the keys whose windows have ended.
    pub(super) fn tick(&mut self, now: DateTime<Utc>) {
        while self.ends.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, name)) = self.ends.pop_first() {
                self.owners.remove(&name);
            }
        }
    }

    /// Notes a task as it stands now.
    pub(super) fn insert(&mut self, entry: &Entry) {
        let Some(name) = name(entry) else { return };
        let until = if entry.is_open() { None } else { entry.dedupe_until() };
        let claims = entry.is_open() || until.is_some();
        let has_it = |owner: &Owner| owner.until.is_none_or(|end| until.is_some_and(|until| end >= until));
        if !claims || self.owners.get(&name).is_some_and(has_it) {
            return;
        }
        self.release(&name);
        if let Some(until) = until {
            self.ends.insert((until, name.clone()));
        }
        self.owners.insert(name, Owner { id: entry.id, until });
    }

    /// Forgets a task as it stood.
    pub(super) fn remove(&mut self, entry: &Entry) {
        if let Some(name) = name(entry)
            && self.owners.get(&name).is_some_and(|owner| owner.id == entry.id)
        {
            self.release(&name);
        }
    }

    fn release(&mut self, name: &Name) {
        if let Some(Owner { until: Some(until), .. }) = self.owners.remove(name) {
            self.ends.remove(&(until, name.clone()));
        }
    }
}

fn name(entry: &Entry) -> Option<Name> {
    Some((entry.body.queue.clone(), entry.body.dedupe_key.clone()?))
}
