//! A small durable map for the embedded adapters that live in memory: `(table, key) → bytes` in one redb file.
//!
//! Writes from many tasks are grouped: one thread commits everything that has queued up in one transaction, then
//! acknowledges all of it. What was acknowledged survives `kill -9` and a crash of the machine.
//!
//! Opening verifies the checksum of every page in use, so a damaged or foreign file is refused and never repaired in
//! silence; a file that a crash interrupted is not damaged and opens. Telling the two apart is what the two-phase commit
//! is for: it makes the pages durable before the header points at them. With redb's cheaper one-phase commit a
//! damaged newest commit looks like one that was cut off, and redb would quietly go back to the commit before it,
//! which was acknowledged too. Flipping every bit of the header and bytes of every page showed one hole: the bit that names the
//! newer of the two commit slots, in a file that a crash left, looks like a commit that was cut off before it counted.
//!
//! The first write that fails ends the thread: every later commit fails as well, so nothing that was decided on top of
//! a lost write is ever acknowledged. Whether the failed write itself is found after a restart is not known.

use crate::error::{ErrorKind, Result, Store, StoreError};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

const TABLE: TableDefinition<(u8, &[u8]), &[u8]> = TableDefinition::new("records");
/// The writer thread lets go of its file a moment after its last handle is dropped, and a restarted process may overlap
/// with the one it replaces; one that holds the file for longer is another instance.
const LOCK_WAIT: Duration = Duration::from_secs(1);

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
    /// Opens or makes the file, and returns all records in it, ordered by table and key. Blocks: it reads the file whole.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file, `Unavailable` when it cannot be opened or is held by another process.
    pub fn open(store: Store, path: &Path) -> Result<(Self, Vec<Record>)> {
        if !path.try_exists().map_err(|error| unavailable(store, path, error))? {
            create(store, path)?;
        }
        let database = open(store, path)?;
        let records = read(&database).map_err(|error| corrupt(store, path, error))?;
        Ok((Self::start(store, database)?, records))
    }

    /// A map over a storage of a test's own, which holds nothing yet.
    #[cfg(test)]
    pub(crate) fn over(store: Store, storage: impl redb::StorageBackend) -> Result<Self> {
        let database = Builder::new().create_with_backend(storage).expect("the storage works at first");
        Self::start(store, database)
    }

    fn start(store: Store, database: Database) -> Result<Self> {
        let (jobs, inbox) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name(format!("{store}-writer"))
            .spawn(move || write_all(store, &database, inbox))
            .map_err(|error| {
                StoreError::with_source(store, ErrorKind::Internal, "a thread could not be started", error)
            })?;
        Ok(Self { store, jobs })
    }

    /// Queues writes now, in the order of the calls, and waits until they are on disk.
    ///
    /// The writes are queued before the returned future is first polled, so that a caller can queue under its own lock
    /// and wait after releasing it; the durable order is then the order of the lock. Dropping the future takes nothing
    /// back. Committing nothing waits for all that was queued before.
    pub fn commit(&self, writes: Vec<Write>) -> impl Future<Output = Result<()>> + Send + use<> {
        let (done, wait) = oneshot::channel();
        let queued = self.jobs.send((writes, done)).is_ok();
        let store = self.store;
        async move {
            if !queued {
                return Err(stopped(store));
            }
            wait.await.unwrap_or_else(|_| Err(stopped(store)))
        }
    }

    /// Fails once a write has failed: from then on nothing is written until the file is opened anew.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn check(&self) -> Result<()> {
        if self.jobs.is_closed() { Err(stopped(self.store)) } else { Ok(()) }
    }
}

fn stopped(store: Store) -> StoreError {
    let message = "the store has stopped after a change could not be written to disk; restart when the disk is well";
    StoreError::new(store, ErrorKind::Unavailable, message)
}

/// Makes an empty file under another name first: redb refuses one whose making was interrupted. The link never takes
/// the place of a file that another process has made meanwhile, and the folder is synced because a synced file
/// whose name is lost is lost as well.
fn create(store: Store, path: &Path) -> Result<()> {
    let mut name = OsString::from(path);
    name.push(format!(".new-{}", std::process::id()));
    let draft = PathBuf::from(name);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unavailable(store, path, error)),
        _ => {}
    }
    Database::create(&draft).map_err(|error| unavailable(store, path, error))?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(|error| unavailable(store, path, error))?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unavailable(store, path, error)),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unavailable(store, path, error))
}

fn open(store: Store, path: &Path) -> Result<Database> {
    let started = Instant::now();
    loop {
        // Also rebuilds redb's own bookkeeping, which no checksum covers.
        match Builder::new().set_check_integrity_on_open(true).open(path) {
            Ok(database) => return Ok(database),
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < LOCK_WAIT => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(refused(store, path, error)),
        }
    }
}

fn refused(store: Store, path: &Path, error: DatabaseError) -> StoreError {
    match &error {
        DatabaseError::DatabaseAlreadyOpen => {
            let message = format!("{} is in use by another process", path.display());
            StoreError::with_source(store, ErrorKind::Unavailable, message, error)
        }
        DatabaseError::Storage(StorageError::Io(io))
            if !matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            unavailable(store, path, error)
        }
        _ => corrupt(store, path, error),
    }
}

fn unavailable(store: Store, path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(store, ErrorKind::Unavailable, format!("{} cannot be opened", path.display()), error)
}

fn corrupt(store: Store, path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    let message = format!(
        "{} is damaged or not a file of this program; restore it from a backup or move it away",
        path.display()
    );
    StoreError::with_source(store, ErrorKind::Corrupt, message, error)
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
        if let Err(error) = &result {
            tracing::error!(%store, error = %error.chain(), "a change could not be written; the store has stopped");
            // Before anybody hears of the failure, so that nobody who has heard of it can queue another write.
            inbox.close();
        }
        let failed = result.is_err();
        for (_, done) in jobs {
            // A caller that has gone away does not change what is stored.
            let _ = done.send(result.clone());
        }
        if failed {
            return;
        }
    }
}

