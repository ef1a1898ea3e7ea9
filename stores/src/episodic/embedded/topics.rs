//! Live events within this process: each subscriber has a bounded place in a ring, and one that falls behind loses the
//! oldest events. Nothing is stored, and a topic without subscribers takes no memory.

use super::super::LiveEvent;
use futures_util::{StreamExt, stream, stream::BoxStream};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::broadcast::{self, error::RecvError};
use uuid::Uuid;

/// Events a subscriber may lag behind before it loses the oldest.
pub(super) const CAPACITY: usize = 256;

type Key = (Uuid, String);
type Senders = Mutex<HashMap<Key, broadcast::Sender<Arc<LiveEvent>>>>;

/// The topics of all organisations.
#[derive(Default)]
pub(super) struct Topics(Arc<Senders>);

/// A subscriber. It holds no sender, so its stream ends with the store.
struct Subscription {
    events: broadcast::Receiver<Arc<LiveEvent>>,
    senders: Weak<Senders>,
    key: Key,
}

impl Topics {
    pub(super) fn publish(&self, organization_id: Uuid, event: LiveEvent) {
        if let Some(sender) = self.0.lock().get(&(organization_id, event.topic.clone())) {
            // The last subscriber may have gone just now; nobody listening is fine.
            let _ = sender.send(Arc::new(event));
        }
    }

    pub(super) fn subscribe(&self, organization_id: Uuid, topic: &str) -> BoxStream<'static, LiveEvent> {
        let key = (organization_id, topic.to_owned());
        let events = {
            let mut senders = self.0.lock();
            senders.entry(key.clone()).or_insert_with(|| broadcast::channel(CAPACITY).0).subscribe()
        };
        let subscription = Subscription { events, senders: Arc::downgrade(&self.0), key };
        stream::unfold(subscription, |mut subscription| async {
            loop {
                match subscription.events.recv().await {
                    Ok(event) => return Some(((*event).clone(), subscription)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(senders) = self.senders.upgrade() else { return };
        let mut senders = senders.lock();
        // Counted under the lock: this one is still among them, and no new one can come.
        if senders.get(&self.key).is_some_and(|sender| sender.receiver_count() <= 1) {
            senders.remove(&self.key);
        }
    }
}
