//! One organisation's chain: its state in memory, its files, and the queue of what is to be written.
//!
//! # How a transaction is written
//!
//! A submission is sealed (encoded and hashed) and queued. Whoever finds nobody writing becomes the writer, on a thread
//! of the blocking pool: it takes all that is queued, up to [`MAX_TRANSACTIONS`] and [`MAX_GROUP_BYTES`], checks each
//! against the balances and those before it, makes one block, appends it, syncs once, takes it into the state, and
//! answers all of them; then the next group. So a lone submission waits for nobody, and under load the number of
//! syncs falls as the queue grows. A refused transaction is answered without a block, and leaves nothing behind.
//!
//! Readers see a block only once it is on disk. The file's lock is held from the plan to the state, so no two plans
//! overlap, and a verification sees file and state agree. Lock order: file, then state; the queue's is held alone.

use super::{
    block::{Block, Sealed},
    chain_file::{Appender, MAX_BLOCK_BYTES, load},
    rules::{Draft, Sheet},
    state::State,
    verify::{self, Expected},
};
use crate::{
    Result,
    clock::Clock,
    error::{ErrorKind, StoreError},
    ledger::{EntryId, Proof, Receipt, STORE, Verification},
};
use alloy_primitives::B256;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Transactions in a block: with 100 operations each, an entry's place still fits into the 20 bits of a sort key.
const MAX_TRANSACTIONS: usize = 1_000;

/// Bytes after which a block takes no more: one more transaction, the header and the lengths still fit into a frame.
const MAX_GROUP_BYTES: usize = MAX_BLOCK_BYTES as usize / 2;

/// Bytes of one transaction. A hundred operations, the most that the port accepts, stay far below.
pub const MAX_TRANSACTION_BYTES: usize = MAX_BLOCK_BYTES as usize / 4;

type Answer = oneshot::Sender<Result<Receipt>>;

struct Job {
    sealed: Sealed,
    answer: Answer,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    writing: bool,
    /// The writer has panicked: what is on disk is not known.
    dead: bool,
}

/// What will be the next block, and who waits for each of its transactions: the same one may have been sent twice.
#[derive(Default)]
struct Plan {
    transactions: Vec<Sealed>,
    waiting: Vec<(B256, Vec<Answer>)>,
    changes: Sheet,
}

/// One chain.
pub struct Chain {
    organization: Uuid,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
    file: Mutex<Option<Appender>>,
    queue: Mutex<Queue>,
    /// Keeps the folder for this process until the last write is done.
    _lock: Arc<File>,
}

impl Chain {
    /// A chain that has no files yet.
    pub fn new(organization: Uuid, folder: PathBuf, clock: Arc<dyn Clock>, lock: Arc<File>) -> Self {
        Self::with(State::new(organization), folder, clock, lock)
    }

