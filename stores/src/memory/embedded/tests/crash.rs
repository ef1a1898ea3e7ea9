//! `kill -9`: a child process writes and says what was acknowledged; the parent kills it and looks.

use super::*;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write as _},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

const FOLDER: &str = "CHIMERA_TEST_MEMORY_FOLDER";

/// The child's part: writes until it is killed. Started by the test below, by name.
#[test]
#[ignore = "runs as a child process only"]
fn the_child_writes_until_it_is_killed() {
    let folder = std::env::var(FOLDER).expect("the parent names the folder");
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let store = Arc::new(EmbeddedMemory::open(Path::new(&folder), fake(), clock()).unwrap());
        let next = Arc::new(AtomicU64::new(0));
        let writers = (0..4).map(|_| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    apply(&store, &[put(number.into(), 1, &format!("note {number}"))]).await;
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\nack {number}").unwrap();
                    out.flush().unwrap();
                }
            })
        });
        futures_util::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["memory::embedded::tests::crash::the_child_writes_until_it_is_killed", "--exact", "--ignored"])
        .arg("--nocapture")
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let enough = rand::random_range(20..60);
    while acknowledged.len() < enough {
        let line = lines.next().expect("the child ended by itself").unwrap();
        acknowledged.extend(line.strip_prefix("ack ").map(|number| number.parse::<u128>().unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What was printed before the kill counts too; a last line may be cut.
    let rest = lines.map_while(std::io::Result::ok);
    acknowledged.extend(rest.filter_map(|line| line.strip_prefix("ack ")?.parse::<u128>().ok()));

    let embedder = fake();
    let store = reopen(folder.path(), &embedder).unwrap();
    let keys: Vec<_> = acknowledged.iter().map(|number| (PERSONA, Uuid::from_u128(*number))).collect();
    let found = store.memories(&scope(), &keys).await.unwrap();
    for (number, memory) in acknowledged.iter().zip(found) {
        assert_eq!(memory.unwrap_or_else(|| panic!("{number} is lost")).text, format!("note {number}"));
    }
    let last = acknowledged.last().unwrap();
    let recalled = store.recall(&scope(), &[query(&format!("note {last}"), RecallMode::Semantic)]).await.unwrap();
    assert!((recalled[0].as_ref().unwrap()[0].semantic.unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(*embedder.batches.lock(), [1], "only the query was embedded");
}
