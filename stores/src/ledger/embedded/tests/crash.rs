//! `kill -9` at random moments: nothing that was acknowledged is lost, and nothing half-written is kept.

use super::*;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

const FOLDER: &str = "CHIMERA_TEST_LEDGER_FOLDER";
const ROUND: &str = "CHIMERA_TEST_LEDGER_ROUND";
const WRITERS: u32 = 4;

/// The child: several writers, each telling of a transaction only after it was acknowledged.
async fn write_until_killed(folder: &Path, round: &str) {
    let ledger = open(folder).unwrap();
    let writer = |writer: u32| {
        let ledger = ledger.clone();
        let round = round.to_owned();
        tokio::spawn(async move {
            for number in 0.. {
                let key = format!("{round}/{writer}/{number}");
                let receipt = submit(&ledger, &key, vec![mint(1, 1), transfer(1, 2, 1)]).await.unwrap();
                let line = format!("acknowledged {key} {} {}\n", receipt.block_number, receipt.transaction);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        })
    };
    for writer in (0..WRITERS).map(writer).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_to_kill_9() {
    if let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) {
        return write_until_killed(Path::new(&folder), &round).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ledger::embedded::tests::crash::nothing_acknowledged_is_lost_to_kill_9", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = 20 + rand::random_range(0..60);
        let mut take = |line: std::io::Result<String>| {
            let line = line.unwrap();
            // libtest's own words may stand before the first one.
            let Some((_, told)) = line.split_once("acknowledged ") else { return false };
            let [key, block, hash]: [&str; 3] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
            acknowledged.insert(key.to_owned(), (block.parse::<u64>().unwrap(), hash.to_owned()));
            true
        };
        let mut told = 0;
        while told < enough {
            told += usize::from(take(lines.next().expect("the child writes until it is killed")));
        }
        std::thread::sleep(std::time::Duration::from_micros(rand::random_range(0..3_000)));
        child.kill().unwrap();
        // What was told before the kill and not read yet counts too; a last line may be broken off.
        let rest: Vec<_> = lines.map_while(|line| line.ok()).collect();
        for line in rest.into_iter().filter(|line| line.len() > 64 && line.split(' ').count() == 4) {
            if line.rsplit(' ').next().is_some_and(|hash| hash.len() == 66) {
                take(Ok(line));
            }
        }
        child.wait().unwrap();

        let ledger = open(folder.path()).unwrap();
        let verification = ledger.verify(&scope(), Chain::Local).await.unwrap();
        assert_eq!(verification.fault, None);
        assert!(verification.entries as usize >= 2 * acknowledged.len());
        for (key, (block, hash)) in &acknowledged {
            let again = submit(&ledger, key, vec![mint(1, 1), transfer(1, 2, 1)]).await.unwrap();
            assert_eq!((again.block_number, again.transaction.to_string()), (*block, hash.clone()), "{key} was lost");
        }
        assert_eq!(ledger.verify(&scope(), Chain::Local).await.unwrap(), verification, "repeats write nothing");
    }
    assert!(acknowledged.len() >= 100);
}
