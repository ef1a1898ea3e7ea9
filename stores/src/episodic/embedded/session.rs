//! The sessions of one organisation. What has expired is gone, whether or not it has been swept away yet.

use super::{
    super::Session,
    journal::{Batch, SESSION, encode, later},
};
use crate::error::Result;
use chrono::{DateTime, Utc};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// The sessions of one organisation, each with the number of the decision that wrote it.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: HashMap<String, (Arc<Session>, u64)>,
    ends: BTreeSet<(DateTime<Utc>, String)>,
}

impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Takes in a session read from disk.
    pub(super) fn load(&mut self, session: Session) {
        self.insert(session.into(), 0);
    }

    /// Forgets what has expired.
    pub(super) fn tick(&mut self, batch: &mut Batch) {
        while let Some((end, id)) = self.ends.first().cloned()
            && end <= batch.now
        {
            self.take_out(&id);
            batch.forget(SESSION, id.as_bytes());
        }
    }

    /// See the port.
    pub(super) fn put(
        &mut self,
        batch: &mut Batch,
        id: &str,
        data: serde_json::Value,
        ttl: Duration,
    ) -> Result<Arc<Session>> {
        let session = Arc::new(Session { id: id.to_owned(), data, expires_at: later(batch.now, ttl) });
        let number = batch.put(SESSION, id.as_bytes(), encode(&*session)?);
        self.insert(session.clone(), number);
        Ok(session)
    }

    /// See the port.
    pub(super) fn get(&mut self, batch: &mut Batch, id: &str, touch: Option<Duration>) -> Result<Option<Arc<Session>>> {
        let Some((session, number)) = self.sessions.get(id) else { return Ok(None) };
        match touch {
            Some(ttl) => self.put(batch, id, session.data.clone(), ttl).map(Some),
            None => {
                batch.tells_of(*number);
                Ok(Some(session.clone()))
            }
        }
    }

    /// See the port.
    pub(super) fn end(&mut self, batch: &mut Batch, id: &str) {
        if self.take_out(id) {
            batch.remove(SESSION, id.as_bytes());
        }
    }

    fn insert(&mut self, session: Arc<Session>, number: u64) {
        self.take_out(&session.id);
        self.ends.insert((session.expires_at, session.id.clone()));
        self.sessions.insert(session.id.clone(), (session, number));
    }

    fn take_out(&mut self, id: &str) -> bool {
        let Some((session, _)) = self.sessions.remove(id) else { return false };
        self.ends.remove(&(session.expires_at, session.id.clone()));
        true
    }
}
