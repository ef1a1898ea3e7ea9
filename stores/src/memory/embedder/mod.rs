//! Vectors of texts: the one thing a memory store needs that is not storage.
//!
//! An embedder turns texts into unit vectors of one model. Vectors of different models must never be compared: whoever
//! stores them stores [`Model`] with them and refuses another one. What an embedder answers is checked before use
//! ([`unit_vectors`]): a vector of zeros or with NaN in it would silently spoil every later recall.

mod bundled;
mod http;
mod recent;

pub use bundled::BundledEmbedder;
pub use http::HttpEmbedder;
pub use recent::RecentQueries;

use crate::error::{ErrorKind, Result, Store, StoreError};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

const STORE: Store = Store::Memory;

/// Which space vectors live in. Two models are the same when both fields are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The model's name.
    pub name: String,
    /// Numbers in a vector.
    pub dimensions: usize,
}

impl std::fmt::Display for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` with {} dimensions", self.name, self.dimensions)
    }
}

/// Makes vectors.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// Whose vectors these are.
    fn model(&self) -> &Model;

    /// One vector of length 1 per text, in order.
    ///
    /// # Errors
    /// `Invalid` when a text cannot be embedded whatever is done (the others of the batch are not answered either);
    /// any other kind when the embedder itself fails.
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>>;
}

/// One checked vector per text; a text that the embedder refuses fails alone.
///
/// # Errors
/// When the embedder itself fails.
pub async fn embed_each(embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Result<Vec<f32>>>> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    match embed_checked(embedder, texts).await {
        Ok(vectors) => Ok(vectors.into_iter().map(Ok).collect()),
        Err(error) if error.kind() != ErrorKind::Invalid => Err(error),
        Err(error) if texts.len() == 1 => Ok(vec![Err(error)]),
        Err(_) => {
            let mut results = Vec::with_capacity(texts.len());
            for text in texts {
                match embed_checked(embedder, std::slice::from_ref(text)).await {
                    Err(error) if error.kind() != ErrorKind::Invalid => return Err(error),
                    result => results.push(result.and_then(|vectors| vectors.into_iter().next().ok_or_else(no_vector))),
                }
            }
            Ok(results)
        }
    }
}

async fn embed_checked(embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Vec<f32>>> {
    unit_vectors(embedder.model(), texts.len(), embedder.embed(texts).await?)
}

fn no_vector() -> StoreError {
    StoreError::new(STORE, ErrorKind::BadResponse, "the embedder answered no vector")
}

/// Checks an embedder's answer and brings every vector to length 1.
///
/// # Errors
/// `BadResponse` for a wrong number of vectors or dimensions, a number that is not finite, or a vector of zeros.
pub fn unit_vectors(model: &Model, texts: usize, mut vectors: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
    let bad = |message: String| Err(StoreError::new(STORE, ErrorKind::BadResponse, message));
    if vectors.len() != texts {
        return bad(format!("the embedder answered {} vectors for {texts} texts", vectors.len()));
    }
    for vector in &mut vectors {
        if vector.len() != model.dimensions {
            let dimensions = vector.len();
            return bad(format!("the embedder answered {dimensions} dimensions, the model {model} was expected"));
        }
        let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if !length.is_finite() {
            return bad("the embedder answered a vector with a number that is not finite".to_owned());
        }
        if length == 0.0 {
            return bad("the embedder answered a vector of zeros".to_owned());
        }
        for value in vector.iter_mut() {
            *value = (f64::from(*value) / length) as f32;
        }
    }
    Ok(vectors)
}

#[cfg(test)]
pub(super) mod fake {
    //! A deterministic embedder without meaning: each word adds a pseudo-random direction.

    use super::*;
    use parking_lot::Mutex;
    use std::hash::{DefaultHasher, Hash, Hasher};

    /// Counts what it was asked for, and fails when told.
    pub struct FakeEmbedder {
        pub model: Model,
        pub batches: Mutex<Vec<usize>>,
        pub failure: Mutex<Option<ErrorKind>>,
    }

    impl FakeEmbedder {
        pub fn new(name: &str, dimensions: usize) -> Self {
            let model = Model { name: name.to_owned(), dimensions };
            Self { model, batches: Mutex::default(), failure: Mutex::default() }
        }

        pub fn vector(&self, text: &str) -> Vec<f32> {
            let mut vector = vec![0.001; self.model.dimensions];
            for word in text.split_whitespace() {
                let mut hasher = DefaultHasher::new();
                word.hash(&mut hasher);
                let hash = hasher.finish();
                for (at, value) in vector.iter_mut().enumerate() {
                    let bits = hash.wrapping_mul(2 * at as u64 + 3).rotate_left(at as u32 % 64) >> 40;
                    *value += bits as f32 / 8_388_608.0 - 1.0;
                }
            }
            vector
        }
    }

    #[async_trait]
    impl Embedder for FakeEmbedder {
        fn model(&self) -> &Model {
            &self.model
        }

        async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
            self.batches.lock().push(texts.len());
            if let Some(kind) = *self.failure.lock() {
                return Err(StoreError::new(STORE, kind, "the embedder was told to fail"));
            }
            if texts.iter().any(|text| text.contains("poison")) {
                return Err(StoreError::invalid(STORE, "the text is poisonous"));
            }
            Ok(texts.iter().map(|text| self.vector(text)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fake::FakeEmbedder, *};

    #[test]
    fn vectors_are_checked_and_brought_to_length_one() {
        let model = Model { name: "m".to_owned(), dimensions: 2 };
        assert_eq!(unit_vectors(&model, 1, vec![vec![3.0, 4.0]]).unwrap(), [[0.6, 0.8]]);
        for (texts, vectors) in [
            (2, vec![vec![1.0, 0.0]]),
            (1, vec![vec![1.0, 0.0, 0.0]]),
            (1, vec![vec![f32::NAN, 1.0]]),
            (1, vec![vec![f32::INFINITY, 1.0]]),
            (1, vec![vec![0.0, 0.0]]),
        ] {
            assert_eq!(unit_vectors(&model, texts, vectors).unwrap_err().kind(), ErrorKind::BadResponse);
        }
    }

    #[tokio::test]
    async fn a_refused_text_fails_alone_and_a_failed_embedder_fails_all() {
        let embedder = FakeEmbedder::new("fake", 4);
        let texts = ["good".to_owned(), "poison".to_owned(), "fine".to_owned()];
        let results = embed_each(&embedder, &texts).await.unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        *embedder.failure.lock() = Some(ErrorKind::Unavailable);
        assert_eq!(embed_each(&embedder, &texts).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(embed_each(&embedder, &[]).await.unwrap().is_empty());
    }
}
