//! What this process remembers of where things are: which queue has a task, and which queues an organisation has. Only a
//! first guess that saves a round trip: a guess that is wrong is found out by asking, and costs no more than none.

use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use uuid::Uuid;

/// Tasks of one generation; the one before it is remembered as well.
const TASKS: usize = 16_384;
/// Organisations whose queues are remembered.
const ORGANIZATIONS: usize = 1024;

type Tasks = HashMap<(Uuid, Uuid), Arc<str>>;

/// The memory of one process.
#[derive(Default)]
pub(super) struct Known {
    /// The present generation and the one before it.
    tasks: Mutex<(Tasks, Tasks)>,
    queues: Mutex<HashMap<Uuid, BTreeSet<Arc<str>>>>,
}

impl Known {
    /// Remembers which queue has these tasks.
    pub(super) fn put(&self, organization: Uuid, queue: &str, ids: impl IntoIterator<Item = Uuid>) {
        let queue: Arc<str> = queue.into();
        let mut tasks = self.tasks.lock();
        for id in ids {
            if tasks.0.len() >= TASKS {
                tasks.1 = std::mem::take(&mut tasks.0);
            }
            tasks.0.insert((organization, id), queue.clone());
        }
    }

    /// Which queue has a task, as far as is known.
    pub(super) fn get(&self, organization: Uuid, id: Uuid) -> Option<Arc<str>> {
        let tasks = self.tasks.lock();
        tasks.0.get(&(organization, id)).or_else(|| tasks.1.get(&(organization, id))).cloned()
    }

    /// The queues that an organisation had when it was last asked.
    pub(super) fn queues(&self, organization: Uuid) -> BTreeSet<Arc<str>> {
        self.queues.lock().get(&organization).cloned().unwrap_or_default()
    }

    /// Remembers an organisation's queues.
    pub(super) fn put_queues(&self, organization: Uuid, names: BTreeSet<Arc<str>>) {
        let mut queues = self.queues.lock();
        if queues.len() >= ORGANIZATIONS && !queues.contains_key(&organization) {
            queues.clear();
        }
        queues.insert(organization, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let (known, organization) = (Known::default(), Uuid::nil());
        let ids: Vec<Uuid> = (0..3 * TASKS as u128).map(Uuid::from_u128).collect();
        known.put(organization, "render", ids.iter().copied());
        let held = |known: &Known| {
            let tasks = known.tasks.lock();
            tasks.0.len() + tasks.1.len()
        };
        assert!(held(&known) <= 2 * TASKS);
        assert_eq!(known.get(organization, ids[0]), None);
        assert!(ids[2 * TASKS..].iter().all(|id| known.get(organization, *id).is_some()));
        assert_eq!(known.get(Uuid::max(), ids[3 * TASKS - 1]), None, "of another organisation");
    }
}
