//! Tests of what only the embedded adapter does: the folder, its damage, its lock, and a killed process.

use super::*;
use crate::{
    ManualClock, Slice,
    search::{Document, DocumentType, SearchFilter, SearchOrder},
};
use chrono::DateTime;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

const FOLDER_OF_CHILD: &str = "CHIMERA_TEST_SEARCH_FOLDER";

fn opened(folder: &Path) -> Result<EmbeddedSearch> {
    EmbeddedSearch::open(folder, Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)))
}

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

fn post(number: u128, version: i64, title: &str) -> Change {
    let document = Document {
        document_type: DocumentType::Post,
        id: Uuid::from_u128(number),
        title: title.to_owned(),
        handle: None,
        text: "some longer text".to_owned(),
        tags: vec!["tag".to_owned()],
        status: None,
        category: None,
        platform: None,
        persona_id: None,
        campaign_id: None,
        created_at: DateTime::UNIX_EPOCH,
        published_at: None,
    };
    Change { document_type: DocumentType::Post, id: document.id, version, document: Some(document) }
}

async fn apply(search: &EmbeddedSearch, changes: &[Change]) {
    for applied in search.apply(&scope(), changes).await.unwrap() {
        applied.unwrap();
    }
}

async fn everything(search: &EmbeddedSearch) -> SearchResult {
    let query = SearchQuery {
        query: String::new(),
        types: Vec::new(),
        filter: SearchFilter::default(),
        facets: Vec::new(),
        facet_limit: 0,
        order: SearchOrder::Relevance,
        slice: Slice::first(100_000),
        highlights: false,
    };
    search.search(&scope(), &[query]).await.unwrap().remove(0).unwrap()
}

/// A folder with a few segments, a deletion and a tombstone.
async fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let search = opened(folder.path()).unwrap();
    apply(&search, &[post(1, 1, "one"), post(2, 1, "two"), post(4, 1, "four")]).await;
    apply(&search, &[post(1, 2, "one again"), post(3, 1, "three")]).await;
    apply(&search, &[Change { document: None, ..post(2, 2, "") }]).await;
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        names.filter(|path| !path.file_name().unwrap().as_encoded_bytes().starts_with(b".")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn only_a_new_index_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let search = opened(folder.path()).unwrap();
    assert!(search.is_empty());
    apply(&search, &[Change { document: None, ..post(1, 1, "") }]).await;
    assert!(!search.is_empty(), "a removal was applied");
    drop(search);
    assert!(!opened(folder.path()).unwrap().is_empty());
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_folder_is_in_use() {
    let folder = filled().await;
    let search = opened(folder.path()).unwrap();
    let error = opened(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("in use"), "{error}");
    drop(search);
    opened(folder.path()).unwrap();
}

#[tokio::test]
async fn health_needs_the_folder_and_the_writer() {
    let folder = filled().await;
    let search = opened(folder.path()).unwrap();
    search.health().await.unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(search.health().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_failed_commit_acknowledges_nothing_and_is_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, aside) = (folder.path().join("index"), folder.path().join("aside"));
    let search = opened(&inside).unwrap();
    apply(&search, &[post(1, 1, "before")]).await;
    fs::rename(&inside, &aside).unwrap();
    let failed = search.apply(&scope(), &[post(1, 2, "lost"), post(2, 1, "lost")]).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    fs::rename(&aside, &inside).unwrap();
    // The versions are those before the failure, so the very same changes are taken now.
    apply(&search, &[post(1, 2, "after"), post(2, 1, "after")]).await;
    assert!(everything(&search).await.hits.iter().all(|hit| hit.title == "after"));
    drop(search);
    assert_eq!(everything(&opened(&inside).unwrap()).await.total, 2);
}

#[tokio::test]
async fn any_damaged_file_is_refused() {
    let pristine = filled().await;
    let names: Vec<PathBuf> = files(pristine.path());
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        let bytes = fs::read(&name).unwrap();
        let mut damages: Vec<Option<Vec<u8>>> = vec![None, Some(bytes[..bytes.len() / 2].to_vec()), Some(Vec::new())];
        if name.file_name().unwrap() != META_FILE {
            for at in [0, bytes.len() / 3, bytes.len() - 1] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                damages.push(Some(flipped));
            }
        }
        for damage in damages {
            match &damage {
                None => fs::remove_file(&name).unwrap(),
                Some(bytes) => fs::write(&name, bytes).unwrap(),
            }
            let error = opened(pristine.path()).unwrap_err();
            let size = damage.map(|bytes| bytes.len());
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name:?} {size:?} {error:?}");
            assert!(error.message().contains("remove the folder to rebuild it"), "{error}");
            fs::write(&name, &bytes).unwrap();
        }
    }
    assert_eq!(everything(&opened(pristine.path()).unwrap()).await.total, 3);
}

