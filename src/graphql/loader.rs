//! Loaders without a timer: a batch goes out when nothing of the request is left to run.
//!
//! The first key of a family spawns the family's batch. The batch yields to the executor until no further key has
//! come in: every resolver that could ask has then asked, and the batch is the whole level. Each key is loaded once a
//! request (the answer is kept), gets a result of its own, and a failed call fails its keys and no others.
//!
//! A batch under way when its request is given up runs to its end, which the store's deadline bounds.
//!
//! A look-up is one key type that implements [`LoadKey`]; resolvers call [`Loaders::load`].

use super::context::RequestContext;
use chimera_stores::{ErrorKind, Result, Store, StoreError};
use parking_lot::Mutex;
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    hash::Hash,
    sync::Arc,
};
use tokio::sync::oneshot;
use tracing::Instrument;

/// A key of one look-up.
pub trait LoadKey: Clone + Eq + Hash + Send + Sync + 'static {
    /// What a key leads to.
    type Value: Clone + Send + Sync + 'static;

    /// The store that answers.
    const STORE: Store;

    /// Loads distinct keys: one result per key, in order.
    fn load_all(context: &RequestContext, keys: Vec<Self>) -> impl Future<Output = Vec<Result<Self::Value>>> + Send;
}

/// What a key led to. Shared by the kept answer and all that wait for it.
type Answer<V> = Result<Arc<V>>;

enum Entry<V> {
    Loaded(Answer<V>),
    Waiting(Vec<oneshot::Sender<Answer<V>>>),
}

/// Every key is hashed at least three times; seeded, so that no client can know what collides.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

struct Family<K: LoadKey> {
    entries: Map<K, Entry<K::Value>>,
    queued: Vec<K>,
    scheduled: bool,
}

impl<K: LoadKey> Default for Family<K> {
    fn default() -> Self {
        Self { entries: Map::default(), queued: Vec::new(), scheduled: false }
    }
}

type Families = Map<TypeId, Arc<dyn Any + Send + Sync>>;

/// The loaders of one request, made as they are needed.
#[derive(Default)]
pub struct Loaders(Mutex<Families>);

impl Loaders {
    fn family<K: LoadKey>(&self) -> Arc<Mutex<Family<K>>> {
        let mut families = self.0.lock();
        let family =
            families.entry(TypeId::of::<K>()).or_insert_with(|| Arc::new(Mutex::new(Family::<K>::default()))).clone();
        // The entry of a type id can only hold that type's family.
        family.downcast().unwrap_or_default()
    }

    /// Loads one key in the family's next batch, or answers what an earlier one gave.
    ///
    /// # Errors
    /// What the store said about this key, or about the whole call.
    pub async fn load<K: LoadKey>(&self, context: &RequestContext, key: K) -> Result<Arc<K::Value>> {
        let family = self.family::<K>();
        let wait = {
            let mut state = family.lock();
            let (done, wait) = oneshot::channel();
            match state.entries.get_mut(&key) {
                Some(Entry::Loaded(answer)) => return answer.clone(),
                Some(Entry::Waiting(waiters)) => waiters.push(done),
                None => {
                    state.entries.insert(key.clone(), Entry::Waiting(vec![done]));
                    state.queued.push(key);
                }
            }
            if !state.scheduled && !state.queued.is_empty() {
                state.scheduled = true;
                tokio::spawn(dispatch(context.clone(), family.clone()).in_current_span());
            }
            wait
        };
        wait.await.unwrap_or_else(|_| Err(lost(K::STORE)))
    }
}

async fn dispatch<K: LoadKey>(context: RequestContext, family: Arc<Mutex<Family<K>>>) {
    let mut seen = 0;
    loop {
        tokio::task::yield_now().await;
        let queued = family.lock().queued.len();
        if queued == seen {
            break;
        }
        seen = queued;
    }
    let keys = {
        let mut state = family.lock();
        state.scheduled = false;
        std::mem::take(&mut state.queued)
    };
    let results = K::load_all(&context, keys.clone()).await;
    let mut results = results.into_iter();
    let mut state = family.lock();
    for key in keys {
        let answer = results.next().unwrap_or_else(|| Err(lost(K::STORE))).map(Arc::new);
        if let Some(Entry::Waiting(waiters)) = state.entries.insert(key, Entry::Loaded(answer.clone())) {
            for waiter in waiters {
                // A resolver that was dropped no longer wants its answer.
                let _ = waiter.send(answer.clone());
            }
        }
    }
}

fn lost(store: Store) -> StoreError {
    StoreError::new(store, ErrorKind::Internal, "a batch ended without an answer")
}

/// Spreads the outcome of a whole call over its keys.
pub fn spread<T: Clone>(count: usize, outcome: Result<Vec<T>>) -> Vec<Result<T>> {
    match outcome {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); count],
    }
}

/// The same for a call that already answers each key with a result of its own.
pub fn flatten<T: Clone>(count: usize, outcome: Result<Vec<Result<T>>>) -> Vec<Result<T>> {
    outcome.unwrap_or_else(|error| vec![Err(error); count])
}

/// A key that holds floating-point numbers, compared by its text: two spellings of one question share an answer, and
/// two different questions never do.
#[derive(Clone, Debug)]
pub struct ByText<T> {
    /// The question.
    pub query: T,
    text: String,
}

impl<T: std::fmt::Debug> ByText<T> {
    /// Wraps a question.
    pub fn new(query: T) -> Self {
        let text = format!("{query:?}");
        Self { query, text }
    }
}

impl<T> PartialEq for ByText<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> Eq for ByText<T> {}

impl<T> Hash for ByText<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