    /// A chain that is read from its files.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(organization: Uuid, folder: PathBuf, clock: Arc<dyn Clock>, lock: Arc<File>) -> Result<Self> {
        Ok(Self::with(load(&folder, organization)?, folder, clock, lock))
    }

    fn with(state: State, folder: PathBuf, clock: Arc<dyn Clock>, lock: Arc<File>) -> Self {
        Self {
            organization: state.tip.organization,
            folder,
            clock,
            state: RwLock::new(state),
            file: Mutex::new(None),
            queue: Mutex::new(Queue::default()),
            _lock: lock,
        }
    }

    /// Asks the state.
    pub fn read<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        ask(&self.state.read())
    }

    /// Queues a transaction and waits until it is on disk. It may still be written when this future is dropped.
    pub async fn submit(self: &Arc<Self>, sealed: Sealed) -> Result<Receipt> {
        let (answer, wait) = oneshot::channel();
        let lead = {
            let mut queue = self.queue.lock();
            if queue.dead {
                return Err(stopped());
            }
            queue.jobs.push_back(Job { sealed, answer });
            !std::mem::replace(&mut queue.writing, true)
        };
        if lead {
            let chain = self.clone();
            tokio::task::spawn_blocking(move || chain.write_queue());
        }
        wait.await.unwrap_or_else(|_| Err(stopped()))
    }

    fn write_queue(&self) {
        let _unwound = Unwound(&self.queue);
        while let Some(group) = self.next_group() {
            self.write_group(group);
        }
    }

    fn next_group(&self) -> Option<Vec<Job>> {
        let mut queue = self.queue.lock();
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < MAX_TRANSACTIONS
            && bytes < MAX_GROUP_BYTES
            && let Some(job) = queue.jobs.pop_front()
        {
            bytes += job.sealed.bytes.len();
            group.push(job);
        }
        queue.writing = !group.is_empty();
        queue.writing.then_some(group)
    }

    fn write_group(&self, group: Vec<Job>) {
        let mut file = self.file.lock();
        let (waiting, changes, block) = {
            let state = self.state.read();
            let Plan { transactions, waiting, changes } = plan(&state, group);
            if transactions.is_empty() {
                return;
            }
            // A clock that is set back does not turn the chain's time back.
            let at = to_micros(self.clock.now()).max(state.tip.at);
            let tip = &state.tip;
            (waiting, changes, Block::new(self.organization, tip.number + 1, tip.hash, at, transactions))
        };
        match self.append(&mut file, &block) {
            Ok((offset, end)) => {
                let mut state = self.state.write();
                state.tip.advance(&block, changes);
                state.index(block, offset, end);
                for (transaction, answers) in waiting {
                    answer_all(answers, &state.receipt(transaction).ok_or_else(stopped));
                }
            }
            Err(error) => waiting.into_iter().for_each(|(_, answers)| answer_all(answers, &Err(error.clone()))),
        }
    }

    fn append(&self, file: &mut Option<Appender>, block: &Block) -> Result<(u64, u64)> {
        let failed = |error| {
            let message = "the block could not be written to disk";
            StoreError::with_source(STORE, ErrorKind::Unavailable, message, error)
        };
        let appender = match file {
            Some(appender) => appender,
            None => {
                let length = self.state.read().length;
                file.insert(Appender::open(&self.folder, self.organization, length).map_err(failed)?)
            }
        };
        appender.append(block.header.number, &block.encode(), block.header.hash()).map_err(failed)
    }

    /// Checks the files. Blocking.
    ///
    /// # Errors
    /// As [`verify::verify`].
    pub fn verify(&self) -> Result<Verification> {
        let expected = {
            let _no_writes = self.file.lock();
            let state = self.state.read();
            Expected::look(&self.folder, &state.tip, state.length)?
        };
        verify::verify(&self.folder, &expected)
    }

    /// Proves entries, each block read once. Blocking.
    ///
    /// # Errors
    /// As [`verify::prove`].
    pub fn prove(&self, ids: &[EntryId]) -> Result<Vec<Option<Proof>>> {
        let mut blocks: BTreeMap<u64, Wanted> = BTreeMap::new();
        let places: Vec<_> = {
            let state = self.state.read();
            for (key, id) in ids.iter().enumerate() {
                if let Some(record) = state.record(id) {
                    let wanted = blocks.entry(record.block).or_default();
                    wanted.keys.push(key);
                    wanted.entries.push((record.block_index, record.leaf));
                }
            }
            blocks.into_iter().filter_map(|(number, wanted)| Some((state.block(number)?.clone(), wanted))).collect()
        };
        let mut proofs = vec![None; ids.len()];
        for (place, wanted) in places {
            for (key, proof) in wanted.keys.into_iter().zip(verify::prove(&self.folder, &place, &wanted.entries)?) {
                if let Some(slot) = proofs.get_mut(key) {
                    *slot = Some(proof);
                }
            }
        }
        Ok(proofs)
    }
}

/// What a batch of proofs wants of one block: the places in the batch, and for each the entry's place and leaf.
#[derive(Default)]
struct Wanted {
    keys: Vec<usize>,
    entries: Vec<(u32, B256)>,
}

/// Decides what of a group goes into the next block, and answers the rest.
fn plan(state: &State, group: Vec<Job>) -> Plan {
    let mut plan = Plan::default();
    let mut draft = Draft::over(&state.tip.sheet);
    let mut places: HashMap<String, usize> = HashMap::new();
    for Job { sealed, answer } in group {
        let key = &sealed.transaction.key;
        if let Some(known) = state.tip.keys.get(key) {
            let receipt = state.receipt(*known).filter(|_| *known == sealed.hash);
            answer_all(vec![answer], &receipt.ok_or_else(other_operations));
        } else if let Some((hash, answers)) = places.get(key).and_then(|place| plan.waiting.get_mut(*place)) {
            if *hash == sealed.hash {
                answers.push(answer);
            } else {
                answer_all(vec![answer], &Err(other_operations()));
            }
        } else {
            let mut own = Draft::over(&draft);
            match own.apply(&sealed.transaction.operations) {
                Ok(()) => {
                    let changes = own.into_changes();
                    draft.merge(changes);
                    places.insert(key.clone(), plan.waiting.len());
                    plan.waiting.push((sealed.hash, vec![answer]));
                    plan.transactions.push(sealed);
                }
                Err(error) => answer_all(vec![answer], &Err(error)),
            }
        }
    }
    plan.changes = draft.into_changes();
    plan
}

fn answer_all(answers: Vec<Answer>, result: &Result<Receipt>) {
    for answer in answers {
        // A caller that has gone away does not change what is stored.
        let _ = answer.send(result.clone());
    }
}

fn other_operations() -> StoreError {
    StoreError::conflict(STORE, "the idempotency key was used for other operations")
}

fn stopped() -> StoreError {
    StoreError::new(STORE, ErrorKind::Unavailable, "the ledger has stopped writing; it must be opened anew")
}