#[tokio::test]
async fn a_list_that_lost_a_segment_or_its_deletions_is_refused() {
    let folder = filled().await;
    let path = folder.path().join(META_FILE);
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut meta = meta.clone();
        change(&mut meta);
        fs::write(&path, meta.to_string()).unwrap();
        opened(folder.path()).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|meta| drop(meta["segments"].as_array_mut().unwrap().pop())), Err(ErrorKind::Corrupt));
    let forget = |meta: &mut serde_json::Value| {
        let segments = meta["segments"].as_array_mut().unwrap();
        let deleted = segments.iter_mut().filter(|segment| !segment["deletes"].is_null());
        assert!(deleted.map(|segment| segment["deletes"].take()).count() > 0);
    };
    assert_eq!(with(&forget), Err(ErrorKind::Corrupt));
    let renamed = |meta: &mut serde_json::Value| meta["schema"][0]["name"] = "another".into();
    assert_eq!(with(&renamed), Err(ErrorKind::Corrupt));
}

#[test]
fn a_folder_of_something_else_is_refused_and_a_cut_off_start_is_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("holiday.jpg"), b"not an index").unwrap();
    assert_eq!(opened(folder.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    fs::remove_file(folder.path().join("holiday.jpg")).unwrap();
    fs::write(folder.path().join(".managed.json"), b"[\"meta.json\"]").unwrap();
    assert!(opened(folder.path()).unwrap().is_empty());
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_eq!(opened(&file).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_share_is_merged_away() {
    let folder = tempfile::tempdir().unwrap();
    let search = opened(folder.path()).unwrap();
    for version in 1..=40 {
        apply(&search, &[post(1, version, "again"), post(2, version, "and again")]).await;
    }
    assert_eq!(everything(&search).await.total, 2);
    drop(search);
    let segments =
        files(folder.path()).iter().filter(|path| path.extension().is_some_and(|end| end == "store")).count();
    assert!(segments < 12, "{segments} segments of at most 80 documents");
}

/// Not a test by itself: what the child process of the next one does, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER_OF_CHILD) else { return };
    let search = Arc::new(opened(Path::new(&folder)).unwrap());
    let writers = (0..4_u128).map(|writer| {
        let search = search.clone();
        tokio::spawn(async move {
            for nth in 1.. {
                let number = nth * 4 + writer;
                apply(
                    &search,
                    &[post(number, 1, "kept"), post(1_000_000 + writer, i64::try_from(nth).unwrap(), "counter")],
                )
                .await;
                println!("ack {number}");
            }
        })
    });
    join_all(writers).await;
}

/// What a child says it was promised, from its first acknowledgement until it is killed at a random moment after it.
fn acknowledged_until_killed(mut child: Child) -> Vec<u128> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
    let mut numbers = lines.filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
    let mut acknowledged = vec![numbers.next().expect("the child writes before it is killed")];
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(rand::random_range(20..250)));
        child.kill().unwrap();
        child.wait().unwrap();
    });
    acknowledged.extend(numbers);
    killer.join().unwrap();
    acknowledged
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "search::embedded::tests::child_that_writes_until_it_is_killed", "--nocapture"])
            .env(FOLDER_OF_CHILD, folder.path().join(round.to_string()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let acknowledged = acknowledged_until_killed(child);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let search = opened(&folder.path().join(round.to_string())).unwrap();
        let stored = runtime.block_on(everything(&search));
        let stored: std::collections::BTreeSet<u128> = stored.hits.iter().map(|hit| hit.id.as_u128()).collect();
        for number in acknowledged {
            assert!(stored.contains(&number), "{number} was acknowledged and is gone");
        }
    }
}
