//! `kill -9` at any moment: a child process works and prints what was acknowledged, and is killed; all of it must be
//! there, as it was told.

use super::*;
use crate::SystemClock;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

const PATH: &str = "CHIMERA_TEST_KILL_EPISODIC";
const LEASE: Duration = Duration::from_secs(3600);

/// The child; an ordinary run of the suite has nothing to do here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_of_the_kill_test() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = Arc::new(EmbeddedEpisodic::open(Path::new(&path), Arc::new(SystemClock)).unwrap());
    let workers = (0..4).map(|_| tokio::spawn(work(store.clone())));
    futures_util::future::join_all(workers).await;
}

async fn work(store: Arc<EmbeddedEpisodic>) {
    let scope = scope();
    for number in 0.. {
        let id = Uuid::now_v7();
        store.enqueue(&scope, &[task(id)]).await.unwrap();
        println!("ack enqueued {id}");
        store.append_turns(&scope, &[turn(id, Utc::now())]).await.unwrap();
        println!("ack turn {id}");
        store.put_session(&scope, &id.to_string(), &serde_json::json!(number), LEASE).await.unwrap();
        println!("ack session {id}");
        for task in store.reserve(&scope, "render", "worker", 1, LEASE).await.unwrap() {
            let token = task.lease.unwrap().token;
            println!("ack reserved {} {token}", task.id);
            if number % 3 > 0 {
                let outcome = Outcome::Complete { result: Some(serde_json::json!(number)) };
                let settled = store.settle(&scope, &[(Held { task_id: task.id, token }, outcome)]).await.unwrap();
                assert!(settled.iter().all(Result::is_ok));
                println!("ack completed {}", task.id);
            }
        }
    }
}

/// What the children were told, by id.
#[derive(Default)]
struct Acknowledged {
    enqueued: BTreeSet<Uuid>,
    turns: BTreeSet<Uuid>,
    sessions: BTreeSet<Uuid>,
    reserved: BTreeMap<Uuid, Uuid>,
    completed: BTreeSet<Uuid>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let Some((_, line)) = line.split_once("ack ") else { return };
        let words: Vec<&str> = line.split_whitespace().collect();
        let id: Uuid = words[1].parse().unwrap();
        match words[0] {
            "enqueued" => drop(self.enqueued.insert(id)),
            "turn" => drop(self.turns.insert(id)),
            "session" => drop(self.sessions.insert(id)),
            "reserved" => drop(self.reserved.insert(id, words[2].parse().unwrap())),
            "completed" => drop(self.completed.insert(id)),
            other => panic!("{other}"),
        }
    }

    async fn check(&self, path: &Path) {
        let store = EmbeddedEpisodic::open(path, Arc::new(SystemClock)).unwrap();
        let scope = scope();
        let ids: Vec<Uuid> = self.enqueued.iter().copied().collect();
        for (id, task) in ids.iter().zip(store.tasks(&scope, &ids).await.unwrap()) {
            let task = task.unwrap_or_else(|| panic!("task {id} is lost"));
            if self.completed.contains(id) {
                assert_eq!(task.state, TaskState::Completed, "the completion of {id} is lost");
            } else if let Some(token) = self.reserved.get(id) {
                // It may have been completed without its worker having been told.
                let held = task.lease.as_ref().is_some_and(|lease| lease.token == *token);
                assert!(held || task.state == TaskState::Completed, "the lease of {id} is lost");
            }
        }
        let turns = store.windows(&scope, &[window()]).await.unwrap().remove(0);
        let turns: BTreeSet<Uuid> = turns.iter().map(|turn| turn.id).collect();
        assert!(self.turns.is_subset(&turns), "turns are lost");
        for id in &self.sessions {
            assert!(store.session(&scope, &id.to_string(), None).await.unwrap().is_some(), "session {id} is lost");
        }
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "episodic::embedded::tests::kill::child_of_the_kill_test", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("episodic.redb");
    let mut acknowledged = Acknowledged::default();
    for round in 0..6 {
        let mut child = spawn(&path);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // Until it has completed something and then got a random way further, however slow the machine is.
        let (mut seen, mut left) = (String::new(), rand::random_range(1..200));
        while left > 0 {
            let start = seen.len();
            assert!(output.read_line(&mut seen).unwrap() > 0, "the child ended in round {round}: {seen}");
            left -= u32::from(seen[..start].contains("ack completed"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        output.read_to_string(&mut seen).unwrap();
        // The last line may have been cut off.
        seen.rsplit_once('\n').map_or("", |(whole, _)| whole).lines().for_each(|line| acknowledged.note(line));
        acknowledged.check(&path).await;
    }
    assert!(acknowledged.completed.len() >= 6, "each child completed something");
    damage_is_refused(&path);
}

/// Bytes of a record that is in use, turned over.
fn damage_is_refused(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let needle = b"render_video";
    let places: Vec<usize> =
        bytes.windows(needle.len()).enumerate().filter(|(_, window)| window == needle).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at] ^= 1);
    std::fs::write(path, bytes).unwrap();
    let error = EmbeddedEpisodic::open(path, Arc::new(SystemClock)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("episodic.redb is damaged"), "{}", error.message());
}
