//! What only this adapter promises: what survives `kill -9`, which indexes are refused, and what lies in the folder.

use super::*;
use crate::{Store, SystemClock};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

const CHILD: &str = "CHIMERA_MEDIA_CRASH";
const SECRET: [u8; 32] = [7; 32];
/// The asset whose upload never ends.
const ENDLESS: Uuid = Uuid::from_u128(u128::MAX);

fn scope() -> Scope {
    Scope::system(Uuid::from_u128(1))
}

/// Opens the folder, waiting for the writer of a store that was just let go of.
async fn open(folder: &Path) -> FolderMedia {
    for _ in 0..500 {
        match FolderMedia::open(folder, SECRET, Arc::new(SystemClock)) {
            Err(error) if error.kind() == ErrorKind::Unavailable => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the folder stays in use");
}

fn refused(folder: &Path) -> StoreError {
    FolderMedia::open(folder, SECRET, Arc::new(SystemClock)).map(drop).unwrap_err()
}

fn spec(asset_id: Uuid, bytes: &[u8]) -> UploadSpec {
    use sha2::{Digest, Sha256};
    UploadSpec {
        asset_id,
        content_type: "text/plain".to_owned(),
        size_bytes: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
        expires_in: Duration::from_secs(600),
    }
}

fn text(number: u128) -> Vec<u8> {
    format!("object {number} ").repeat(100).into_bytes()
}

fn token(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

async fn read(store: &FolderMedia, asset_id: Uuid) -> Result<Vec<u8>> {
    let spec = DownloadSpec { asset_id, version: None, file_name: None, expires_in: Duration::from_secs(60) };
    let url = store.sign_download(&scope(), &spec).unwrap();
    let mut download = LocalMedia::open(store, token(&url), None).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = download.body.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    Ok(bytes)
}

/// The child of [`what_was_acknowledged_survives_a_kill`]; does nothing when run as a test.
#[tokio::test]
async fn crash_child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&folder)).await;
    let endless = spec(ENDLESS, b"x");
    let target = store.sign_upload(&scope(), &UploadSpec { size_bytes: 1 << 40, ..endless }).unwrap();
    let piece = || async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((Ok(Bytes::from(vec![b'x'; 1000])), ()))
    };
    let uploader = store.clone();
    tokio::spawn(async move {
        let body = Box::pin(stream::unfold((), move |()| piece()));
        uploader.accept(token(&target.url), Some("text/plain"), body).await
    });
    let first: u128 = std::env::var("FIRST").unwrap().parse().unwrap();
    for number in first.. {
        let bytes = text(number);
        store.put(&scope(), &spec(Uuid::from_u128(number), &bytes), bytes.into()).await.unwrap();
        println!("\nstored {number} end");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 1..=3_u128 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "media::folder::tests::crash_child", "--nocapture"])
            .env(CHILD, folder.path())
            .env("FIRST", (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(std::result::Result::unwrap);
        let number = |line: String| line.strip_prefix("stored ")?.strip_suffix(" end")?.parse::<u128>().ok();
        all.push(lines.by_ref().find_map(number).expect("the child stores nothing"));
        tokio::time::sleep(Duration::from_millis(rand::random_range(5..120))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        all.extend(lines.filter_map(number));
        let parts =
            || files_below(&folder.path().join("uploads")).into_iter().filter(|path| path.extension().is_some());
        assert!(parts().count() > 0, "the upload that never ends has not begun");

        let store = open(folder.path()).await;
        assert_eq!(parts().count(), 0, "opening removes what nobody writes any more");
        for number in &all {
            assert_eq!(read(&store, Uuid::from_u128(*number)).await.unwrap(), text(*number));
        }
        assert_eq!(store.versions(&scope(), &[ENDLESS]).await.unwrap(), [[]]);
        assert_eq!(read(&store, ENDLESS).await.unwrap_err().kind(), ErrorKind::NotFound);
        // What the kill left between arrival and record goes with a sweep; what is on record stays.
        store.sweep(Utc::now() + TimeDelta::days(1)).await.unwrap();
        assert_eq!(files_below(&folder.path().join("uploads")), [] as [PathBuf; 0]);
        for number in &all {
            assert_eq!(read(&store, Uuid::from_u128(*number)).await.unwrap(), text(*number));
        }
    }
}

#[tokio::test]
async fn an_upload_between_arrival_and_record_can_still_be_completed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (id, bytes) = (Uuid::from_u128(1), text(1));
    let spec = spec(id, &bytes);
    let mut incoming = Incoming::begin(&store.0.files).unwrap();
    incoming.write(&bytes).unwrap();
    let grant = files::grant(scope().organization_id(), &spec);
    incoming.arrive(&grant, Utc::now()).unwrap();
    // As if the process ended right after the blob was made.
    store.0.files.promote(&grant).unwrap();
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(read(&store, id).await.unwrap_err().kind(), ErrorKind::NotFound);
    store.complete(&scope(), &spec).await.unwrap();
    assert_eq!(read(&store, id).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_damaged_or_lost_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = text(1);
    let store = open(folder.path()).await;
    store.put(&scope(), &spec(Uuid::from_u128(1), &bytes), bytes.into()).await.unwrap();
    assert_eq!(refused(folder.path()).kind(), ErrorKind::Unavailable, "one process has the folder");
    drop(store);
    drop(open(folder.path()).await);
    let index = folder.path().join("media.redb");
    let held = || refused(folder.path()).kind() == ErrorKind::Unavailable;
    let whole = fs::read(&index).unwrap();
    fs::write(&index, "some text that is no index").unwrap();
    while held() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = refused(folder.path());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("media.redb"), "{error}");
    fs::remove_file(&index).unwrap();
    let error = refused(folder.path());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("media.redb"), "{error}");
    fs::write(&index, whole).unwrap();
    assert_eq!(read(&open(folder.path()).await, Uuid::from_u128(1)).await.unwrap(), text(1));
}

