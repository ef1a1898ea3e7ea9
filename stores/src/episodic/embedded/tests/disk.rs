//! The file: what is in it, what is refused, and what is told while it is slow or after it has failed.

use super::*;
use futures_util::{FutureExt, StreamExt};
use redb::backends::InMemoryBackend;
use std::{
    io,
    sync::{Condvar, Mutex as StdMutex},
};

const LEASE: Duration = Duration::from_secs(60);

/// How a disk behaves when it is told to make something durable.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Hangs,
    Full,
}

#[derive(Clone, Debug)]
struct Disk(Arc<InMemoryBackend>, Arc<(StdMutex<Mood>, Condvar)>);

impl Disk {
    fn new() -> Self {
        Self(Arc::new(InMemoryBackend::new()), Arc::new((StdMutex::new(Mood::Well), Condvar::new())))
    }

    fn is(&self, mood: Mood) {
        *self.1.0.lock().unwrap() = mood;
        self.1.1.notify_all();
    }

    fn store(&self) -> EmbeddedEpisodic {
        let durable = Durable::over(Store::Episodic, self.clone()).unwrap();
        EmbeddedEpisodic::start(durable, Vec::new(), clock(), Path::new("nowhere")).unwrap()
    }
}

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
        let (mood, changed) = &*self.1;
        let mood = changed.wait_while(mood.lock().unwrap(), |mood| *mood == Mood::Hangs).unwrap();
        if *mood == Mood::Full { Err(io::ErrorKind::StorageFull.into()) } else { self.0.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

async fn is_pending<T>(call: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::time::sleep(Duration::from_millis(20)).await;
    call.now_or_never().is_none()
}

#[tokio::test]
async fn nothing_is_told_before_it_is_on_disk() {
    let (disk, scope) = (Disk::new(), scope());
    let store = disk.store();
    let [old, new] = [1, 2].map(Uuid::from_u128);
    let now = store.clock.now();
    store.enqueue(&scope, &[task(old)]).await.unwrap();
    store.append_turns(&scope, &[turn(old, now)]).await.unwrap();
    store.health().await.unwrap();
    disk.is(Mood::Hangs);
    let (both, one) = ([old, new], [task(new)]);
    let mut writes = store.enqueue(&scope, &one);
    assert!(is_pending(&mut writes).await);
    // What is quiet is told at once.
    assert!(store.tasks(&scope, &[old]).await.unwrap()[0].is_some());
    assert_eq!(store.windows(&scope, &[window()]).await.unwrap()[0].len(), 1);
    // What is being written is not, whoever asks and in whatever way.
    let mut reads = store.tasks(&scope, &both);
    let mut repeats = store.enqueue(&scope, &one);
    let mut reserves = store.reserve(&scope, "render", "worker", 2, LEASE);
    assert!(is_pending(&mut reads).await);
    assert!(is_pending(&mut repeats).await);
    assert!(is_pending(&mut reserves).await);
    let said = [turn(new, now)];
    let mut appends = store.append_turns(&scope, &said);
    let mut repeats_turn = store.append_turns(&scope, &said);
    let windows = [window()];
    let mut looks = store.windows(&scope, &windows);
    assert!(is_pending(&mut appends).await);
    assert!(is_pending(&mut repeats_turn).await);
    assert!(is_pending(&mut looks).await);
    let data = serde_json::json!(1);
    let mut puts = store.put_session(&scope, "session", &data, LEASE);
    let mut gets = store.session(&scope, "session", None);
    let mut health = store.health();
    assert!(is_pending(&mut puts).await);
    assert!(is_pending(&mut gets).await);
    assert!(is_pending(&mut health).await);
    disk.is(Mood::Well);
    assert!(!writes.await.unwrap()[0].as_ref().unwrap().deduplicated);
    assert!(repeats.await.unwrap()[0].as_ref().unwrap().deduplicated);
    assert!(reads.await.unwrap().iter().all(Option::is_some));
    assert_eq!(reserves.await.unwrap().len(), 2);
    appends.await.unwrap();
    repeats_turn.await.unwrap();
    assert_eq!(looks.await.unwrap()[0].len(), 2);
    puts.await.unwrap();
    assert!(gets.await.unwrap().is_some());
    health.await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_given_up_is_on_disk_for_the_next_reader() {
    let (disk, scope) = (Disk::new(), scope());
    let store = disk.store();
    store.health().await.unwrap();
    disk.is(Mood::Hangs);
    let given_up = [task(Uuid::from_u128(1))];
    let mut writes = store.enqueue(&scope, &given_up);
    assert!(is_pending(&mut writes).await);
    drop(writes);
    let ids = [Uuid::from_u128(1)];
    let mut reads = store.tasks(&scope, &ids);
    assert!(is_pending(&mut reads).await);
    disk.is(Mood::Well);
    assert!(reads.await.unwrap()[0].is_some());
}

#[tokio::test]
async fn after_a_failed_write_every_call_says_so() {
    let (disk, scope) = (Disk::new(), scope());
    let store = disk.store();
    let [old, lost] = [1, 2].map(Uuid::from_u128);
    store.enqueue(&scope, &[task(old)]).await.unwrap();
    disk.is(Mood::Full);
    let kind = |error: Option<StoreError>| error.map(|error| error.kind());
    let unavailable = Some(ErrorKind::Unavailable);
    assert_eq!(kind(store.enqueue(&scope, &[task(lost)]).await.err()), unavailable);
    disk.is(Mood::Well);
    assert_eq!(kind(store.health().await.err()), unavailable);
    assert_eq!(kind(store.tasks(&scope, &[old]).await.err()), unavailable);
    assert_eq!(kind(store.queues(&scope, &[]).await.err()), unavailable);
    assert_eq!(kind(store.reserve(&scope, "render", "worker", 2, LEASE).await.err()), unavailable);
    assert_eq!(kind(store.append_turns(&scope, &[turn(old, store.clock.now())]).await.err()), unavailable);
}

#[tokio::test]
async fn what_is_forgotten_leaves_the_disk_whoever_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("episodic.redb");
    let (clock, scope) = (clock(), scope());
    let store = EmbeddedEpisodic::open(&path, clock.clone()).unwrap();
    let limit = RateLimit { count: 10, per: LEASE };
    let limited = QueueChange { rate_limit: Some(Some(limit)), ..QueueChange::default() };
    store.configure_queue(&scope, "render", &limited).await.unwrap();
    let [done, dead] = [1, 2].map(Uuid::from_u128);
    store.enqueue(&scope, &[task(done), task(dead)]).await.unwrap();
    let outcomes = [Outcome::Complete { result: None }, Outcome::Fail { error: String::new(), retryable: false }];
    let reserved = store.reserve(&scope, "render", "worker", 2, LEASE).await.unwrap();
    let held = |task: &Task| Held { task_id: task.id, token: task.lease.as_ref().unwrap().token };
    let settled: Vec<_> = reserved.iter().map(held).zip(outcomes).collect();
    store.settle(&scope, &settled).await.unwrap();
    store.append_turns(&scope, &[turn(done, clock.now())]).await.unwrap();
    store.put_session(&scope, "session", &serde_json::json!(1), LEASE).await.unwrap();
    let unlimited = QueueChange { rate_limit: Some(None), ..QueueChange::default() };
    store.configure_queue(&scope, "render", &unlimited).await.unwrap();
    // An hour, and the minute in which the window of an hour fades out.
    clock.advance(TimeDelta::seconds(3661));
    // Another organisation's call sweeps.
    let other = Scope::system(Uuid::from_u128(2));
    assert_eq!(store.queues(&other, &[]).await.unwrap(), []);
    store.health().await.unwrap();
    drop(store);
    let (_, records) = Durable::open(Store::Episodic, &path).unwrap();
    let left: Vec<_> = records.iter().map(|record| (record.table, record.key.ends_with(dead.as_bytes()))).collect();
    assert_eq!(left, [(journal::FORMAT, false), (journal::TASK, true), (journal::PROGRESS, true)]);
}

#[tokio::test]
async fn a_file_of_another_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("episodic.redb");
    let write = |table, key: &[u8], value: &[u8]| Write { table, key: key.to_vec(), value: Some(value.to_vec()) };
    let format = || write(journal::FORMAT, b"", FORMAT);
    let (organization, id) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let key = [*organization.as_bytes(), *id.as_bytes()].concat();
    let cases = [
        vec![write(1, b"key", b"of another store")],
        vec![write(journal::FORMAT, b"", b"chimera episodic 2")],
        vec![format(), write(9, &key, b"{}")],
        vec![format(), write(journal::TURN, &key, b"{}")],
        vec![format(), write(journal::TURN, b"short", b"{}")],
        vec![format(), write(journal::PROGRESS, &key, b"{}")],
        vec![format(), write(journal::SETTINGS, &key, b"{}")],
        vec![format(), write(journal::HANDED, organization.as_bytes(), b"1")],
        vec![format(), write(journal::HANDED, &[organization.as_bytes(), &i64::MAX.to_be_bytes()[..]].concat(), b"1")],
        vec![format(), write(journal::MINUTE, &key, b"1")],
        vec![format(), write(journal::TASK, &key, &journal::encode(&Body::new(&task(id))).unwrap())],
    ];
    for writes in cases {
        let _ = std::fs::remove_file(&path);
        let (durable, _) = Durable::open(Store::Episodic, &path).unwrap();
        durable.commit(writes.clone()).await.unwrap();
        drop(durable);
        let error = EmbeddedEpisodic::open(&path, clock()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{writes:?}");
        assert!(error.message().contains("episodic.redb is not a file of this store"), "{}", error.message());
    }
}

#[tokio::test]
async fn a_topic_without_subscribers_takes_no_memory_and_streams_end_with_the_store() {
    let (store, scope) = (Disk::new().store(), scope());
    for number in 0..100 {
        drop(store.subscribe(&scope, &format!("topic {number}")).await.unwrap());
    }
    assert_eq!(store.topics.count(), 0);
    let first = store.subscribe(&scope, "topic").await.unwrap();
    let mut second = store.subscribe(&scope, "topic").await.unwrap();
    drop(first);
    assert_eq!(store.topics.count(), 1);
    store.publish(&scope, "topic", &serde_json::json!(1)).await.unwrap();
    drop(store);
    assert!(second.next().await.is_some());
    assert!(second.next().await.is_none());
}
