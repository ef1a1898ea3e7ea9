//! The vectors of recent queries: people refine filters, page and refresh far more often than they ask something new.
//!
//! Works in front of any embedder. Only successes are kept; the least recently used one makes room.

use super::{Embedder, STORE, embed_each};
use crate::error::{ErrorKind, Result, StoreError};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// A bounded memory of query vectors.
#[derive(Debug)]
pub struct RecentQueries {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    uses: u64,
    vectors: HashMap<String, (u64, Arc<[f32]>)>,
}

impl RecentQueries {
    /// Keeps up to `capacity` vectors.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, kept: Mutex::default() }
    }

    /// One vector per text; all texts not seen lately go to the embedder in one call, each once.
    ///
    /// # Errors
    /// As [`embed_each`].
    pub async fn embed_each(&self, embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Result<Arc<[f32]>>>> {
        let mut found: HashMap<&str, Result<Arc<[f32]>>> = HashMap::new();
        let mut missing: Vec<String> = Vec::new();
        for text in texts {
            if found.contains_key(text.as_str()) {
                continue;
            }
            let kept = self.kept.lock().get(text);
            found.insert(text, kept.ok_or_else(unanswered).inspect_err(|_| missing.push(text.clone())));
        }
        let made = embed_each(embedder, &missing).await?;
        for (text, vector) in missing.iter().zip(made) {
            let vector = vector.map(Arc::<[f32]>::from);
            if let Ok(vector) = &vector {
                self.kept.lock().put(self.capacity, text, vector.clone());
            }
            if let Some(slot) = found.get_mut(text.as_str()) {
                *slot = vector;
            }
        }
        let answer = |text: &String| found.get(text.as_str()).cloned().unwrap_or_else(|| Err(unanswered()));
        Ok(texts.iter().map(answer).collect())
    }
}

fn unanswered() -> StoreError {
    StoreError::new(STORE, ErrorKind::BadResponse, "the embedder answered no vector")
}

impl Kept {
    fn get(&mut self, text: &str) -> Option<Arc<[f32]>> {
        self.uses += 1;
        let (used, vector) = self.vectors.get_mut(text)?;
        *used = self.uses;
        Some(vector.clone())
    }

    fn put(&mut self, capacity: usize, text: &str, vector: Arc<[f32]>) {
        self.uses += 1;
        self.vectors.insert(text.to_owned(), (self.uses, vector));
        while self.vectors.len() > capacity {
            // A look through all keys, but only beside an embedding, which takes a thousand times as long.
            let oldest = self.vectors.iter().min_by_key(|(_, (used, _))| *used).map(|(text, _)| text.clone());
            oldest.and_then(|text| self.vectors.remove(&text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fake::FakeEmbedder, *};

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_repeated_query_is_embedded_once_and_the_least_used_makes_room() {
        let embedder = FakeEmbedder::new("fake", 4);
        let recent = RecentQueries::new(2);
        for (asked, embedded) in [
            (texts(&["a", "b", "a"]), vec![2]),
            (texts(&["a"]), vec![2]),
            (texts(&["c", "a"]), vec![2, 1]),
            (texts(&["b"]), vec![2, 1, 1]),
        ] {
            let vectors = recent.embed_each(&embedder, &asked).await.unwrap();
            for (text, vector) in asked.iter().zip(vectors) {
                let expected = super::super::unit_vectors(&embedder.model, 1, vec![embedder.vector(text)]).unwrap();
                assert_eq!(vector.unwrap().to_vec(), expected[0], "{text}");
            }
            assert_eq!(*embedder.batches.lock(), embedded, "{asked:?}");
        }
    }

    #[tokio::test]
    async fn failures_are_not_kept() {
        let embedder = FakeEmbedder::new("fake", 4);
        let recent = RecentQueries::new(2);
        *embedder.failure.lock() = Some(ErrorKind::Overloaded);
        assert!(recent.embed_each(&embedder, &texts(&["a"])).await.is_err());
        *embedder.failure.lock() = None;
        assert!(recent.embed_each(&embedder, &texts(&["a"])).await.unwrap()[0].is_ok());
        let mixed = recent.embed_each(&embedder, &texts(&["poison", "b"])).await.unwrap();
        assert_eq!(mixed[0].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
        assert!(mixed[1].is_ok());
    }
}
