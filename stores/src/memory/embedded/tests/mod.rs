//! What the contract cannot see: files, crashes, models, how often texts are embedded, and naive models to be held
//! against.

mod crash;
mod model;

use super::{super::embedder::fake::FakeEmbedder, *};
use crate::{
    ManualClock, Slice,
    durable::Write,
    memory::{MemoryFilter, MemoryKind},
};
use chrono::{DateTime, TimeDelta};
use std::time::Duration;

const PERSONA: Uuid = Uuid::from_u128(100);

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)))
}

/// Opens a store; a store that was just dropped lets go of its file a moment later.
fn reopen(folder: &Path, embedder: &Arc<FakeEmbedder>) -> Result<EmbeddedMemory> {
    for _ in 0..2_000 {
        match EmbeddedMemory::open(folder, embedder.clone(), clock()) {
            Err(error) if error.kind() == ErrorKind::Unavailable => std::thread::sleep(Duration::from_millis(2)),
            result => return result,
        }
    }
    panic!("the file is held for ever");
}

fn fake() -> Arc<FakeEmbedder> {
    Arc::new(FakeEmbedder::new("fake", 8))
}

fn memory(number: u128, version: i64, text: &str) -> MemoryRecord {
    let occurred_at = DateTime::UNIX_EPOCH + TimeDelta::hours(number as i64);
    MemoryRecord {
        id: Uuid::from_u128(number),
        persona_id: PERSONA,
        version,
        kind: MemoryKind::Episodic,
        text: text.to_owned(),
        importance: 0.5,
        source: None,
        tags: Vec::new(),
        occurred_at,
        created_at: occurred_at,
    }
}

fn put(number: u128, version: i64, text: &str) -> Change {
    Change::PutMemory(memory(number, version, text))
}

fn query(text: &str, mode: RecallMode) -> RecallQuery {
    let filter = MemoryFilter::default();
    RecallQuery { persona_id: PERSONA, query: text.to_owned(), mode, filter, limit: 100, alpha: 0.5 }
}

async fn apply(store: &EmbeddedMemory, changes: &[Change]) {
    for result in store.apply(&scope(), changes).await.unwrap() {
        result.unwrap();
    }
}

#[tokio::test]
async fn texts_are_embedded_once_and_in_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = fake();
    let store = reopen(folder.path(), &embedder).unwrap();
    apply(&store, &[put(1, 1, "one"), put(2, 1, "two"), put(3, 1, "one")]).await;
    assert_eq!(*embedder.batches.lock(), [2], "three memories of two texts");
    let important = MemoryRecord { importance: 1.0, ..memory(1, 2, "one") };
    apply(&store, &[Change::PutMemory(important), put(2, 1, "two")]).await;
    assert_eq!(*embedder.batches.lock(), [2], "an unchanged text and a repeat");
    apply(&store, &[put(1, 3, "three"), put(2, 2, "two"), put(4, 1, "four")]).await;
    assert_eq!(*embedder.batches.lock(), [2, 2], "two new texts of three");
    drop(store);
    let store = reopen(folder.path(), &embedder).unwrap();
    let queries = [
        query("three", RecallMode::Semantic),
        query("four", RecallMode::Hybrid),
        query("three", RecallMode::Semantic),
        query("never embedded", RecallMode::Keyword),
        RecallQuery { persona_id: Uuid::nil(), ..query("nobody to ask", RecallMode::Semantic) },
    ];
    for _ in 0..2 {
        let results = store.recall(&scope(), &queries).await.unwrap();
        let first = |at: usize| results[at].as_ref().unwrap()[0].memory.id.as_u128();
        assert_eq!((first(0), first(1), first(2)), (1, 4, 1));
        assert_eq!(*embedder.batches.lock(), [2, 2, 2], "nothing after a restart but two queries, once");
    }
}

#[tokio::test]
async fn another_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = reopen(folder.path(), &fake()).unwrap();
    apply(&store, &[put(1, 1, "one")]).await;
    drop(store);
    for other in [FakeEmbedder::new("better", 8), FakeEmbedder::new("fake", 9)] {
        let other = Arc::new(other);
        let error = reopen(folder.path(), &other).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        for part in ["`fake` with 8 dimensions", &other.model.to_string(), "memory.redb", "configure the first model"] {
            assert!(error.message().contains(part), "{error} has no {part}");
        }
    }
    assert!(reopen(folder.path(), &fake()).is_ok());
    // A file without vectors is of no model yet.
    let empty = tempfile::tempdir().unwrap();
    drop(reopen(empty.path(), &fake()).unwrap());
    assert!(reopen(empty.path(), &Arc::new(FakeEmbedder::new("better", 4))).is_ok());
}

