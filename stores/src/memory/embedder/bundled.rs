//! The embedder that is compiled in: a small English sentence transformer on the CPU, without network or files.
//!
//! A text is cut after 128 tokens (about 90 English words): the meaning of what follows is not in the vector, its words
//! are still found by KEYWORD and HYBRID recall. The model is loaded at the first use, which takes up to a second or two
//! and about 100 MB; [`BundledEmbedder::warm`] does it beforehand.

use super::{Embedder, Model, STORE};
use crate::error::{ErrorKind, Result, StoreError};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use pocket_encoder::Encoder;
use std::{num::NonZero, sync::Arc, thread};
use tokio::sync::Semaphore;

/// Texts of one blocking task: small enough that a large batch spreads over the cores and that two calls alternate.
const TEXTS_A_TASK: usize = 8;
/// What the encoder accepts.
const MAX_TEXT_BYTES: usize = 65_536;

/// The bundled model, shared by the whole process.
#[derive(Debug)]
pub struct BundledEmbedder {
    model: Model,
    cores: Arc<Semaphore>,
}

impl Default for BundledEmbedder {
    fn default() -> Self {
        Self::new()
    }
}

impl BundledEmbedder {
    /// An embedder that runs on as many threads as the machine has cores. Loads nothing yet.
    pub fn new() -> Self {
        let info = pocket_encoder::model_info();
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let model = Model { name: info.id, dimensions: info.dimensions };
        Self { model, cores: Arc::new(Semaphore::new(cores)) }
    }

    /// Loads the model, so that the first request does not wait for it.
    ///
    /// # Errors
    /// `Internal` when it cannot be loaded.
    pub async fn warm(&self) -> Result<()> {
        self.run(|_| Ok(Vec::new())).await.map(|_| ())
    }

    async fn run(
        &self,
        work: impl FnOnce(&Encoder) -> Result<Vec<Vec<f32>>> + Send + 'static,
    ) -> Result<Vec<Vec<f32>>> {
        let internal = |message| StoreError::new(STORE, ErrorKind::Internal, message);
        let core = self.cores.clone().acquire_owned().await;
        let core = core.map_err(|_| internal("the embedder has stopped"))?;
        let task = tokio::task::spawn_blocking(move || {
            // Held until the work ends, also when nobody waits for it any more.
            let _core = core;
            work(&Encoder::new().map_err(failed)?)
        });
        task.await.unwrap_or_else(|error| {
            Err(StoreError::with_source(STORE, ErrorKind::Internal, "the embedder failed", error))
        })
    }
}

fn failed(error: pocket_encoder::Error) -> StoreError {
    match error {
        pocket_encoder::Error::Input(_) => {
            StoreError::with_source(STORE, ErrorKind::Invalid, "the text cannot be embedded", error)
        }
        pocket_encoder::Error::Inference(_) => {
            StoreError::with_source(STORE, ErrorKind::Internal, "the embedder failed", error)
        }
    }
}

#[async_trait]
impl Embedder for BundledEmbedder {
    fn model(&self) -> &Model {
        &self.model
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        if texts.iter().any(|text| text.trim().is_empty() || text.len() > MAX_TEXT_BYTES) {
            return Err(StoreError::invalid(STORE, "a text to embed is blank or longer than 65,536 bytes"));
        }
        let tasks = texts.chunks(TEXTS_A_TASK).map(|chunk| {
            let chunk = chunk.to_vec();
            self.run(move |encoder| encoder.embed(&chunk).map_err(failed))
        });
        Ok(try_join_all(tasks).await?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::unit_vectors, *};

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[tokio::test]
    async fn meaning_counts_order_is_kept_and_blank_is_refused() {
        let embedder = BundledEmbedder::new();
        embedder.warm().await.unwrap();
        let mut texts = vec!["The doctor told me to sleep more".to_owned(), "The stock market fell today".to_owned()];
        texts.extend((0..8).map(|number| format!("note {number}")));
        texts.push("physician advised additional rest".to_owned());
        let vectors = embedder.embed(&texts).await.unwrap();
        assert!(cosine(&vectors[0], &vectors[10]) > cosine(&vectors[1], &vectors[10]) + 0.2);
        assert_eq!(unit_vectors(embedder.model(), texts.len(), vectors.clone()).unwrap().len(), texts.len());
        assert!((cosine(&vectors[5], &vectors[5]) - 1.0).abs() < 1e-5);
        let alone = embedder.embed(&texts[5..6]).await.unwrap();
        assert!((cosine(&alone[0], &vectors[5]) - 1.0).abs() < 1e-5);
        assert_eq!(embedder.embed(&[" \n".to_owned()]).await.unwrap_err().kind(), ErrorKind::Invalid);
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        assert_eq!(embedder.embed(&[long]).await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn a_text_is_cut_after_128_tokens() {
        let head = "sleep well tonight ".repeat(60);
        let texts = [head.clone(), format!("{head} and something entirely different about rockets")];
        let vectors = BundledEmbedder::new().embed(&texts).await.unwrap();
        assert_eq!(vectors[0], vectors[1]);
    }
}