/// The chain keeps whole microseconds.
fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// Lets nobody wait for a writer that has panicked.
struct Unwound<'a>(&'a Mutex<Queue>);

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.lock();
            queue.dead = true;
            queue.jobs.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SystemClock,
        ledger::{Address, Operation, Token, embedded::block::Transaction},
    };
    use alloy_primitives::U256;
    use futures_util::future::join_all;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    const ORGANIZATION: Uuid = Uuid::from_u128(1);

    fn chain(folder: &tempfile::TempDir) -> Arc<Chain> {
        let lock = Arc::new(File::create(folder.path().join("ledger.lock")).unwrap());
        Arc::new(Chain::new(ORGANIZATION, folder.path().to_owned(), Arc::new(SystemClock), lock))
    }

    fn address(digit: char) -> Address {
        Address(format!("local:{}", digit.to_string().repeat(40)))
    }

    fn token() -> Token {
        Token { symbol: "USDC".into(), decimals: 6, contract: None }
    }

    fn mint(key: &str, amount: u64) -> Sealed {
        let operations = vec![Operation::Mint { to: address('a'), token: token(), amount: U256::from(amount) }];
        Transaction { organization: ORGANIZATION, key: key.into(), operations }.seal().unwrap()
    }

    fn spend(key: &str, amount: u64) -> Sealed {
        let (from, to, amount) = (address('a'), address('b'), U256::from(amount));
        let operations = vec![Operation::Transfer { from, to, token: token(), amount, memo: None }];
        Transaction { organization: ORGANIZATION, key: key.into(), operations }.seal().unwrap()
    }

    /// Submits all while the file is held back, so that they are certain to queue, then lets go of it.
    async fn queued(chain: &Arc<Chain>, all: Vec<Sealed>) -> Vec<Result<Receipt>> {
        let (held, wait_held) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = chain.clone();
        let thread = std::thread::spawn(move || {
            let _file = holder.file.lock();
            held.send(()).unwrap();
            released.recv().unwrap();
        });
        wait_held.await.unwrap();
        let (count, begun) = (all.len(), AtomicUsize::new(0));
        let submit = |sealed| {
            // Counted and queued in one poll.
            let submitted = chain.submit(sealed);
            async {
                begun.fetch_add(1, Ordering::Relaxed);
                submitted.await
            }
        };
        let mut all = Box::pin(join_all(all.into_iter().map(submit)));
        while begun.load(Ordering::Relaxed) < count {
            let early = tokio::time::timeout(Duration::from_millis(5), &mut all).await;
            assert!(early.is_err(), "nothing is acknowledged before it is written");
        }
        release.send(()).unwrap();
        thread.join().unwrap();
        all.await
    }

    #[tokio::test]
    async fn what_queues_up_shares_a_block() {
        let folder = tempfile::tempdir().unwrap();
        let chain = chain(&folder);
        let all = (0..2_500).map(|number| mint(&number.to_string(), 1)).collect();
        let receipts = queued(&chain, all).await;
        assert!(receipts.iter().all(Result::is_ok));
        let verification = chain.verify().unwrap();
        assert_eq!((verification.entries, verification.fault), (2_500, None));
        // The writer may have started with the first alone; from then on each block is full.
        assert!((3..=4).contains(&verification.blocks), "{} blocks", verification.blocks);
        for number in 1..=verification.blocks {
            let transactions = chain.read(|state| state.block(number).unwrap().header.transactions);
            assert!((1..=1_000).contains(&transactions));
        }
    }

    #[tokio::test]
    async fn a_group_is_checked_in_order_and_each_on_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let chain = chain(&folder);
        chain.submit(mint("mint", 10)).await.unwrap();
        let all = vec![
            spend("first", 7),
            spend("too much", 7),
            spend("first", 7),
            spend("first", 1),
            spend("rest", 3),
            mint("mint", 10),
        ];
        let answers = queued(&chain, all).await;
        let said: Vec<_> = answers.iter().map(|answer| answer.as_ref().map_err(StoreError::kind)).collect();
        let first = answers[0].as_ref().unwrap();
        assert_eq!(said[1], Err(ErrorKind::Conflict));
        assert_eq!(said[2], Ok(first), "the same submission twice is one transaction");
        assert_eq!(said[3], Err(ErrorKind::Conflict));
        assert!(said[4].is_ok());
        assert_eq!(said[5].unwrap().block_number, 1);
        let message = answers[1].as_ref().unwrap_err().message().to_owned();
        assert!(message.contains("USDC: 3 available"), "{message}");
        assert_eq!(chain.read(|state| state.balances(&address('b')))[0].amount, U256::from(10));
        assert_eq!(chain.verify().unwrap().fault, None);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let chain = chain(&folder);
        {
            let submitted = chain.submit(mint("a", 1));
            let _ = tokio::time::timeout(Duration::ZERO, submitted).await;
        }
        let receipt = chain.submit(mint("a", 1)).await.unwrap();
        assert_eq!((receipt.block_number, chain.verify().unwrap().entries), (1, 1));
    }
}