fn commit<'a>(database: &Database, writes: impl Iterator<Item = &'a Write>) -> std::result::Result<(), redb::Error> {
    let mut writes = writes.peekable();
    if writes.peek().is_none() {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
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
    use redb::backends::InMemoryBackend;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    fn put(key: &[u8], value: &[u8]) -> Write {
        Write { table: 1, key: key.to_vec(), value: Some(value.to_vec()) }
    }

    fn pairs(records: Vec<Record>) -> Vec<(Vec<u8>, Vec<u8>)> {
        records.into_iter().map(|record| (record.key, record.value)).collect()
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let (durable, records) = Durable::open(Store::Episodic, &path).unwrap();
        assert!(records.is_empty());
        durable.commit(vec![put(b"b", b"2"), put(b"a", b"1")]).await.unwrap();
        durable.commit(vec![Write { table: 1, key: b"b".to_vec(), value: None }]).await.unwrap();
        durable.commit(Vec::new()).await.unwrap();
        drop(durable);
        let (_, records) = Durable::open(Store::Episodic, &path).unwrap();
        assert_eq!(pairs(records), [(b"a".to_vec(), b"1".to_vec())]);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["store.redb"], "nothing else is left behind");
    }

    #[test]
    fn a_foreign_or_empty_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        for content in ["this is not a database at all, only some text", "short", ""] {
            fs::write(&path, content).unwrap();
            let error = Durable::open(Store::Episodic, &path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{content:?}");
            assert!(error.message().contains("store.redb is damaged"), "{}", error.message());
            assert_eq!(fs::read_to_string(&path).unwrap(), content, "and left as it is");
        }
    }

    #[test]
    fn a_file_in_use_or_out_of_reach_is_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let _held = Durable::open(Store::Episodic, &path).unwrap();
        let error = Durable::open(Store::Episodic, &path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("in use"), "{}", error.message());
        let error = Durable::open(Store::Episodic, &folder.path().join("absent/store.redb")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    /// The files that a clean end and a sudden one leave behind, and what they hold.
    async fn files(folder: &Path) -> ([PathBuf; 2], Vec<(Vec<u8>, Vec<u8>)>) {
        let [clean, killed] = ["clean.redb", "killed.redb"].map(|name| folder.join(name));
        let (durable, _) = Durable::open(Store::Episodic, &clean).unwrap();
        let mut expected = Vec::new();
        for number in 0..200_u32 {
            let write = put(&number.to_be_bytes(), &[b'v'; 40]);
            expected.push((write.key.clone(), write.value.clone().unwrap()));
            // The last one is a commit of its own, which a fall-back to the one before would lose.
            let last = number == 199;
            let commit = durable.commit(vec![write]);
            if last || number == 198 {
                commit.await.unwrap();
            }
        }
        // What a copy of the open file holds is what a kill would leave.
        fs::copy(&clean, &killed).unwrap();
        drop(durable);
        drop(open(Store::Episodic, &clean).unwrap());
        ([clean, killed], expected)
    }

    #[tokio::test]
    async fn a_file_cut_off_by_a_crash_opens() {
        let folder = tempfile::tempdir().unwrap();
        let (files, expected) = files(folder.path()).await;
        for path in files {
            let (_, records) = Durable::open(Store::Episodic, &path).unwrap();
            assert_eq!(pairs(records), expected);
        }
    }

    #[tokio::test]
    async fn no_damaged_file_loses_records_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let (files, expected) = files(folder.path()).await;
        let damaged = folder.path().join("damaged.redb");
        for path in files {
            let bytes = fs::read(&path).unwrap();
            let written = (0..bytes.len() / 64).filter(|chunk| bytes[chunk * 64..(chunk + 1) * 64] != [0; 64]);
            let mut refused = 0;
            let offsets: Vec<usize> = (0..320).step_by(7).chain(written.map(|chunk| chunk * 64 + 17)).collect();
            for &offset in offsets.iter().step_by(offsets.len() / 60 + 1) {
                let mut bytes = bytes.clone();
                bytes[offset] ^= 0x10;
                fs::write(&damaged, &bytes).unwrap();
                // Not through `Durable`, whose thread might still hold the file when the next one is written.
                let records = open(Store::Episodic, &damaged)
                    .and_then(|database| read(&database).map_err(|error| corrupt(Store::Episodic, &damaged, error)));
                match records {
                    Ok(records) => assert!(pairs(records) == expected, "the byte at {offset} changed the records"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{offset}: {error:?}");
                        refused += 1;
                    }
                }
            }
            assert!(refused > 10, "damage was found {refused} times");
        }
    }

    /// A disk that can be made to fail.
    #[derive(Debug)]
    struct Disk(InMemoryBackend, Arc<AtomicBool>);

    impl redb::StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            if self.1.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { self.0.sync_data() }
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(offset, data)
        }
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_acknowledged() {
        let full = Arc::new(AtomicBool::new(false));
        let disk = Disk(InMemoryBackend::new(), full.clone());
        let durable = Durable::over(Store::Episodic, disk).unwrap();
        durable.commit(vec![put(b"a", b"1")]).await.unwrap();
        durable.check().unwrap();
        full.store(true, Ordering::Relaxed);
        let error = durable.commit(vec![put(b"b", b"2")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        full.store(false, Ordering::Relaxed);
        assert_eq!(durable.check().unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(durable.commit(vec![put(b"c", b"3")]).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(durable.commit(Vec::new()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
