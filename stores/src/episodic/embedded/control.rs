//! What is known of one queue besides its tasks: its settings, what it has handed out under its rate limit, and how
//! tries ended by the minute.
//!
//! Each entry of the two logs is a small record of its own, so that a reserve under a limit of thousands writes some
//! bytes, and all of it stands after a restart: a limit that a restart resets is none.

use super::{
    super::{KEPT_MINUTES, QueueChange, QueueSettings, RateLimit, Throughput, minute_of},
    journal::{Batch, HANDED, MINUTE, SETTINGS, earlier, encode, senseless},
};
use crate::error::Result;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// The part of a queue that outlasts its tasks.
#[derive(Default)]
pub(super) struct Control {
    settings: QueueSettings,
    /// The decision that wrote the settings.
    number: u64,
    /// When tasks were handed out, and how many; empty without a limit.
    handed: BTreeMap<DateTime<Utc>, u32>,
    minutes: BTreeMap<i64, Throughput>,
}

impl Control {
    /// Whether it can be forgotten.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_set() && self.minutes.is_empty()
    }

    /// Whether the settings are other than the default ones.
    pub(super) fn is_set(&self) -> bool {
        self.settings != QueueSettings::default()
    }

    /// Takes in settings read from disk.
    pub(super) fn load(&mut self, settings: QueueSettings) {
        self.settings = settings;
    }

    /// Takes in an entry of the log of what was handed out.
    pub(super) fn load_handed(&mut self, micros: i64, count: u32) -> Result<()> {
        let at = DateTime::from_timestamp_micros(micros).ok_or_else(senseless)?;
        self.handed.insert(at, count);
        Ok(())
    }

    /// Takes in a minute.
    pub(super) fn load_minute(&mut self, minute: i64, ended: Throughput) {
        self.minutes.insert(minute, ended);
    }

    /// See the port. A change that changes nothing writes nothing.
    pub(super) fn configure(&mut self, batch: &mut Batch, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        let settings = change.of(self.settings);
        if settings != self.settings {
            if settings == QueueSettings::default() {
                batch.remove(SETTINGS, queue.as_bytes());
            } else {
                self.number = batch.put(SETTINGS, queue.as_bytes(), encode(&settings)?);
            }
            self.settings = settings;
        }
        if settings.rate_limit.is_none() {
            std::mem::take(&mut self.handed).into_keys().for_each(|at| forget_handed(batch, queue, at));
        }
        batch.tells_of(self.number);
        Ok(settings)
    }

    /// The settings, for an answer that tells of them.
    pub(super) fn settings(&self, batch: &mut Batch) -> QueueSettings {
        batch.tells_of(self.number);
        self.settings
    }

    /// How many of `count` tasks may be handed out now.
    pub(super) fn room(&mut self, batch: &mut Batch, queue: &str, count: u32) -> Result<u32> {
        let Some(limit) = self.settings.rate_limit.filter(|_| !self.settings.paused) else {
            return Ok(if self.settings.paused { 0 } else { count });
        };
        self.trim(batch, queue, limit)?;
        let handed = self.handed.values().fold(0, |sum: u32, count| sum.saturating_add(*count));
        Ok(count.min(limit.count.saturating_sub(handed)))
    }

    /// Notes that `count` tasks go out now.
    pub(super) fn hand_out(&mut self, batch: &mut Batch, queue: &str, count: u32) -> Result<()> {
        if count == 0 || self.settings.rate_limit.is_none() {
            return Ok(());
        }
        let now = batch.now;
        let handed = self.handed.entry(now).or_default();
        *handed = handed.saturating_add(count);
        batch.note(HANDED, &numbered(queue, now.timestamp_micros()), encode(handed)?);
        Ok(())
    }

    /// Counts what ended now. Gives the minute it counts for.
    pub(super) fn measure(&mut self, batch: &mut Batch, queue: &str, ended: Throughput) -> Result<i64> {
        let minute = minute_of(batch.now);
        let sum = self.minutes.entry(minute).or_default();
        *sum = sum.plus(ended);
        batch.note(MINUTE, &numbered(queue, minute), encode(sum)?);
        Ok(minute)
    }

    /// Forgets a minute that has grown old.
    pub(super) fn forget_minute(&mut self, batch: &mut Batch, queue: &str, minute: i64) {
        self.minutes.remove(&minute);
        batch.forget(MINUTE, &numbered(queue, minute));
    }

    /// How tries ended in the last minute and in the last hour.
    pub(super) fn throughput(&self, now: DateTime<Utc>) -> (Throughput, Throughput) {
        let of = |minute| self.minutes.get(&minute).copied().unwrap_or_default();
        (Throughput::within(now, 1, of), Throughput::within(now, KEPT_MINUTES, of))
    }

    /// Forgets what counts no more, and takes what a clock that jumped back has left in the future as handed out now.
    fn trim(&mut self, batch: &mut Batch, queue: &str, limit: RateLimit) -> Result<()> {
        let horizon = earlier(batch.now, limit.per);
        while let Some(first) = self.handed.first_entry().filter(|first| *first.key() <= horizon) {
            forget_handed(batch, queue, *first.key());
            first.remove();
        }
        let mut ahead = 0_u32;
        while let Some(last) = self.handed.last_entry().filter(|last| *last.key() > batch.now) {
            forget_handed(batch, queue, *last.key());
            ahead = ahead.saturating_add(last.remove());
        }
        self.hand_out(batch, queue, ahead)
    }
}

/// The key of a numbered record of a queue.
fn numbered(queue: &str, number: i64) -> Vec<u8> {
    [queue.as_bytes(), &number.to_be_bytes()].concat()
}

/// The queue and the number of a key.
pub(super) fn split_numbered(key: &[u8]) -> Result<(&str, i64)> {
    let (queue, number) = key.split_last_chunk().ok_or_else(senseless)?;
    Ok((queue_of(queue)?, i64::from_be_bytes(*number)))
}

/// The queue that is a key.
pub(super) fn queue_of(key: &[u8]) -> Result<&str> {
    std::str::from_utf8(key).map_err(|_| senseless())
}

fn forget_handed(batch: &mut Batch, queue: &str, at: DateTime<Utc>) {
    batch.forget(HANDED, &numbered(queue, at.timestamp_micros()));
}
