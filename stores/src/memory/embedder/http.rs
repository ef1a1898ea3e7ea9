//! An embedder behind `POST {base}/v1/embeddings`, as OpenAI defined it and many servers speak it.
//!
//! The server is not trusted to be well: every strange answer becomes a coded error, an answer has a largest size, and
//! redirects are not followed, because they would carry the key elsewhere. The key is in no log and no error.

use super::{Embedder, Model, STORE, unit_vectors};
use crate::error::{ErrorKind, Result, StoreError};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Response, StatusCode, header::HeaderValue, redirect::Policy};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::Url;

/// Texts of one request: what common servers accept.
const TEXTS_A_REQUEST: usize = 64;
/// Requests of one call that are under way at the same time.
const REQUESTS_AT_ONCE: usize = 4;
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The guard's deadline is what callers wait for; this one only frees the connection of a server that hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Room for one number in JSON with every digit, and for what surrounds the vectors.
const BYTES_A_NUMBER: usize = 32;
const BYTES_AROUND: usize = 64 * 1024;
/// How much of a refusal is kept for the log.
const REFUSAL_CHARS: usize = 300;

/// A client of an OpenAI-compatible embedding server.
pub struct HttpEmbedder {
    client: Client,
    url: Url,
    key: Option<String>,
    model: Model,
}

impl std::fmt::Debug for HttpEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpEmbedder")
            .field("url", &self.url.as_str())
            .field("key", &self.key.as_ref().map(|_| "[redacted]"))
            .field("model", &self.model)
            .finish()
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl HttpEmbedder {
    /// A client of the server at `base` (with or without the `/v1` at its end) for one of its models.
    ///
    /// # Errors
    /// `Invalid` for a base that is no `http` or `https` address or has credentials in it, an empty model name, no
    /// dimensions, or a key that cannot be sent.
    pub fn new(base: &str, key: Option<String>, model: &str, dimensions: usize) -> Result<Self> {
        let invalid = |message: &str| StoreError::invalid(STORE, message);
        let base = base.trim_end_matches('/').trim_end_matches("/v1");
        let url = Url::parse(&format!("{base}/v1/embeddings")).map_err(|error| {
            StoreError::with_source(STORE, ErrorKind::Invalid, "the embedder's URL is wrong", error)
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("the embedder's URL does not start with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("the embedder's URL has credentials in it; give the key apart"));
        }
        if model.is_empty() || dimensions == 0 {
            return Err(invalid("the embedding model needs a name and at least one dimension"));
        }
        if key.as_ref().is_some_and(|key| key.is_empty() || HeaderValue::from_str(key).is_err()) {
            return Err(invalid("the embedder's key is empty or has characters that cannot be sent"));
        }
        Ok(Self { client: client()?, url, key, model: Model { name: model.to_owned(), dimensions } })
    }

    async fn ask(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let body = Request { model: &self.model.name, input: texts, encoding_format: "float" };
        let mut request = self.client.post(self.url.clone()).json(&body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let most = BYTES_AROUND.saturating_add(texts.len() * self.model.dimensions * BYTES_A_NUMBER);
        let body = read(response, most).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body));
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
            let message = "the embedding server's answer is not the JSON of embeddings";
            StoreError::with_source(STORE, ErrorKind::BadResponse, message, error)
        })?;
        unit_vectors(&self.model, texts.len(), in_order(answer.data)?)
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> StoreError {
        let (kind, message) = match status.as_u16() {
            401 | 403 => (ErrorKind::Unavailable, "the embedding server refuses the key".to_owned()),
            400 | 413 | 422 => (ErrorKind::Invalid, "the embedding server refuses the text".to_owned()),
            404 => (ErrorKind::BadResponse, "the embedding server does not know the model or the address".to_owned()),
            429 => (ErrorKind::Overloaded, "the embedding server asks for a pause".to_owned()),
            500..=599 => (ErrorKind::Unavailable, "the embedding server failed".to_owned()),
            other => (ErrorKind::BadResponse, format!("the embedding server answered status {other}")),
        };
        let mut text = String::from_utf8_lossy(body).into_owned();
        if let Some(key) = &self.key {
            text = text.replace(key.as_str(), "[redacted]");
        }
        let text: String = text.chars().take(REFUSAL_CHARS).collect();
        StoreError::with_source(STORE, kind, message, format!("status {status}: {text}"))
    }
}

/// The client needs a TLS provider even for plain HTTP; the first of the process wins, whoever installs it.
fn client() -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN);
    builder.build().map_err(|error| {
        StoreError::with_source(STORE, ErrorKind::Internal, "the HTTP client could not be made", error)
    })
}

fn unreachable(error: reqwest::Error) -> StoreError {
    let (kind, message) = match () {
        () if error.is_timeout() => (ErrorKind::Timeout, "the embedding server did not answer in time"),
        () => (ErrorKind::Unavailable, "the embedding server cannot be reached"),
    };
    StoreError::with_source(STORE, kind, message, error.without_url())
}

async fn read(mut response: Response, most: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > most {
            let message = "the embedding server's answer is too long";
            return Err(StoreError::new(STORE, ErrorKind::BadResponse, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A server may answer in any order and say so by `index`; one that gives an index twice, or only some, is not believed.
fn in_order(mut entries: Vec<Entry>) -> Result<Vec<Vec<f32>>> {
    if entries.iter().any(|entry| entry.index.is_some()) {
        entries.sort_by_key(|entry| entry.index);
        if entries.iter().enumerate().any(|(place, entry)| entry.index != Some(place)) {
            let message = "the embedding server's answer does not number its vectors from 0 without gaps";
            return Err(StoreError::new(STORE, ErrorKind::BadResponse, message));
        }
    }
    Ok(entries.into_iter().map(|entry| entry.embedding).collect())
}

#[async_trait]
impl Embedder for HttpEmbedder {
    fn model(&self) -> &Model {
        &self.model
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let requests: Vec<_> = texts.chunks(TEXTS_A_REQUEST).map(|chunk| self.ask(chunk)).collect();
        let answers: Vec<Vec<Vec<f32>>> = stream::iter(requests).buffered(REQUESTS_AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().flatten().collect())
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
