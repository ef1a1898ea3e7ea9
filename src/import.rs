//! Bulk import of newline-delimited JSON, one object a line.
//!
//! Streaming: a file of any size is read in batches. Idempotent: a line is known by its `externalId`; what is there
//! already is updated when it differs and left alone when it does not. Tolerant: a bad line is reported with its
//! number and reason, and every other line is kept.

mod lines;
mod records;
mod shapes;

pub use lines::{Batch, Lines, MAX_LINE_BYTES};
pub use records::Kind;

use crate::{relay::Relay, stores::Stores};
use chimera_stores::{Clock, Scope, StoreError};
use records::{Importer, Verdict};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::AsyncBufRead;

/// Lines of one batch: one transaction each.
pub const BATCH_LINES: usize = 200;

/// How an import went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that made something new.
    pub created: u64,
    /// Lines that changed something.
    pub updated: u64,
    /// Lines whose content was there already.
    pub unchanged: u64,
    /// Lines that were refused.
    pub failed: u64,
}

impl Summary {
    /// All lines but blank ones.
    pub fn lines(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.failed
    }
}

/// What is told while an import runs.
pub trait Progress {
    /// So many bytes of the file have been dealt with.
    fn advanced(&mut self, bytes: u64);

    /// A line was refused.
    fn refused(&mut self, line: u64, reason: &str);
}

/// Imports lines of one kind into the organisation of `scope`.
///
/// # Errors
/// What a store says; every batch before is kept, and a repeat of the import goes on from there. A file that cannot be
/// read ends the import the same way.
pub async fn import(
    stores: &Stores,
    relay: &Relay,
    clock: &Arc<dyn Clock>,
    scope: &Scope,
    kind: Kind,
    input: impl AsyncBufRead + Unpin,
    progress: &mut impl Progress,
) -> Result<Summary, ImportError> {
    let importer = Importer::new(stores, clock, scope, kind);
    let mut lines = Lines::new(input);
    let mut summary = Summary::default();
    while let Some(batch) = lines.next_batch(BATCH_LINES).await.map_err(ImportError::Read)? {
        for (line, verdict) in importer.take(&batch).await? {
            match verdict {
                Verdict::Created => summary.created += 1,
                Verdict::Updated => summary.updated += 1,
                Verdict::Unchanged => summary.unchanged += 1,
                Verdict::Refused(reason) => {
                    summary.failed += 1;
                    progress.refused(line, &one_line(&reason));
                }
            }
        }
        relay.drain().await?;
        progress.advanced(batch.bytes);
    }
    Ok(summary)
}

/// Goes on carrying what the memory and search stores have not taken yet, for `budget` at the most; answers how many
/// entries are still waiting.
///
/// # Errors
/// What the relational store says.
pub async fn settle(stores: &Stores, relay: &Relay, scope: &Scope, budget: Duration) -> Result<u64, StoreError> {
    let until = Instant::now() + budget;
    loop {
        let waiting = stores.relational.outbox_depth(scope).await?.into_values().sum();
        if waiting == 0 || Instant::now() >= until {
            return Ok(waiting);
        }
        if relay.drain().await? == 0 {
            // What failed is tried again after a moment.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A reason may quote the file: what it quotes must neither fill the terminal nor steer it.
fn one_line(reason: &str) -> String {
    const MOST: usize = 400;
    let mut shown = String::new();
    for char in reason.chars() {
        if shown.len() >= MOST {
            shown.push('…');
            break;
        }
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

/// Why an import ended early.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("the file cannot be read: {0}")]
    Read(std::io::Error),
    /// A store.
    #[error("{0}")]
    Store(#[from] StoreError),
}
