//! Answers: the bytes of a GraphQL response, and the one shape of every error.

use super::{negotiate::MediaType, parts::RequestId};
use crate::document::Refusal;
use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use async_graphql::{Response, ServerError, Value};
use serde::{Serialize, ser::SerializeMap};
use std::{borrow::Cow, collections::BTreeMap};

/// An error of HTTP itself: no GraphQL was reached, or it could not be answered.
#[derive(Debug)]
pub(super) struct Fault {
    pub status: StatusCode,
    pub code: &'static str,
    message: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The path is unknown.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this address; the API is at /graphql")
    }

    /// The method is not served here.
    pub fn method(allow: &'static str) -> Self {
        let message = format!("this address takes {allow}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).with(header::ALLOW, allow)
    }

    /// A defect of this program.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "internal error; report it with the request id")
    }

    /// Something is not to be had for the moment.
    pub fn unavailable(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message).with(header::RETRY_AFTER, "1")
    }

    /// The error as GraphQL writes one.
    pub fn error(&self) -> ServerError {
        let mut error = ServerError::new(self.message.as_ref(), None);
        error.extensions.get_or_insert_default().set("code", self.code);
        error
    }

    pub fn response(self, id: &RequestId, media: MediaType) -> HttpResponse {
        let body = errors(vec![self.error()], id);
        let mut answer = HttpResponse::build(self.status);
        for (name, value) in self.headers {
            answer.insert_header((name, value));
        }
        answer.content_type(media.header()).insert_header((header::CACHE_CONTROL, "no-store")).body(body)
    }
}

/// What became of one operation.
pub(super) enum Outcome {
    /// It was executed, with or without errors.
    Executed(Response),
    /// It was refused before.
    Refused(Refusal),
    /// It did not come to an answer.
    Failed(Fault),
}

impl Outcome {
    /// The word in the metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Executed(response) if response.errors.is_empty() => "ok",
            Outcome::Executed(response) if response.data == Value::Null => "error",
            Outcome::Executed(_) => "partial",
            Outcome::Refused(_) => "refused",
            Outcome::Failed(fault) if fault.status == StatusCode::GATEWAY_TIMEOUT => "timeout",
            Outcome::Failed(_) => "failed",
        }
    }

    /// The status of an answer with this outcome alone.
    pub fn status(&self, media: MediaType) -> StatusCode {
        match (self, media) {
            (Outcome::Executed(_), _) => StatusCode::OK,
            (Outcome::Failed(fault), _) => fault.status,
            (Outcome::Refused(refusal), _) if refusal.stage == crate::document::Stage::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            (Outcome::Refused(_), MediaType::GraphQl) => StatusCode::BAD_REQUEST,
            // The request was well-formed; older clients read errors only in a 200.
            (Outcome::Refused(_), MediaType::Json) => StatusCode::OK,
        }
    }

    /// The answer's JSON.
    pub fn body(self, id: &RequestId, extensions: Option<Value>) -> Vec<u8> {
        match self {
            Outcome::Executed(mut response) => {
                identify(&mut response.errors, id);
                if let Some(extensions) = extensions {
                    response.extensions.insert("cost".to_owned(), extensions);
                }
                write(&Body { errors: &response.errors, data: Some(&response.data), extensions: &response.extensions })
            }
            Outcome::Refused(refusal) => errors(refusal.errors, id),
            Outcome::Failed(fault) => errors(vec![fault.error()], id),
        }
    }
}

fn errors(mut errors: Vec<ServerError>, id: &RequestId) -> Vec<u8> {
    identify(&mut errors, id);
    write(&Body { errors: &errors, data: None, extensions: &BTreeMap::new() })
}

fn identify(errors: &mut [ServerError], id: &RequestId) {
    for error in errors {
        error.extensions.get_or_insert_default().set("requestId", id.as_str());
    }
}

/// `errors` first, as the specification recommends; `data` only once execution began.
struct Body<'a> {
    errors: &'a [ServerError],
    data: Option<&'a Value>,
    extensions: &'a BTreeMap<String, Value>,
}

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.errors.is_empty() {
            map.serialize_entry("errors", self.errors)?;
        }
        if let Some(data) = self.data {
            map.serialize_entry("data", data)?;
        }
        if !self.extensions.is_empty() {
            map.serialize_entry("extensions", self.extensions)?;
        }
        map.end()
    }
}

fn write(body: &Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    match serde_json::to_writer(&mut bytes, body) {
        Ok(()) => bytes,
        // Only a value that is no JSON (an upload) fails, and the schema has none.
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            br#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL_ERROR"}}]}"#.to_vec()
        }
    }
}

/// The refusals of several operations and their answers as one JSON array.
pub(super) fn batch(bodies: Vec<Vec<u8>>) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bodies.iter().map(Vec::len).sum::<usize>() + bodies.len() + 2);
    joined.push(b'[');
    for (index, body) in bodies.iter().enumerate() {
        if index > 0 {
            joined.push(b',');
        }
        joined.extend_from_slice(body);
    }
    joined.push(b']');
    joined
}
