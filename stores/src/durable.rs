//! A small durable map for the embedded adapters that live in memory: `(table, key) → bytes` in one redb file.
//!
//! Writes from many tasks are grouped: one thread commits everything that has queued up in one transaction with an
//! fsync, then acknowledges all of it. What was acknowledged survives `kill -9` and a crash of the machine. Opening a
//! file checks its structure (redb's own checksums over every page); a damaged or foreign file is refused, never repaired in silence.

use crate::error::{ErrorKind, Result, Store, StoreError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{path::Path, thread};
use tokio::sync::{mpsc, oneshot};

const TABLE: TableDefinition<(u8, &[u8]), &[u8]> = TableDefinition::new("records");

/// One write: a table number of the adapter's choice, a key, and a value (`None` removes the key).
#[derive(Clone, Debug)]
pub struct Write {
    /// The adapter's own table number.
    pub table: u8,
    /// The key within the table.
    pub key: Vec<u8>,
    /// The new value, or `None` to remove it.
    pub value: Option<Vec<u8>>,
}

/// A record read back when the file was opened.
#[derive(Debug)]
pub struct Record {
    /// The adapter's own table number.
    pub table: u8,
    /// The key within the table.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

type Job = (Vec<Write>, oneshot::Sender<Result<()>>);

/// The writing end. Dropping every clone ends the thread after the last commit.
#[derive(Clone, Debug)]
pub struct Durable {
    store: Store,
    jobs: mpsc::UnboundedSender<Job>,
}

impl Durable {
    /// Opens or makes the file, and returns all records in it, ordered by table and key.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Unavailable` when it cannot be opened or is held by another process.
    pub fn open(store: Store, path: &Path) -> Result<(Self, Vec<Record>)> {
        let database = open(store, path)?;
        let records = read(&database).map_err(|error| corrupt(store, path, error))?;
        let (jobs, inbox) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name(format!("{store}-writer"))
            .spawn(move || write_all(store, &database, inbox))
            .map_err(|error| {
                StoreError::with_source(store, ErrorKind::Internal, "a thread could not be started", error)
            })?;
        Ok((Self { store, jobs }, records))
    }

    /// Queues writes now, in the order of the calls, and waits until they are on disk.
    ///
    /// The writes are queued before the returned future is first polled, so that a caller can queue under its own lock
    /// and wait after releasing it; the durable order is then the order of the lock.
    pub fn commit(&self, writes: Vec<Write>) -> impl Future<Output = Result<()>> + Send + 'static {
        let (done, wait) = oneshot::channel();
        let queued = self.jobs.send((writes, done)).is_ok();
        let store = self.store;
        async move {
            let stopped = || StoreError::new(store, ErrorKind::Unavailable, "the store has stopped writing");
            if !queued {
                return Err(stopped());
            }
            wait.await.unwrap_or_else(|_| Err(stopped()))
        }
    }
}

fn open(store: Store, path: &Path) -> Result<Database> {
    let mut database = Database::create(path).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::with_source(
            store,
            ErrorKind::Unavailable,
            format!("{} is in use by another process", path.display()),
            error,
        ),
        redb::DatabaseError::Storage(redb::StorageError::Io(ref io))
            if io.kind() != std::io::ErrorKind::InvalidData && io.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            let message = format!("{} cannot be opened", path.display());
            StoreError::with_source(store, ErrorKind::Unavailable, message, error)
        }
        other => corrupt(store, path, other),
    })?;
    match database.check_integrity() {
        Ok(true) => Ok(database),
        Ok(false) => Err(StoreError::new(store, ErrorKind::Corrupt, damaged(path))),
        Err(error) => Err(corrupt(store, path, error)),
    }
}

fn corrupt(store: Store, path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(store, ErrorKind::Corrupt, damaged(path), error)
}

fn damaged(path: &Path) -> String {
    format!("{} is damaged or not a file of this program; restore it from a backup or move it away", path.display())
}

fn read(database: &Database) -> std::result::Result<Vec<Record>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(TABLE) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (table, key) = key.value();
        records.push(Record { table, key: key.to_vec(), value: value.value().to_vec() });
    }
    Ok(records)
}

fn write_all(store: Store, database: &Database, mut inbox: mpsc::UnboundedReceiver<Job>) {
    while let Some(first) = inbox.blocking_recv() {
        let mut jobs = vec![first];
        while let Ok(next) = inbox.try_recv() {
            jobs.push(next);
        }
        let result = commit(database, jobs.iter().flat_map(|(writes, _)| writes)).map_err(|error| {
            StoreError::with_source(store, ErrorKind::Unavailable, "the change could not be written to disk", error)
        });
        for (_, done) in jobs {
            // A caller that has gone away does not change what is stored.
            let _ = done.send(result.clone());
        }
    }
}

fn commit<'a>(database: &Database, writes: impl Iterator<Item = &'a Write>) -> std::result::Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for write in writes {
            match &write.value {
                Some(value) => table.insert((write.table, write.key.as_slice()), value.as_slice())?,
                None => table.remove((write.table, write.key.as_slice()))?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> Write {
        Write { table: 1, key: key.to_vec(), value: Some(value.to_vec()) }
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let (durable, records) = Durable::open(Store::Episodic, &path).unwrap();
        assert!(records.is_empty());
        durable.commit(vec![put(b"b", b"2"), put(b"a", b"1")]).await.unwrap();
        durable.commit(vec![Write { table: 1, key: b"b".to_vec(), value: None }]).await.unwrap();
        drop(durable);
        let records = loop {
            // The writer thread lets go of the file a moment after its last sender is dropped.
            match Durable::open(Store::Episodic, &path) {
                Ok((_, records)) => break records,
                Err(error) if error.kind() == ErrorKind::Unavailable => thread::yield_now(),
                Err(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].key.as_slice(), records[0].value.as_slice()), (b"a".as_slice(), b"1".as_slice()));
    }

    #[tokio::test]
    async fn a_foreign_or_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        std::fs::write(&path, b"this is not a database at all, only some text").unwrap();
        assert_eq!(Durable::open(Store::Episodic, &path).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