#[tokio::test]
async fn a_failed_embedder_fails_what_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = fake();
    let store = reopen(folder.path(), &embedder).unwrap();
    apply(&store, &[put(1, 1, "kept words")]).await;
    *embedder.failure.lock() = Some(ErrorKind::Overloaded);
    let kinds = |results: Vec<Result<()>>| -> Vec<_> {
        results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
    };
    let forget = Change::ForgetMemory { persona_id: PERSONA, id: Uuid::from_u128(9), version: 1 };
    let mixed = [put(2, 1, "new"), forget, put(1, 2, "kept words")];
    let results = store.apply(&scope(), &mixed).await.unwrap();
    assert_eq!(kinds(results), [Some(ErrorKind::Overloaded), None, None]);
    let error = store.apply(&scope(), &mixed[..1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let queries = [query("kept", RecallMode::Hybrid), query("kept", RecallMode::Keyword)];
    let results = store.recall(&scope(), &queries).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::Overloaded);
    assert_eq!(results[1].as_ref().unwrap().len(), 1);
    assert_eq!(store.recall(&scope(), &queries[..1]).await.unwrap_err().kind(), ErrorKind::Overloaded);
    *embedder.failure.lock() = None;
    let results = store.apply(&scope(), &[put(2, 1, "new"), put(3, 1, "poison")]).await.unwrap();
    assert_eq!(kinds(results), [None, Some(ErrorKind::Invalid)]);
    let queries = [query("poison", RecallMode::Semantic), query("new", RecallMode::Semantic)];
    let results = store.recall(&scope(), &queries).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(results[1].as_ref().unwrap()[0].memory.text, "new");
}

#[tokio::test]
async fn damaged_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.redb");
    let refused = |what: &str| {
        let error = reopen(folder.path(), &fake()).err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        assert!(error.message().contains("restore it from a backup or move it away"), "{what}: {error}");
        std::fs::remove_file(&path).unwrap();
    };
    std::fs::write(&path, "shopping list: milk, bread").unwrap();
    refused("a foreign file");
    let store = reopen(folder.path(), &fake()).unwrap();
    for batch in 0..20 {
        apply(&store, &[put(batch, 1, &"many words ".repeat(200))]).await;
    }
    drop(store);
    drop(reopen(folder.path(), &fake()).unwrap());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused("half a file");
    let mut damaged = whole.clone();
    let text = damaged.windows(10).position(|window| window == b"many words").unwrap();
    damaged[text] ^= 0x55;
    std::fs::write(&path, &damaged).unwrap();
    refused("a flipped byte");
}

#[tokio::test]
async fn records_that_make_no_sense_are_refused() {
    let tenancy = (Uuid::from_u128(1), PERSONA);
    let meta = || format::write_meta(&fake().model).unwrap();
    let good = format::write_memory(tenancy, &memory(1, 1, "x"), &[0.5; 8]).unwrap();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut write = good.clone();
        write.value.as_mut().map(change);
        write
    };
    let short = format::write_memory(tenancy, &memory(1, 1, "x"), &[0.5; 7]).unwrap();
    let nan = format::write_memory(tenancy, &memory(1, 1, "x"), &[f32::NAN; 8]).unwrap();
    let elsewhere = Write { key: format::write_forgotten(tenancy, Uuid::from_u128(2), 1).key, ..good.clone() };
    for (what, writes) in [
        ("no model", vec![good.clone()]),
        ("a wrong tag", vec![meta(), with(|value| value[0] = 7)]),
        ("no value", vec![meta(), with(Vec::clear)]),
        ("broken JSON", vec![meta(), with(|value| value[5] = b'!')]),
        ("a wrong length", vec![meta(), with(|value| value[4] = 255)]),
        ("half a number", vec![meta(), with(|value| _ = value.pop())]),
        ("a short vector", vec![meta(), short]),
        ("not a number", vec![meta(), nan]),
        ("another id", vec![meta(), elsewhere]),
        ("a short key", vec![meta(), Write { key: vec![1; 47], ..good.clone() }]),
        ("an unknown table", vec![meta(), Write { table: 9, ..good.clone() }]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (durable, _) = Durable::open(STORE, &folder.path().join("memory.redb")).unwrap();
        durable.commit(writes).await.unwrap();
        drop(durable);
        let error = reopen(folder.path(), &fake()).err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gives_up_changes_nothing_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = fake();
    let store = Arc::new(reopen(folder.path(), &embedder).unwrap());
    let (mut cut, mut whole) = (0, 0);
    for number in 0..60_u128 {
        let call = {
            let store = store.clone();
            async move { apply(&store, &[put(number, 1, "text")]).await }
        };
        match tokio::time::timeout(Duration::from_micros(number as u64 * 40), call).await {
            Ok(()) => whole += 1,
            Err(_) => cut += 1,
        }
    }
    assert!(cut > 0, "{whole} calls all ended in time");
    // The last write waits for all before it; nothing hangs, and what is read is what is on disk.
    apply(&store, &[put(1000, 1, "text")]).await;
    let page = MemoryPageQuery {
        persona_id: PERSONA,
        filter: MemoryFilter::default(),
        slice: Slice::first(1000),
        total: true,
    };
    let before = store.memory_pages(&scope(), std::slice::from_ref(&page)).await.unwrap();
    assert!(before[0].items.len() > whole);
    drop(store);
    let store = reopen(folder.path(), &embedder).unwrap();
    assert_eq!(store.memory_pages(&scope(), &[page]).await.unwrap(), before);
}