#[tokio::test]
async fn a_record_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let record = crate::durable::Write { table: 1, key: b"short".to_vec(), value: Some(b"{}".to_vec()) };
    store.0.durable.commit(vec![record]).await.unwrap();
    drop(store);
    let error = loop {
        match refused(folder.path()) {
            error if error.kind() == ErrorKind::Unavailable => tokio::time::sleep(Duration::from_millis(5)).await,
            error => break error,
        }
    };
    assert_eq!((error.kind(), error.store()), (ErrorKind::Corrupt, Store::Media));
    assert!(error.message().contains("media.redb"), "{error}");
}

#[tokio::test]
async fn the_same_bytes_are_stored_once_and_only_under_hex_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let blobs = || files_below(&folder.path().join("blobs"));
    let bytes = text(1);
    for asset in 1..=3 {
        store.put(&scope(), &spec(Uuid::from_u128(asset), &bytes), bytes.clone().into()).await.unwrap();
    }
    let sha256 = spec(Uuid::nil(), &bytes).sha256;
    assert_eq!(blobs(), [folder.path().join("blobs").join(&sha256[..2]).join(&sha256)]);
    assert_eq!(files_below(&folder.path().join("uploads")), [] as [PathBuf; 0]);
    store.delete(&scope(), &[Uuid::from_u128(1), Uuid::from_u128(2)]).await.unwrap();
    assert_eq!(blobs().len(), 1);
    store.delete(&scope(), &[Uuid::from_u128(3)]).await.unwrap();
    assert_eq!(blobs().len(), 0);
    // The adapter itself refuses what the handle would have stopped.
    let evil = UploadSpec { sha256: "../../../../etc/passwd".to_owned(), ..spec(Uuid::nil(), &bytes) };
    assert_eq!(store.put(&scope(), &evil, bytes.into()).await.unwrap_err().kind(), ErrorKind::Invalid);
    let grant = files::grant(Uuid::nil(), &evil);
    assert_eq!(store.0.files.promote(&grant).unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn damaged_bytes_are_refused_and_healed_by_the_next_upload() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (id, bytes) = (Uuid::from_u128(1), text(1));
    let first = store.put(&scope(), &spec(id, &bytes), bytes.clone().into()).await.unwrap();
    let blob = files_below(&folder.path().join("blobs")).remove(0);
    fs::write(&blob, "less").unwrap();
    assert_eq!(read(&store, id).await.unwrap_err().kind(), ErrorKind::Corrupt);
    fs::remove_file(&blob).unwrap();
    assert_eq!(read(&store, id).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let other = text(2);
    store.put(&scope(), &spec(id, &other), other.into()).await.unwrap();
    assert_eq!(store.restore(&scope(), id, &first.version).await.unwrap_err().kind(), ErrorKind::Corrupt);
    store.put(&scope(), &spec(id, &bytes), bytes.clone().into()).await.unwrap();
    assert_eq!(read(&store, id).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_sweep_takes_blobs_that_nothing_uses() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let bytes = text(1);
    store.put(&scope(), &spec(Uuid::from_u128(1), &bytes), bytes.into()).await.unwrap();
    let orphan = folder.path().join("blobs").join("ab").join("ab".repeat(32));
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "left behind").unwrap();
    store.sweep(Utc::now() - TimeDelta::hours(1)).await.unwrap();
    assert!(orphan.exists(), "it may be a completion under way");
    store.sweep(Utc::now() + TimeDelta::hours(1)).await.unwrap();
    assert!(!orphan.exists());
    assert_eq!(read(&store, Uuid::from_u128(1)).await.unwrap(), text(1));
}

#[test]
fn ranges_are_cut_to_the_size() {
    let cases = [
        (None, Some((0, 10))),
        (Some((0, None)), Some((0, 10))),
        (Some((3, None)), Some((3, 7))),
        (Some((3, Some(3))), Some((3, 1))),
        (Some((9, Some(u64::MAX))), Some((9, 1))),
        (Some((10, None)), None),
        (Some((5, Some(4))), None),
        (Some((u64::MAX, Some(u64::MAX))), None),
    ];
    for (range, expected) in cases {
        assert_eq!(span(10, range).ok(), expected, "{range:?}");
    }
}
